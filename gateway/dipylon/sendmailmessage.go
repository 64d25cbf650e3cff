package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/backends/pickup"
)

// submit puts one message into the outbox.
func (s *sendmail) submit(box maildir.Outbox, e pickup.Envelope, in io.Reader) error {
	if !s.dots {
		in = &untilDot{lines: bufio.NewReader(in)}
	}
	b, err := buffer.Fill(buffer.Options{}, in)
	if err != nil {
		if _, ours := errors.AsType[*buffer.StorageError](err); ours {
			return withCode(exitTemporary, err)
		}
		return withCode(exNoInput, fmt.Errorf("reading the message: %w", err))
	}
	defer b.Discard() //nolint:errcheck // a temporary file goes with the process
	h, size, joint, err := scanHeader(b.Reader())
	if err != nil {
		return withCode(exitTemporary, err)
	}
	if s.fromHeader {
		found, err := box.InHeader(h)
		if err != nil {
			return withCode(exData, err)
		}
		if e.Recipients = append(e.Recipients, found...); len(e.Recipients) == 0 {
			return withCode(exUsage, errors.New("the message names nobody in To, Cc or Bcc"))
		}
	}
	e.Recipients = slices.Compact(slices.SortedFunc(slices.Values(e.Recipients), func(a, b backends.Recipient) int { return strings.Compare(a.Address, b.Address) }))
	for i := range e.Recipients {
		e.Recipients[i].Notify = s.notify
	}
	message := io.MultiReader(strings.NewReader(s.author(e, h)), h.Reader(), strings.NewReader(joint), b.From(size))
	if err := box.Drop(e, message); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return withCode(exNoPerm, err)
		}
		return withCode(exitTemporary, err)
	}
	return nil
}

// author is the From of a message that has none and whose author has a name; else the gateway puts the address there.
func (s *sendmail) author(e pickup.Envelope, h *header.Header) string {
	if s.name == "" || len(h.All("From")) > 0 {
		return ""
	}
	name := mime.QEncoding.Encode("utf-8", s.name)
	if name == s.name {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", " ", "\n", " ").Replace(name) + `"`
	}
	if e.Sender == nil || *e.Sender == "" {
		return "From: " + name + "\n" // the gateway has the address
	}
	return "From: " + name + " <" + *e.Sender + ">\n"
}

// scanHeader reads a header as sendmail does: it ends where a line is no field, and what is missing between that line and
// the header is joint. The first line of an mbox's message is left out. A header beyond its bounds is left as it is, for
// the gateway to refuse.
func scanHeader(r io.Reader) (h *header.Header, size int64, joint string, err error) {
	lines := bufio.NewReader(io.LimitReader(r, header.Most+1))
	h = &header.Header{}
	for first := true; ; first = false {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, "", err
		}
		name, field := header.FieldName(line)
		switch {
		case size+int64(len(line)) > header.Most:
			return &header.Header{}, 0, "", nil
		case len(line) == 0:
			return h, size, "", nil
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			h.End = line
			return h, size + int64(len(line)), "", nil
		case first && bytes.HasPrefix(line, []byte("From ")):
		case (line[0] == ' ' || line[0] == '\t') && len(h.Fields) > 0:
			last := &h.Fields[len(h.Fields)-1]
			last.Raw = append(last.Raw, line...)
		case field:
			h.Fields = append(h.Fields, header.Field{Name: name, Raw: line})
		default:
			return h, size, "\n", nil
		}
		size += int64(len(line))
	}
}

// untilDot reads up to a line with a dot alone, where a terminal's user ends a message.
type untilDot struct {
	lines *bufio.Reader
	rest  []byte
	begun bool // the line has begun
	ended bool
}

// Read implements [io.Reader].
func (u *untilDot) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		if u.ended {
			return 0, io.EOF
		}
		line, err := u.lines.ReadSlice('\n')
		if !u.begun && string(bytes.TrimRight(line, "\r\n")) == "." && !errors.Is(err, bufio.ErrBufferFull) {
			u.ended = true
			return 0, io.EOF
		}
		u.begun = errors.Is(err, bufio.ErrBufferFull)
		if u.rest = line; err != nil && !u.begun {
			if u.ended = errors.Is(err, io.EOF); !u.ended {
				return 0, err
			}
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}
