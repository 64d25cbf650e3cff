package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

var manyCases = []testcase{
	{"many-in-order", []need{reader, feed}, func(t *trial) {
		mails := append(t.mails(4), t.large(300_000), t.mails(1)[0])
		d, entries := t.filled(t.first(), mails...)
		ids := idsOf(entries)
		ids[0], ids[4] = ids[4], ids[0] // the request's order, and not the list's
		mails[0], mails[4] = mails[4], mails[0]
		contents := d.many(backends.FetchManyRequest{IDs: ids})
		for _, m := range mails {
			t.same(m, d.next(contents))
		}
		if _, err := contents.Next(t.ctx); !errors.Is(err, io.EOF) {
			t.Errorf("after the last of several messages: %v, and not io.EOF", err)
		}
	}},
	{"many-tops", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mail("One.\r\nTwo.\r\n"), t.mail("One.\r\nTwo.\r\nThree.\r\n"))
		contents := d.many(backends.FetchManyRequest{IDs: idsOf(entries), Top: true, Lines: 1})
		for _, e := range entries {
			if got, want := d.next(contents), d.top(e.ID, 1); !bytes.Equal(got, want) {
				t.Errorf("a top among several: %s", difference(want, got))
			}
		}
	}},
	{"many-beside-one-that-fails", []need{reader, feed}, func(t *trial) {
		mails := t.mails(3)
		d, entries := t.filled(t.first(), mails...)
		contents := d.many(backends.FetchManyRequest{IDs: []backends.MessageID{
			entries[0].ID, "storetest-no-such-message", entries[1].ID, entries[2].ID + "x", entries[2].ID,
		}})
		for i, m := range []int{0, -1, 1, -1, 2} {
			if m >= 0 {
				t.same(mails[m], d.next(contents))
				continue
			}
			c, err := contents.Next(t.ctx)
			if err == nil {
				_, err = io.Copy(io.Discard, c)
				_ = c.Close()
			}
			t.wantKind("message "+string(rune('1'+i))+" of several, which nobody has", err, backends.NotFound, backends.Permanent)
		}
	}},
	{"many-given-up", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), t.large(400_000), t.large(300_000), m)
		for i := range 5 {
			contents := d.many(backends.FetchManyRequest{IDs: idsOf(entries)})
			for range i % 3 {
				c, err := contents.Next(t.ctx)
				if err != nil {
					t.Fatalf("one of several messages: %w", err)
				}
				_, _ = c.Read(make([]byte, 100))
				_ = c.Close()
			}
			t.promptly("closing messages that were not read", func() { _ = contents.Close() })
		}
		t.same(m, d.fetch(entries[2].ID)) // the session lives
	}},
	{"many-cancelled", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), t.large(min(t.largest(), 8<<20)), m)
		contents := d.many(backends.FetchManyRequest{IDs: idsOf(entries)})
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		c, err := contents.Next(ctx)
		if err != nil {
			t.Fatalf("one of several messages: %w", err)
		}
		_, _ = c.Read(make([]byte, 100))
		cancel()
		t.mustBreakOff("one of several messages, whose context has ended", c)
		_ = contents.Close()
		t.same(m, d.fetch(entries[1].ID))
	}},
	{"file", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mail("Hello.\r\n\r\n.\r\n"), t.large(200_000))
		contents := d.many(backends.FetchManyRequest{IDs: idsOf(entries)})
		for i, e := range entries {
			c, err := contents.Next(t.ctx)
			if err != nil {
				t.Fatalf("one of several messages: %w", err)
			}
			whole, wholeSize, wholly := t.wholeFileOf(c)
			got, given := t.fileOf(c)
			size := c.Size()
			_ = c.Close()
			want := d.fetch(e.ID)
			if given && (!bytes.Equal(got, want) || size >= 0 && size != int64(len(got))) {
				t.Errorf("message %d stands in a file, of which %d octets were announced: %s", i+1, size, difference(want, got))
			}
			if wholly && (!bytes.Equal(whole, want) || wholeSize != int64(len(whole))) {
				t.Errorf("message %d is all of a file, of which %d octets were announced: %s", i+1, wholeSize, difference(want, whole))
			}
		}
	}},
}

// fileOf is what a content's file says that the message is.
func (t *trial) fileOf(c backends.Content) (canonical []byte, given bool) {
	content, ok := c.(backends.FileContent)
	if !ok {
		t.notOffered("the store's messages do not stand in files, or the gateway reads these itself")
	}
	file, offset, length := content.File()
	if file == nil {
		return nil, false
	}
	data, err := io.ReadAll(crlf.NewReader(io.NewSectionReader(file, offset, length)))
	if err != nil {
		t.Fatalf("reading a message's file: %w", err)
	}
	return data, true
}

// wholeFileOf is what a content's file says that the message is, where it is all of that file, and the size that goes
// with it.
func (t *trial) wholeFileOf(c backends.Content) (canonical []byte, size int64, given bool) {
	content, ok := c.(backends.WholeFileContent)
	if !ok {
		return nil, 0, false
	}
	file, size, length := content.WholeFile()
	if file == nil {
		return nil, 0, false
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, math.MaxInt64))
	if err != nil {
		t.Fatalf("reading a message's file: %w", err)
	}
	if length >= 0 && length != int64(len(data)) {
		t.Errorf("a message is all of a file of %d octets, which has %d", length, len(data))
	}
	canonical, err = io.ReadAll(crlf.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatalf("the canonical form of a message's file: %w", err)
	}
	return canonical, size, true
}

// many asks for several messages, where the store gives them so. The case's end gives up what is
// left of them.
func (d drop) many(request backends.FetchManyRequest) backends.Contents {
	many, ok := d.Maildrop.(backends.ManyFetcher)
	if !ok {
		d.t.notOffered("the store gives one message at a time")
	}
	contents, err := many.FetchMany(d.t.ctx, request)
	if err != nil {
		d.t.Fatalf("asking for several messages: %w", err)
	}
	d.t.Cleanup(func() { _ = contents.Close() })
	return contents
}

// next reads the next of several messages.
func (d drop) next(contents backends.Contents) []byte {
	c, err := contents.Next(d.t.ctx)
	if err != nil {
		d.t.Fatalf("one of several messages: %w", err)
	}
	data, err := io.ReadAll(c)
	_ = c.Close()
	if err != nil {
		d.t.Fatalf("reading one of several messages: %w", err)
	}
	return data
}
