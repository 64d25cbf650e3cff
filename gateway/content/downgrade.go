package content

import (
	"bytes"
	"context"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// downgrade gives a header that is ASCII and as long: what is UTF-8 is encoded where a field has
// a way to encode it, and left out where it has none (RFC 6857 §3, RFC 6858 §2). A header that is
// ASCII already, or no UTF-8, is given as it is, and one of more than [header.FieldsMost] fields is
// masked. The only error is the context's end.
//
// It is a stranger's header while somebody waits who holds a lock: the work grows as the header
// does, but for one sorting of its fields (I11).
func downgrade(ctx context.Context, raw []byte) ([]byte, error) {
	if isASCII(raw) || !utf8.Valid(raw) {
		return raw, nil
	}
	parsed, size, err := header.Read(bytes.NewReader(raw), int64(len(raw)))
	if err != nil || size != int64(len(raw)) || bytes.Count(raw, []byte("\n")) != bytes.Count(raw, []byte("\r\n")) {
		return masked(raw), nil // there is no telling what is what
	}
	d := &downgrading{end: parsed.End, left: len(raw) - len(parsed.End)}
	for _, f := range parsed.Fields {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		d.add(f)
	}
	d.shrink()
	result := d.bytes()
	if len(result) != len(raw) {
		return masked(raw), nil
	}
	return result, nil
}

// masked has a question mark for each octet that is not ASCII.
func masked(p []byte) []byte {
	m := bytes.Clone(p)
	for i, c := range m {
		if c >= utf8.RuneSelf {
			m[i] = '?'
		}
	}
	return m
}

// downgrading is a header while it is being rewritten.
type downgrading struct {
	fields []rewritten
	end    []byte
	left   int // octets that may still be used; below zero while it is too long
}

// rewritten is a field; its text is empty where it is left out.
type rewritten struct {
	header.Field
	text []byte
}

func (d *downgrading) add(f header.Field) {
	r := rewritten{Field: f, text: f.Raw}
	if !isASCII(f.Raw) {
		r.text = ascii(f)
	}
	d.left -= len(r.text)
	d.fields = append(d.fields, r)
}

// spare are the fields that are left out where room is needed, the first ones first: signatures
// of the header that was, notes of servers, and the way that the message came.
var spare = []string{"DKIM-Signature", "ARC-", "Authentication-Results", "X-", "List-", "Received"}

// shrink makes room, until the fields are not longer than they were.
func (d *downgrading) shrink() {
	for _, name := range spare {
		for i := range d.fields {
			if d.left < 0 && len(d.fields[i].text) > 0 && isNamed(d.fields[i].Name, name) {
				d.replace(i, nil)
			}
		}
	}
	if d.left >= 0 {
		return
	}
	for _, i := range d.grown() {
		if d.left >= 0 {
			return
		}
		d.replace(i, masked(d.fields[i].Raw))
	}
}

func (r rewritten) growth() int { return len(r.text) - len(r.Raw) }

// grown are the indexes of the fields that have grown, those first that have grown the most.
// With all of them masked the header is not longer than it was.
func (d *downgrading) grown() (indexes []int) {
	for i, r := range d.fields {
		if r.growth() > 0 {
			indexes = append(indexes, i)
		}
	}
	slices.SortStableFunc(indexes, func(a, b int) int { return d.fields[b].growth() - d.fields[a].growth() })
	return indexes
}

func (d *downgrading) replace(i int, text []byte) {
	d.left += len(d.fields[i].text) - len(text)
	d.fields[i].text = text
}

// bytes puts the header together, filled up to the length that it had.
func (d *downgrading) bytes() []byte {
	var b bytes.Buffer
	for _, r := range d.fields {
		name, value, ok := bytes.Cut(r.text, []byte(":"))
		if ok && 0 < d.left && d.left < fillerLeast { // too little for a field: blanks in front of a value
			b.Write(name)
			b.WriteByte(':')
			b.WriteString(strings.Repeat(" ", d.left))
			b.Write(value)
			d.left = 0
			continue
		}
		b.Write(r.text)
	}
	if d.left >= fillerLeast {
		b.Write(filler(d.left))
	}
	b.Write(d.end)
	return b.Bytes()
}

const (
	fillerName  = "X-Downgraded: "
	fillerLeast = len(fillerName) + 1 + len("\r\n")
	fillerLine  = 60
)

// filler is a field of so many octets.
func filler(octets int) []byte {
	b := append(make([]byte, 0, octets), fillerName...)
	for column := 0; len(b) < octets-2; column++ {
		if column >= fillerLine && octets-2-len(b) > len("\r\n ") {
			b = append(b, "\r\n "...)
			column = 0
		}
		b = append(b, '-')
	}
	return append(b, "\r\n"...)
}

// isNamed compares a field's name with another, or with the beginning of names where that ends
// in a hyphen.
func isNamed(name, pattern string) bool {
	if strings.HasSuffix(pattern, "-") {
		return len(name) >= len(pattern) && strings.EqualFold(name[:len(pattern)], pattern)
	}
	return strings.EqualFold(name, pattern)
}

func isOneOf(name string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return isNamed(name, p) })
}

