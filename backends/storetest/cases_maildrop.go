package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

var listCases = []testcase{
	{"empty", []need{reader}, func(t *trial) {
		t.empty(t.first())
		if n := len(t.open(t.first()).list()); n > 0 {
			t.Errorf("an inbox that was emptied lists %d messages", n)
		}
	}},
	{"account", []need{reader}, func(t *trial) {
		if got, want := t.open(t.first()).Account().ID, t.login(t.first()).ID; got != want {
			t.Errorf("the maildrop's account is %q, and Login's is %q", got, want)
		}
	}},
	{"oldest-first", []need{reader, feed}, func(t *trial) {
		mails := t.mails(5)
		d, entries := t.filled(t.first(), mails...)
		var before time.Time
		for i, e := range entries {
			if data := d.fetch(e.ID); !mails[i].is(data) {
				t.Errorf("place %d of the list has another message: %s", i+1, excerpt(data))
			}
			if !e.Received.IsZero() && e.Received.Before(before) {
				t.Errorf("place %d of the list was received at %v, before the one in front of it", i+1, e.Received)
			}
			before = e.Received
		}
	}},
	{"sizes", []need{reader, feed}, func(t *trial) {
		m := t.mail(".\r\n..\r\n\r\n")
		long := t.large(100_000)
		d, entries := t.filled(t.first(), t.mails(1)[0], m, long)
		for i, e := range entries {
			got := int64(len(d.fetch(e.ID)))
			switch {
			case e.Size < -1:
				t.Errorf("place %d has the size %d", i+1, e.Size)
			case t.description.ExactSizes && (e.Size != got || !e.Exact):
				t.Errorf("ExactSizes is promised; place %d is listed with %d octets (exact: %v), and %d come", i+1, e.Size, e.Exact, got)
			case e.Exact && e.Size != got:
				t.Errorf("place %d is listed with exactly %d octets, and %d come", i+1, e.Size, got)
			}
		}
	}},
	{"times", []need{reader, feed}, func(t *trial) {
		_, entries := t.filled(t.first(), t.mails(1)...)
		if at := entries[0].Received; !at.IsZero() {
			if _, offset := at.Zone(); offset != 0 {
				t.Errorf("the time %v is not UTC", at)
			}
			if age := time.Since(at); age > 24*time.Hour || age < -24*time.Hour {
				t.Errorf("a message of just now was received at %v", at)
			}
		}
	}},
	{"many", []need{reader, feed}, func(t *trial) {
		mails := t.mails(t.Many)
		d, entries := t.filled(t.first(), mails...)
		for _, i := range []int{0, len(mails) / 2, len(mails) - 1} {
			if data := d.fetch(entries[i].ID); !mails[i].is(data) {
				t.Errorf("place %d of the list has another message: %s", i+1, excerpt(data))
			}
		}
		d.close()
		t.empty(t.first())
	}},
	{"as-it-stands-at-the-call", []need{reader, feed}, func(t *trial) {
		t.empty(t.first())
		t.put(t.first(), t.mails(3)...)
		d, n := t.open(t.first()), 0
		for _, err := range d.List(t.ctx) {
			if err != nil {
				t.Fatalf("listing: %w", err)
			}
			if n++; n == 1 {
				t.put(t.first(), t.mails(1)...)
			}
		}
		if n != 3 {
			t.Errorf("there were 3 messages at the call, and %d are listed", n)
		}
	}},
	{"given-up", []need{reader, feed}, func(t *trial) {
		t.empty(t.first())
		m := t.mails(3)
		t.put(t.first(), m...)
		d := t.open(t.first())
		for e, err := range d.List(t.ctx) {
			if err != nil {
				t.Fatalf("listing: %w", err)
			}
			t.same(m[0], d.fetch(e.ID))
			break
		}
		d.close()
		t.expect(t.first(), m...)
	}},
	{"cancelled", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		t.empty(t.first())
		t.put(t.first(), m...)
		d := t.open(t.first())
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("List with a context that has ended", func() {
			n, failed := 0, false
			for _, err := range d.List(ctx) {
				if failed = err != nil; failed {
					break
				}
				n++
			}
			if !failed && n != len(m) {
				t.Errorf("a list that was cancelled ends after %d of %d messages as if it were complete", n, len(m))
			}
		})
	}},
	{"unknown-folder", []need{reader}, func(t *trial) {
		for _, path := range []string{"storetest no such folder", "storetest/no/such", "../storetest", "/", "storetest\x00"} {
			d, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first()), Folder: path})
			if err == nil {
				_ = d.Close()
			}
			t.wantKind("opening the folder "+path, err, backends.NotFound)
		}
	}},
	{"another-folder", []need{reader, feed, func(s *suite) string {
		if s.Folder == "" {
			return "the target names no other folder"
		}
		return ""
	}}, func(t *trial) {
		m := t.mails(1)[0]
		inbox, _ := t.filled(t.first(), m)
		inbox.close()
		d, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first()), Folder: t.Folder})
		if err != nil {
			t.Fatalf("opening %q: %w", t.Folder, err)
		}
		t.Cleanup(func() { _ = d.Close() })
		for _, e := range (drop{d, t}).list() {
			if m.is(drop{d, t}.fetch(e.ID)) {
				t.Errorf("a message of the inbox stands in the folder %q", t.Folder)
			}
		}
	}},
}

