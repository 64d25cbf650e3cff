package content

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// needValue are the fields that must have a value (RFC 5322 §3.6) and that a message can be without:
// From is one of them, since it can be added.
var needValue = []string{"Date", "From", "Sender", "Reply-To", "To", "Cc", "Message-ID", "In-Reply-To", "References"}

// dropEmpty takes the fields out that must have a value and have none. Scripts fill templates, and
// clients write a Sender that they do not know.
func dropEmpty(h *header.Header) {
	h.Fields = slices.DeleteFunc(h.Fields, func(f header.Field) bool {
		return len(f.Raw) <= parsedMost && slices.ContainsFunc(needValue, f.Is) && saysNothing(f.Value())
	})
}

// saysNothing: a comment is no value (RFC 5322 §3.2.2), and neither is an address or an id of nothing.
func saysNothing(value string) bool {
	inner := strings.TrimSpace(withoutComments(value))
	if rest, ok := strings.CutPrefix(inner, "<"); ok {
		if rest, ok = strings.CutSuffix(rest, ">"); ok {
			inner = strings.TrimSpace(rest)
		}
	}
	return inner == ""
}

// nameAuthor adds the From of a message that has none, and the address to one that is a name alone
// ("From: Scanner"). What may be meant as an address or a group
// (RFC 5322 §3.4) stays.
func nameAuthor(h *header.Header, author string) {
	switch from := h.All("From"); len(from) {
	case 0:
		h.Append("From", author)
	case 1:
		at := slices.IndexFunc(h.Fields, func(f header.Field) bool { return f.Is("From") })
		if field, ok := addressed(from[0], author); ok {
			h.Fields[at] = field
		}
	}
}

// addressed puts an address behind the name that is all of a From.
func addressed(f header.Field, author string) (header.Field, bool) {
	if len(f.Raw) > parsedMost {
		return f, false
	}
	name := strings.TrimSpace(strings.TrimSuffix(f.Value(), "<>"))
	if strings.ContainsAny(name, "@<>;") || strings.ContainsFunc(name, unicode.IsControl) {
		return f, false
	}
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	for _, name := range []string{name, quoted} {
		field := header.Field{Name: f.Name, Raw: []byte(f.Name + ": " + name + " <" + author + ">\r\n")}
		if boxes, err := strictMailboxes(field); err == nil && len(boxes) == 1 {
			return field, true
		}
	}
	return f, false
}

// qualify puts a domain behind the address in From and Sender that has none: `"(Cron Daemon)" <root>`. A From of a word
// alone is a name, and a Sender is an address.
func qualify(h *header.Header, domain string) {
	for i, f := range h.Fields {
		if !f.Is("From") && !f.Is("Sender") || len(f.Raw) > parsedMost {
			continue
		}
		name, rest, bracketed := strings.Cut(f.Value(), "<")
		local, behind, closed := strings.Cut(rest, ">")
		if f.Is("Sender") && !bracketed {
			name, local, closed = "", strings.TrimSpace(withoutComments(f.Value())), true
		}
		if !closed || strings.TrimSpace(behind) != "" || strings.Contains(name, "@") {
			continue
		}
		box, err := address.Parse(local + "@" + domain)
		if err != nil || strings.Contains(local, "@") {
			continue
		}
		field := header.Field{Name: f.Name, Raw: []byte(f.Name + ": " + name + "<" + box.String() + ">\r\n")}
		if boxes, err := strictMailboxes(field); err == nil && len(boxes) == 1 {
			h.Fields[i] = field
		}
	}
}

// ReadSubmitted is [header.Read] for a message from a script that may have left the header out. A first
// line that is blank, or that begins a text, is the body's: the header is empty then, size is what of the
// message is not the body, and nothing in the body is taken for a field. A line of an mbox file's is
// left out, as [Joint] says. A header with a line that is none stays [header.MalformedError].
func ReadSubmitted(open func() io.Reader, most int64) (h *header.Header, size int64, err error) {
	h, size, err = header.Read(open(), most)
	malformed, ok := errors.AsType[*header.MalformedError](err)
	if !ok || malformed.Line != 1 {
		return h, size, err
	}
	lines := bufio.NewReader(io.LimitReader(open(), most))
	line, e := lines.ReadBytes('\n')
	if e != nil && !errors.Is(e, io.EOF) {
		return nil, 0, e
	}
	switch {
	case len(bytes.TrimSpace(line)) == 0:
		return &header.Header{End: []byte(EmptyHeader)}, int64(len(line)), nil
	case bytes.HasPrefix(line, []byte("From ")), bytes.HasPrefix(line, []byte(">From ")):
		return behindFirst(lines, most, int64(len(line)))
	}
	is, e := isText(line, lines)
	switch {
	case e != nil:
		return nil, 0, e
	case !is:
		return nil, 0, err
	}
	return &header.Header{End: []byte(EmptyHeader)}, 0, nil
}

// behindFirst reads the header that stands behind a line which has been read.
func behindFirst(lines io.Reader, most, first int64) (*header.Header, int64, error) {
	h, size, err := header.Read(lines, most-first)
	if malformed, ok := errors.AsType[*header.MalformedError](err); ok {
		err = &header.MalformedError{Line: malformed.Line + 1}
	}
	return h, size + first, err
}

// headerOnly are fields that no text of a device begins a line with: where one stands in the first
// paragraph, that is a header, and were it sent as a text, everybody would read its Bcc.
var headerOnly = []string{"Bcc", "Resent-Bcc", "From", "Sender", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Received"}

// isText says that the paragraph at a message's start, its first line given, is no header.
func isText(line []byte, lines *bufio.Reader) (bool, error) {
	for {
		if len(bytes.TrimSpace(line)) == 0 {
			return true, nil
		}
		if name, ok := header.FieldName(bytes.TrimLeft(line, " \t")); ok && slices.ContainsFunc(headerOnly, header.Field{Name: name}.Is) {
			return false, nil
		}
		var err error
		if line, err = lines.ReadBytes('\n'); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
	}
}