// ascii writes a field that has UTF-8 in it in ASCII; nothing where there is no way.
func ascii(f header.Field) []byte {
	value := ""
	switch {
	case len(f.Raw) > parsedMost:
		// What nobody has written by hand is not taken apart.
	case isOneOf(f.Name, "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc"):
		value = asciiAddresses(f.Value())
	case isOneOf(f.Name, "Content-Type", "Content-Disposition"):
		value = asciiParameters(f.Value())
	case isOneOf(f.Name, "Received", "Return-Path", "Delivered-To", "Message-ID", "Resent-Message-ID", "In-Reply-To", "References",
		"Date", "Resent-Date", "MIME-Version", "Content-ID", "Content-Transfer-Encoding", "List-", "DKIM-Signature", "ARC-", "Authentication-Results"):
		return nil // RFC 6858 §2.4
	default:
		value = encodedWords(f.Value())
	}
	if value == "" {
		return masked(f.Raw)
	}
	return []byte(f.Name + ": " + value + "\r\n")
}

// encodedWords writes a text in the shorter of the two encodings (RFC 2047 §4), a word a line.
func encodedWords(text string) string {
	q, b := mime.QEncoding.Encode("utf-8", text), mime.BEncoding.Encode("utf-8", text)
	if len(b) < len(q) {
		q = b
	}
	return strings.ReplaceAll(q, "?= =?", "?=\r\n =?")
}

// asciiAddresses writes a list of addresses. One that cannot be written in ASCII is removed, and
// said to be, by a group without members (RFC 6857 §3).
func asciiAddresses(text string) string {
	list, err := mail.ParseAddressList(text)
	if err != nil {
		return encodedWords(text) // a group, as a rule: it can be read, if not answered
	}
	written := make([]string, 0, len(list))
	for _, a := range list {
		written = append(written, asciiAddress(a))
	}
	return strings.Join(written, ",\r\n ")
}

func asciiAddress(a *mail.Address) string {
	at := strings.LastIndexByte(a.Address, '@')
	local, domain := a.Address[:max(at, 0)], a.Address[at+1:]
	if ascii, err := address.Domain(domain); err == nil { // which is bounded: Punycode takes quadratic time
		domain = ascii
	}
	if !isASCII([]byte(local + domain)) {
		name := strings.TrimSpace(a.Name + " Internationalized address " + a.Address + " removed")
		return encodedWords(name) + ":;"
	}
	ascii := mail.Address{Address: local + "@" + domain}
	if a.Name == "" {
		return ascii.String()
	}
	if isASCII([]byte(a.Name)) {
		ascii.Name = a.Name
		return ascii.String()
	}
	return encodedWords(a.Name) + " " + ascii.String()
}

// asciiParameters writes a media type or a disposition with its parameters in the form of
// RFC 2231; empty where it is none.
func asciiParameters(text string) string {
	kind, parameters, err := mime.ParseMediaType(text)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(mime.FormatMediaType(kind, parameters), "; ", ";\r\n ")
}