var idCases = []testcase{
	{"ids", []need{reader, feed}, func(t *trial) {
		_, entries := t.filled(t.first(), t.mails(5)...)
		seen := make(map[backends.MessageID]bool)
		for _, e := range entries {
			if len(e.ID) < 1 || len(e.ID) > 1024 {
				t.Errorf("the id %q has %d octets, and may have 1 to 1024", e.ID, len(e.ID))
			}
			if seen[e.ID] {
				t.Errorf("two messages have the id %q", e.ID)
			}
			seen[e.ID] = true
		}
	}},
	{"uidls", []need{reader, feed}, func(t *trial) {
		_, entries := t.filled(t.first(), t.mails(5)...)
		seen := make(map[string]bool)
		for _, e := range entries {
			if e.UIDL == "" {
				continue
			}
			outside := func(r rune) bool { return r < 0x21 || r > 0x7e } // RFC 1939 §7
			if len(e.UIDL) > 70 || bytes.ContainsFunc([]byte(e.UIDL), outside) || seen[e.UIDL] {
				t.Errorf("the unique-id %q is no unique-id, or not unique", e.UIDL)
			}
			seen[e.UIDL] = true
		}
	}},
	{"ids-last", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(4)...)
		for _, e := range entries {
			d.fetch(e.ID) // reading does not change them
		}
		d.remove(entries[1].ID)
		d.close()
		t.put(t.first(), t.mails(1)...)
		want := slices.Delete(idsOf(entries), 1, 2)
		if got := idsOf(t.open(t.first()).list()); len(got) != 4 || !slices.Equal(got[:3], want) {
			t.Errorf("the ids were %q, and are %q in the next session (the last one is new)", want, got)
		}
	}},
	{"ids-are-not-used-again", []need{reader, feed}, func(t *trial) {
		t.empty(t.first())
		seen := make(map[backends.MessageID]bool)
		for range 5 {
			d, entries := t.filled(t.first(), t.mails(2)...)
			for _, e := range entries {
				if seen[e.ID] {
					t.Errorf("the id %q of a message that was removed is used again", e.ID)
				}
				seen[e.ID] = true
			}
			d.remove(idsOf(entries)...)
			d.close()
		}
	}},
}

