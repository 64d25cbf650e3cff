package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

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
	{"beside-one-that-fails", []need{reader, feed}, func(t *trial) {
		// One that is gone and some that nobody has are asked for among the others, all at once: that
		// is not the others' fault, and not the session's end.
		mails := append(t.mails(5), t.large(150_000))
		d, entries := t.filled(t.first(), mails...)
		t.expunge(t.first(), entries[4].ID)
		var all sync.WaitGroup
		for i, e := range entries {
			all.Go(func() {
				if _, err := d.read(backends.FetchRequest{ID: e.ID + "x"}); err == nil {
					t.Errorf("a message that nobody has is given")
				}
				data, err := d.read(backends.FetchRequest{ID: e.ID})
				switch {
				case i == 4: // a store may still give what it has seen
				case err != nil:
					t.Errorf("message %d, fetched beside one that is gone: %w", i+1, err)
				default:
					t.same(mails[i], data)
				}
			})
		}
		all.Wait()
		t.same(mails[0], d.fetch(entries[0].ID))
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
		contents[i] = &closedOnce{c, sync.OnceValue(c.Close)}
		t.Cleanup(func() { _ = contents[i].Close() })
	}
	buffer, ended := make([]byte, 10_000), make([]bool, len(ids))
	for left := len(ids); left > 0; {
		for i, c := range contents {
			if ended[i] {
				continue
			}
			n, err := c.Read(buffer)
			got[i] = append(got[i], buffer[:n]...)
			switch {
			case errors.Is(err, io.EOF):
				_ = c.Close()
				ended[i] = true
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
	once := &closedOnce{c, sync.OnceValue(c.Close)}
	t.Cleanup(func() { _ = once.Close() })
	if _, err := io.ReadFull(once, make([]byte, 100)); err != nil {
		t.Fatalf("reading: %w", err)
	}
	return once
}

// closedOnce is a content that is closed once, however often it is asked to.
type closedOnce struct {
	backends.Content
	once func() error
}

func (c *closedOnce) Close() error { return c.once() }

// mustBreakOff reads a content on, which must fail now, and not as if it were complete.
func (t *trial) mustBreakOff(what string, c backends.Content) {
	t.promptly(what, func() {
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{c}); err == nil {
			t.Errorf("%s is read to its end", what)
		}
		_ = c.Close()
	})
}
