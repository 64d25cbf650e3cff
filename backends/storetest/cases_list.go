package storetest

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
)

var listCases = []testcase{
	{"empty", []need{reader}, func(t *trial) {
		t.empty(t.first())
		if n := len(t.open(t.first()).list()); n > 0 {
			t.Errorf("an inbox that was emptied lists %d messages", n)
		}
	}},
	{"account", []need{reader}, func(t *trial) {
		if got, want := t.open(t.first()).Opened().Account.ID, t.login(t.first()).ID; got != want {
			t.Errorf("the maildrop's account is %q, and Login's is %q", got, want)
		}
	}},
	{"folder-id", []need{reader}, func(t *trial) {
		first := t.folderID(t.open(t.first()))
		if again := t.folderID(t.open(t.first())); again != first {
			t.Errorf("the inbox has the id %q, and then %q", first, again)
		}
		if d, err := t.openFolder("INBOX"); err != nil {
			t.wantKind("opening INBOX", err, backends.NotFound)
		} else if id := t.folderID(d); id != first {
			t.Errorf("the inbox has the id %q, and as INBOX %q", first, id)
		}
		if t.Folder == "" {
			return
		}
		d, err := t.openFolder(t.Folder)
		if err != nil {
			t.Fatalf("opening %q: %w", t.Folder, err)
		}
		own := t.folderID(d)
		if own == first {
			t.Errorf("the folder %q has the inbox's id %q", t.Folder, own)
		}
		for _, spelling := range []string{t.Folder, strings.ToLower(t.Folder), strings.ToUpper(t.Folder)} {
			t.sameFolder(t.Folder, own, spelling)
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
		folder := t.adopt(d)
		for _, e := range folder.list() {
			if m.is(folder.fetch(e.ID)) {
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
			if !uidl.Valid(e.UIDL) || seen[e.UIDL] {
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

// openFolder opens a folder of the first account.
func (t *trial) openFolder(name string) (drop, error) {
	d, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first()), Folder: name})
	if err != nil {
		return drop{}, err
	}
	return t.adopt(d), nil
}

// folderID is what a maildrop says of its folder.
func (t *trial) folderID(d drop) string {
	id := d.Opened().FolderID
	if id == "" || len(id) > 1024 || !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the folder's id %q is not 1 to 1024 octets of printable text", id)
	}
	d.close()
	return id
}

// sameFolder makes sure that a folder by another spelling has the id if it has the messages, and
// another id if not.
func (t *trial) sameFolder(name, id, spelling string) {
	d, err := t.openFolder(name)
	if err != nil {
		t.Fatalf("opening %q: %w", name, err)
	}
	want := idsOf(d.list())
	d.close()
	if d, err = t.openFolder(spelling); err != nil {
		t.wantKind("opening "+spelling, err, backends.NotFound)
		return
	}
	got := idsOf(d.list())
	other := t.folderID(d)
	switch {
	case name == spelling && other != id:
		t.Errorf("the folder %q has the id %q, and then %q", name, id, other)
	case other == id && !slices.Equal(got, want):
		t.Errorf("%q and %q have one id, %q, and list other messages", name, spelling, id)
	case other != id && len(want) > 0 && slices.Equal(got, want):
		t.Errorf("%q and %q list the same messages, and have the ids %q and %q", name, spelling, id, other)
	}
}