var fetchCases = []testcase{
	{"whole", []need{reader, feed}, func(t *trial) {
		m := t.mail("Hello.\r\n\r\n.\r\nThe end.\r\n")
		d, entries := t.filled(t.first(), m)
		t.same(m, d.fetch(entries[0].ID))
	}},
	{"canonical", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mail("Hello.\r\n"), t.mail(""), t.large(300_000))
		for i, e := range entries {
			if flaw := notCanonical(d.fetch(e.ID)); flaw != "" {
				t.Errorf("message %d: %s", i+1, flaw)
			}
			if flaw := notCanonical(d.top(e.ID, 1)); flaw != "" {
				t.Errorf("the top of message %d: %s", i+1, flaw)
			}
		}
	}},
	{"the-same-again", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.large(50_000))
		once, again := d.fetch(entries[0].ID), d.fetch(entries[0].ID)
		d.close()
		later := t.open(t.first()).fetch(entries[0].ID)
		if !bytes.Equal(once, again) || !bytes.Equal(once, later) {
			t.Errorf("the same message came with %d octets, then %d, and %d in another session, or with others", len(once), len(again), len(later))
		}
	}},
	{"announced-size", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.large(50_000))
		for _, request := range []backends.FetchRequest{{ID: entries[0].ID}, {ID: entries[0].ID, Top: true, Lines: 3}} {
			c, err := d.Fetch(t.ctx, request)
			if err != nil {
				t.Fatalf("fetching: %w", err)
			}
			size := c.Size()
			n, err := io.Copy(io.Discard, c)
			_ = c.Close()
			if err != nil || (size != n && size != -1) {
				t.Errorf("a content (top: %v) says %d octets, and %d come (%v)", request.Top, size, n, err)
			}
		}
	}},
	{"small-reads", []need{reader, feed}, func(t *trial) {
		m := t.large(5_000)
		d, entries := t.filled(t.first(), m)
		c, err := d.Fetch(t.ctx, backends.FetchRequest{ID: entries[0].ID})
		if err != nil {
			t.Fatalf("fetching: %w", err)
		}
		defer c.Close() //nolint:errcheck // it has been read to its end
		var got []byte
		for buffer := make([]byte, 7); ; {
			n, err := c.Read(buffer)
			got = append(got, buffer[:n]...)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("reading: %w", err)
			}
		}
		t.same(m, got)
	}},
	{"lines-without-top", []need{reader, feed}, func(t *trial) {
		m := t.mail("One.\r\nTwo.\r\n")
		d, entries := t.filled(t.first(), m)
		data, err := d.read(backends.FetchRequest{ID: entries[0].ID, Lines: 1})
		if err != nil {
			t.Fatalf("fetching: %w", err)
		}
		t.same(m, data)
	}},
	{"top-0", []need{reader, feed}, func(t *trial) { t.tops(t.mail("One.\r\nTwo.\r\n"), 0) }},
	{"top-1", []need{reader, feed}, func(t *trial) { t.tops(t.mail("One.\r\nTwo.\r\n"), 1) }},
	{"top-n", []need{reader, feed}, func(t *trial) {
		t.tops(t.mail("One.\r\n\r\n.\r\n\r\nFive.\r\nSix.\r\n"), 2, 3, 4, 5, 6)
	}},
	{"top-huge", []need{reader, feed}, func(t *trial) { t.tops(t.mail("One.\r\nTwo.\r\n"), 3, 1000, 1<<31-1) }},
	{"top-of-an-empty-body", []need{reader, feed}, func(t *trial) { t.tops(t.mail(""), 0, 1, 10) }},
	{"top-of-long-lines", []need{reader, feed}, func(t *trial) {
		long := string(bytes.Repeat([]byte("0123456789"), 90)) + "\r\n"
		t.tops(t.mail(long+long+long), 0, 1, 2)
	}},
	{"top-of-a-large-message", []need{reader, feed}, func(t *trial) { t.tops(t.large(300_000), 0, 1, 1000) }},
	{"nobody's-message", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), m)
		own := string(entries[0].ID)
		for _, id := range []string{"storetest-no-such-message", own + "x", own + "/../x", "../../" + own, "\x00\xff", "*", string(bytes.Repeat([]byte("x"), 1024))} {
			_, err := d.read(backends.FetchRequest{ID: backends.MessageID(id)})
			t.wantKind("fetching a made-up id", err, backends.NotFound, backends.Permanent)
		}
		t.same(m, d.fetch(entries[0].ID))
	}},
	{"another's-message", []need{reader, feed, secondAccount}, func(t *trial) {
		theirs := t.mails(1)[0]
		second, entries := t.filled(t.second(), theirs)
		second.close()
		d, _ := t.filled(t.first(), t.mails(1)...)
		if data, err := d.read(backends.FetchRequest{ID: entries[0].ID}); err == nil && theirs.is(data) {
			t.Errorf("the first account reads the second one's message by its id")
		}
	}},
	{"interleaved", []need{reader, feed}, func(t *trial) {
		mails := []mail{t.large(300_000), t.mails(1)[0], t.large(400_000), t.large(200_000)}
		d, entries := t.filled(t.first(), mails...)
		t.readTogether([]drop{d, d, d, d}, idsOf(entries), mails)
	}},
	{"given-up-contents", []need{reader, feed}, func(t *trial) {
		m := t.large(400_000)
		d, entries := t.filled(t.first(), m)
		for i := range 20 {
			c, err := d.Fetch(t.ctx, backends.FetchRequest{ID: entries[0].ID})
			if err != nil {
				t.Fatalf("fetch %d: %w", i+1, err)
			}
			if i%2 == 0 {
				_, _ = c.Read(make([]byte, 100))
			}
			t.promptly("closing a content that was not read", func() { _ = c.Close() })
		}
		t.same(m, d.fetch(entries[0].ID))
	}},
	{"fetch-cancelled", []need{reader, feed}, func(t *trial) {
		m, small := t.large(min(t.largest(), 8<<20)), t.mails(1)[0]
		d, entries := t.filled(t.first(), m, small)
		ctx, cancel := context.WithCancel(t.ctx)
		c, err := d.Fetch(ctx, backends.FetchRequest{ID: entries[0].ID})
		if err != nil {
			cancel()
			t.Fatalf("fetching: %w", err)
		}
		_, _ = c.Read(make([]byte, 100))
		cancel()
		t.mustBreakOff("a content whose context has ended", c)
		t.same(small, d.fetch(entries[1].ID)) // the session lives
	}},
	{"fetch-cancelled-before", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(1)...)
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Fetch with a context that has ended", func() {
			if c, err := d.Fetch(ctx, backends.FetchRequest{ID: entries[0].ID}); err == nil {
				_ = c.Close()
			} else if backends.KindOf(err) == backends.NotFound {
				t.Errorf("a fetch that was cancelled is told as a message that is gone: %w", err)
			}
		})
		d.fetch(entries[0].ID)
	}},
	{"large", []need{reader, feed}, func(t *trial) {
		m := t.large(t.largest())
		d, entries := t.filled(t.first(), m)
		t.same(m, d.fetch(entries[0].ID))
		d.close()
		t.empty(t.first())
	}},
}

