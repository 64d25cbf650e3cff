package storetest_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// liarContents are several messages, of a store that tells the truth but for what is set.
type liarContents struct {
	drop    *liarDrop
	request backends.FetchManyRequest
	given   int
	broken  error

	stops  bool // at a failure
	hangs  bool // when it is closed before its end
	deaf   bool // to the contexts of Next
	end    error
	change func(backends.Content) (backends.Content, error)
}

// manyDrop is a liarDrop that gives several messages at once.
type manyDrop struct{ *liarDrop }

// FetchMany implements [backends.ManyFetcher].
func (d manyDrop) FetchMany(_ context.Context, r backends.FetchManyRequest) (backends.Contents, error) {
	c := &liarContents{drop: d.liarDrop, request: r, end: io.EOF}
	d.many(c)
	return c, nil
}

func (c *liarContents) Next(ctx context.Context) (backends.Content, error) {
	if c.given == len(c.request.IDs) {
		return nil, c.end
	}
	if c.broken != nil {
		return nil, c.broken
	}
	if c.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	c.given++
	content, err := c.drop.Maildrop.Fetch(ctx, c.request.One(c.given-1))
	if err != nil && c.stops {
		c.broken = err
	}
	if err == nil && c.change != nil {
		return c.change(content)
	}
	return content, err
}

func (c *liarContents) Close() error {
	if c.hangs && c.given < len(c.request.IDs) {
		time.Sleep(30 * time.Second) // the bubble's clock
	}
	return nil
}

// manyOf changes what several messages are.
func manyOf(change func(*liarContents)) func(*liar) {
	return dropping(func(d *liarDrop) { d.many = change })
}

// inFile is a content that stands in a file.
type inFile struct {
	backends.Content
	file           *os.File
	offset, length int64
}

func (f inFile) File() (backends.OpenFile, int64, int64) { return f.file, f.offset, f.length }

// wholeFile is a content that is all of a file.
type wholeFile struct {
	inFile
	size int64
}

func (f wholeFile) WholeFile() (backends.OpenFile, int64, int64) { return f.file, f.size, f.length }

// wholly makes each content one that is all of a file, and changes what it says of that.
func wholly(change func(*wholeFile)) func(*liarContents) {
	return func(c *liarContents) {
		filed(func(*inFile) {})(c)
		part := c.change
		c.change = func(content backends.Content) (backends.Content, error) {
			c, err := part(content)
			if err != nil {
				return nil, err
			}
			f := wholeFile{c.(inFile), c.Size()}
			text := make([]byte, f.length)
			if _, err = f.file.ReadAt(text, f.offset); err != nil && err != io.EOF {
				return nil, err
			}
			f.offset = 0
			if err = f.file.Truncate(0); err == nil {
				_, err = f.file.WriteAt(text, 0)
			}
			change(&f)
			return f, err
		}
	}
}

// filed puts contents into files, with LF for line ends, and changes where it says they are.
func filed(change func(*inFile)) func(*liarContents) {
	return func(c *liarContents) {
		c.change = func(content backends.Content) (backends.Content, error) {
			data, err := io.ReadAll(content)
			if err != nil {
				return nil, err
			}
			f, err := os.CreateTemp("", "lie")
			if err != nil {
				return nil, err
			}
			defer os.Remove(f.Name())
			again := sizedContent{&liarContent{Content: content, data: bytes.NewReader(data)}, int64(len(data))}
			data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
			_, err = f.Write(append([]byte("From \n"), data...))
			in := inFile{again, f, 6, int64(len(data))}
			change(&in)
			return in, err
		}
	}
}

var manyLies = []lie{
	{
		name: "several messages come in the order of the list",
		tell: manyOf(func(c *liarContents) {
			all := c.drop.entries(context.Background())
			at := func(id backends.MessageID) int {
				return slices.IndexFunc(all, func(e backends.Entry) bool { return e.ID == id })
			}
			slices.SortStableFunc(c.request.IDs, func(a, b backends.MessageID) int { return at(a) - at(b) })
		}),
		fails: []string{"maildrop/many-in-order", "maildrop/many-beside-one-that-fails"},
	},
	{
		name:  "several messages have no end",
		tell:  manyOf(func(c *liarContents) { c.end = backends.Fail(backends.Temporary, "no more") }),
		fails: []string{"maildrop/many-in-order"},
	},
	{
		name:  "several tops are whole messages",
		tell:  manyOf(func(c *liarContents) { c.request.Top = false }),
		fails: []string{"maildrop/many-tops"},
	},
	{
		name:  "one of several messages that fails ends the others",
		tell:  manyOf(func(c *liarContents) { c.stops = true }),
		fails: []string{"maildrop/many-beside-one-that-fails"},
	},
	{
		name:  "several messages that are given up hang",
		tell:  manyOf(func(c *liarContents) { c.hangs = true }),
		fails: []string{"maildrop/many-given-up", "maildrop/many-cancelled", "maildrop/file"},
		may:   []string{"maildrop/many-beside-one-that-fails"},
	},
	{
		name:  "one of several messages does not hear of its context's end",
		tell:  manyOf(func(c *liarContents) { c.deaf = true }),
		fails: []string{"maildrop/many-cancelled"},
	},
	{
		name:  "a message's file has other lines in front",
		tell:  manyOf(filed(func(f *inFile) { f.length, f.offset = f.length+f.offset, 0 })),
		fails: []string{"maildrop/file"},
	},
	{
		name:  "a message's file ends early",
		tell:  manyOf(filed(func(f *inFile) { f.length -= 10 })),
		fails: []string{"maildrop/file"},
	},
	{
		name:  "the file that is a message has another length",
		tell:  manyOf(wholly(func(f *wholeFile) { _ = f.file.Truncate(f.length - 1) })),
		fails: []string{"maildrop/file"},
	},
	{
		name:  "the file that is a message gives another size",
		tell:  manyOf(wholly(func(f *wholeFile) { f.size++ })),
		fails: []string{"maildrop/file"},
	},
}
