// Package corpus makes the project's own test messages: a fixed collection of messages, each
// with a name, that between them have every form of MIME, every charset, every line length and
// every unkindness that mail servers have been seen to stumble over; and mailboxes of any size
// for benchmarks.
//
// Nothing is stored: each message is made by code, from seeds, and is the same octets on every
// machine and in every run (a test holds the digest of the whole).
//
//	for m := range corpus.All() {
//		t.Run(m.Name, func(t *testing.T) { send(t, m.Reader(), m.EightBit, m.UTF8) })
//	}
//
// Contents are in canonical form (RFC 5322 §2.3): every line ends with CRLF, and neither CR nor
// LF stands alone. The one exception says so: in an Unfinished message the last line has no
// line end, as only BDAT can carry it.
package corpus

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Message is one message of the collection.
type Message struct {
	// Name is unique: the family, a slash, and what is special about it. "dots/alone".
	Name string

	EightBit bool // octets above 127: needs 8BITMIME (RFC 6152)
	UTF8     bool // header fields in UTF-8: needs SMTPUTF8 (RFC 6531)
	Long     bool // a line of more than 998 octets before its CRLF (RFC 5322 §2.1.1)
	NUL      bool // octets of value 0, which 8BITMIME does not allow (RFC 6152 §3)
	// Unfinished says that the last line has no CRLF. DATA cannot say this; whoever stores the
	// message adds the line end.
	Unfinished bool

	content func() []byte
}

// Content makes the message's octets. They are the caller's: each call makes them anew.
func (m Message) Content() []byte { return m.content() }

// Reader is the content as a stream.
func (m Message) Reader() io.Reader { return bytes.NewReader(m.content()) }

// Canonical is the content as a store has to give it back: with the line end that an
// Unfinished message lacks.
func (m Message) Canonical() []byte {
	content := m.content()
	if m.Unfinished {
		content = append(content, "\r\n"...)
	}
	return content
}

// All yields the whole collection, family by family, always in the same order.
func All() iter.Seq[Message] { return of(families...) }

// of yields the messages of some families.
func of(some ...family) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for _, family := range some {
			for _, m := range family.messages() {
				m.Name = family.name + "/" + m.Name
				if !yield(m) {
					return
				}
			}
		}
	}
}

// Small yields the messages that need no more than most octets: what a test can afford to
// send several times.
func Small(most int) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for m := range All() {
			if len(m.content()) <= most && !yield(m) {
				return
			}
		}
	}
}

// Find is the message of that name. The other families' messages are not made for it.
func Find(name string) (Message, error) {
	for _, family := range families {
		if !strings.HasPrefix(name, family.name+"/") {
			continue
		}
		for m := range of(family) {
			if m.Name == name {
				return m, nil
			}
		}
	}
	return Message{}, fmt.Errorf("corpus: no message is named %q", name)
}

type family struct {
	name     string
	messages func() []Message
}

var families = []family{
	{"plain", plainMessages},
	{"lines", lineMessages},
	{"dots", dotMessages},
	{"octets", octetMessages},
	{"header", headerMessages},
	{"words", wordMessages},
	{"charset", charsetMessages},
	{"utf8", utf8Messages},
	{"mime", mimeMessages},
	{"broken", brokenMessages},
	{"encoding", encodingMessages},
	{"report", reportMessages},
	{"large", largeMessages},
}

// inspected sets the flags of messages by looking at their octets, so that no flag can be
// forgotten. It is for messages that are cheap to make.
func inspected(messages ...Message) []Message {
	for i := range messages {
		m := &messages[i]
		content := m.content()
		header, _, _ := bytes.Cut(content, []byte("\r\n\r\n"))
		m.EightBit = slices.ContainsFunc(content, func(b byte) bool { return b > 127 })
		m.UTF8 = m.UTF8 && slices.ContainsFunc(header, func(b byte) bool { return b > 127 })
		m.NUL = bytes.IndexByte(content, 0) >= 0
		m.Unfinished = len(content) > 0 && !bytes.HasSuffix(content, []byte("\r\n"))
		for line := range bytes.SplitSeq(content, []byte("\r\n")) {
			m.Long = m.Long || len(line) > 998
		}
	}
	return messages
}

// made is a message whose octets are made each time they are wanted.
func made(name string, content func() []byte) Message {
	return Message{Name: name, content: content}
}

// text is a message of a standard header and a body.
func text(name, body string) Message {
	return made(name, func() []byte { return []byte(head(name) + "\r\n" + body) })
}

// headed is a message with more header fields (each with its CRLF) and a body.
func headed(name, fields, body string) Message {
	return made(name, func() []byte { return []byte(head(name) + fields + "\r\n" + body) })
}

// raw is a message that is exactly this.
func raw(name, content string) Message {
	return made(name, func() []byte { return []byte(content) })
}