// largest is the size of a large message that the store takes.
func (s *suite) largest() int64 {
	if most := s.description.Limits.MessageSize; most > 0 {
		return min(s.Large, most-1024)
	}
	return s.Large
}

// tops puts a message into the inbox and compares its tops with the whole that comes back.
func (t *trial) tops(m mail, lines ...int) {
	d, entries := t.filled(t.first(), m)
	whole := d.fetch(entries[0].ID)
	for _, n := range lines {
		if got, want := d.top(entries[0].ID, n), topOf(whole, n); !bytes.Equal(got, want) {
			t.Errorf("the top with %d lines: %s", n, difference(want, got))
		}
	}
}

// readTogether reads several contents in turns, a bit of each.
func (t *trial) readTogether(drops []drop, ids []backends.MessageID, mails []mail) {
	contents, got := make([]backends.Content, len(ids)), make([][]byte, len(ids))
	for i, id := range ids {
		c, err := drops[i].Fetch(t.ctx, backends.FetchRequest{ID: id})
		if err != nil {
			t.Fatalf("fetch %d while others are under way: %w", i+1, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		contents[i] = c
	}
	buffer := make([]byte, 10_000)
	for left := len(ids); left > 0; {
		for i, c := range contents {
			if c == nil {
				continue
			}
			n, err := c.Read(buffer)
			got[i] = append(got[i], buffer[:n]...)
			switch {
			case errors.Is(err, io.EOF):
				_ = c.Close()
				contents[i] = nil
				left--
			case err != nil:
				t.Fatalf("reading message %d while others are under way: %w", i+1, err)
			}
		}
	}
	for i, m := range mails {
		t.same(m, got[i])
	}
}

// begin opens a content and reads a bit of it.
func (t *trial) begin(d drop, id backends.MessageID) backends.Content {
	c, err := d.Fetch(t.ctx, backends.FetchRequest{ID: id})
	if err != nil {
		t.Fatalf("fetching: %w", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
		t.Fatalf("reading: %w", err)
	}
	return c
}

// mustBreakOff reads a content on, which must fail now, and not as if it were complete.
func (t *trial) mustBreakOff(what string, c backends.Content) {
	t.promptly(what, func() {
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{c}); err == nil {
			t.Errorf("%s is read to its end", what)
		}
		_ = c.Close()
	})
}

var sessionCases = []testcase{
	{"context-bounds-the-opening", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		before, entries := t.filled(t.first(), m)
		before.close()
		ctx, cancel := context.WithCancel(t.ctx)
		d, err := t.store.(backends.Reader).Open(ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if err != nil {
			cancel()
			t.Fatalf("opening: %w", err)
		}
		t.Cleanup(func() { _ = d.Close() })
		cancel()
		t.same(m, drop{d, t}.fetch(entries[0].ID))
	}},
	{"open-cancelled", []need{reader}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Open with a context that has ended", func() {
			d, err := t.store.(backends.Reader).Open(ctx, backends.OpenRequest{Credential: t.credential(t.first())})
			if err == nil {
				_ = d.Close()
			} else if backends.KindOf(err) == backends.BadCredentials {
				t.Errorf("an opening that was cancelled is told as a wrong password: %w", err)
			}
		})
	}},
	{"close-removes-nothing", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		for _, e := range entries {
			d.fetch(e.ID)
		}
		d.close()
		t.expect(t.first(), m...)
	}},
	{"new-mail", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m[:2]...)
		t.put(t.first(), m[2])
		for i, e := range entries {
			t.same(m[i], d.fetch(e.ID))
		}
		d.remove(entries[0].ID)
		d.close()
		t.expect(t.first(), m[1:]...)
	}},
	{"removed-by-another", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		t.expunge(t.first(), entries[1].ID)
		_, err := d.read(backends.FetchRequest{ID: entries[1].ID})
		t.wantKind("fetching a message that somebody else has removed", err, backends.NotFound)
		t.same(m[0], d.fetch(entries[0].ID))
		t.same(m[2], d.fetch(entries[2].ID))
		d.remove(entries[1].ID) // gone is gone
		d.remove(entries[0].ID)
		d.close()
		t.expect(t.first(), m[2])
	}},
	{"two-accounts-at-once", []need{reader, feed, secondAccount}, func(t *trial) {
		mine, theirs := t.large(200_000), t.large(300_000)
		a, own := t.filled(t.first(), mine)
		b, other := t.filled(t.second(), theirs)
		t.readTogether([]drop{a, b}, []backends.MessageID{own[0].ID, other[0].ID}, []mail{mine, theirs})
		a.remove(own[0].ID)
		a.close()
		t.same(theirs, b.fetch(other[0].ID))
		b.close()
		t.expect(t.second(), theirs)
	}},
	{"one-account-twice", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		a, entries := t.filled(t.first(), m)
		b, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if err != nil {
			t.wantKind("opening an inbox that is open", err, backends.InUse)
		} else {
			t.same(m, drop{b, t}.fetch(entries[0].ID))
			t.promptly("closing one of two sessions", func() { _ = b.Close() })
		}
		t.same(m, a.fetch(entries[0].ID))
		a.close()
		t.open(t.first()).close()
	}},
	{"use-after-close", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), m)
		d.close()
		t.promptly("Fetch after Close", func() {
			if _, err := d.read(backends.FetchRequest{ID: entries[0].ID}); err == nil {
				t.Errorf("Fetch succeeds after Close")
			}
		})
		t.promptly("Remove after Close", func() {
			if _, err := d.Remove(t.ctx, idsOf(entries), backends.DisposalRemove); err == nil {
				t.Errorf("Remove succeeds after Close")
			}
		})
		t.expect(t.first(), m)
	}},
	{"list-after-close", []need{reader, feed}, func(t *trial) {
		t.empty(t.first())
		t.put(t.first(), t.mails(1)...)
		d := t.open(t.first())
		d.close()
		t.promptly("List after Close", func() {
			for _, err := range d.List(t.ctx) {
				if err != nil {
					return
				}
			}
			t.Errorf("List succeeds after Close")
		})
	}},
	{"content-after-close", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.large(min(t.largest(), 8<<20)))
		c := t.begin(d, entries[0].ID)
		t.promptly("closing a maildrop with an open content", func() { _ = d.Close() })
		t.mustBreakOff("a content of a maildrop that is closed", c)
	}},
}

// expunge removes a message behind the back of an open maildrop.
func (t *trial) expunge(box mailbox, id backends.MessageID) {
	if t.Expunge != nil {
		if err := t.Expunge(t.ctx, box.user, id); err != nil {
			t.Fatalf("removing a message as another program: %w", err)
		}
		return
	}
	other, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(box)})
	if backends.KindOf(err) == backends.InUse {
		t.Skipf("an inbox can be open once only, and the target has no Expunge")
	} else if err != nil {
		t.Fatalf("opening an inbox that is open: %w", err)
	}
	t.Cleanup(func() { _ = other.Close() })
	drop{other, t}.remove(id)
	drop{other, t}.close()
}
