package content

import (
	"bytes"
	"cmp"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/ianaindex"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// KeepFrom says where the From goes that a device has written and that another one takes the place of.
type KeepFrom string

// The places. The texts are what an administrator writes.
const (
	KeepReplyTo  KeepFrom = "reply-to"        // Reply-To, if it is one address and there is no Reply-To yet
	KeepOriginal KeepFrom = "x-original-from" // X-Original-From, as it was
	KeepNothing  KeepFrom = "nothing"
)

// DeviceMail is what is done to the header of mail from a device (a scanner, a UPS, a ticket system) before
// [Submission]: such machines cannot be corrected themselves. The body is never touched, so that what is signed
// (multipart/signed, RFC 1847) stays good.
//
//	content.DeviceMail{Sender: box, Keep: content.KeepReplyTo, Body: look, Now: now}.Apply(h)
//
// What is done in any case: names beside addresses are quoted as RFC 5322 §3.4 wants, text outside ASCII in Subject
// and in names becomes encoded words (RFC 2047), a Date that is none or that a clock without a battery has made goes
// to X-Original-Date, a Message-ID that is none is left out (Submission adds both), text that is not ASCII and does not
// say its charset says it, and lines of the header that are longer than RFC 5322 §2.1.1 allows are folded.
type DeviceMail struct {
	// Sender is put into From, whatever the device has written: Sender and Resent fields go, too. Zero: From stays, for
	// [Submission] to check.
	Sender address.Mailbox
	// Name is the display name of that From; empty: the one that the device has written.
	Name string
	Keep KeepFrom
	// SubjectPrefix is put in front of a Subject that does not begin with it.
	SubjectPrefix string
	// Charset is that of text that is neither ASCII nor UTF-8, a name in the IANA registry; empty: windows-1252.
	Charset string
	// UTF8 says that the message is for SMTPUTF8 alone (RFC 6532): the header may have UTF-8.
	UTF8 bool
	// Body looks through the body; it is asked where the header does not say what is in it.
	Body func() EightBit
	Now  time.Time
}

// Apply mends a header.
func (d DeviceMail) Apply(h *header.Header) {
	h.Fields = slices.Clone(h.Fields)
	if d.Sender.Domain != "" {
		d.forceFrom(h)
	}
	once(h, "Subject")
	d.dropBadDate(h)
	dropBadMessageID(h)
	for i, f := range h.Fields {
		if slices.ContainsFunc(withNames, f.Is) {
			h.Fields[i] = d.quoteName(f)
		}
	}
	d.mendSubject(h)
	d.labelText(h)
	for i, f := range h.Fields {
		h.Fields[i].Raw = folded(f.Raw)
	}
}

// withNames are the fields in which a name may stand beside an address.
var withNames = []string{"From", "Sender", "Reply-To", "To", "Cc"}

// once keeps the first field of a kind that may be there once (RFC 5322 §3.6).
func once(h *header.Header, name string) {
	seen := false
	h.Fields = slices.DeleteFunc(h.Fields, func(f header.Field) bool {
		again := f.Is(name) && seen
		seen = seen || f.Is(name)
		return again
	})
}

// forceFrom makes the message the sender's. Who redirects, or writes on behalf of somebody, would be somebody else.
func (d DeviceMail) forceFrom(h *header.Header) {
	from := h.All("From")
	h.Fields = slices.DeleteFunc(h.Fields, func(f header.Field) bool {
		name := strings.ToLower(f.Name)
		return f.Is("From") && &f.Raw[0] != &from[0].Raw[0] || f.Is("Sender") || f.Is("X-Original-From") || strings.HasPrefix(name, "resent-")
	})
	name, old := d.Name, ""
	if len(from) > 0 {
		written, boxes := d.nameIn(from[0]), boxesOf(from[0])
		if name == "" {
			name = written
		}
		if len(boxes) == 1 && !boxes[0].EqualFold(d.Sender) {
			old = boxes[0].String()
		}
	}
	if at := slices.IndexFunc(h.Fields, func(f header.Field) bool { return f.Is("From") }); at >= 0 {
		h.Fields[at] = newField("From", named(name, d.Sender))
	} else {
		h.Append("From", named(name, d.Sender))
	}
	d.keepFrom(h, from, old)
}

// keepFrom keeps what stood in From; old is its address, if it has one and that is another one's.
func (d DeviceMail) keepFrom(h *header.Header, from []header.Field, old string) {
	switch {
	case d.Keep == KeepReplyTo && old != "" && len(h.All("Reply-To")) == 0 && (d.UTF8 || address.ASCII(old)):
		h.Append("Reply-To", "<"+old+">")
	case d.Keep == KeepOriginal && len(from) > 0 && (old != "" || len(boxesOf(from[0])) != 1):
		h.Append("X-Original-From", d.words(clipped(d.decoded(from[0].Value()))))
	}
}

// boxesOf are the addresses that a field may mean; none: it cannot be read.
func boxesOf(f header.Field) []address.Mailbox {
	boxes, err := Mailboxes(f)
	if err != nil {
		return nil
	}
	return boxes
}

// displayMost bounds a display name, in characters.
const displayMost = 200

// nameIn is the name beside a field's one address, or the whole of a field that has no address, decoded.
func (d DeviceMail) nameIn(f header.Field) string {
	if len(f.Raw) > parsedMost {
		return ""
	}
	value := f.Value()
	if list, err := (&mail.AddressParser{WordDecoder: &lenient}).ParseList(value); err == nil && address.ASCII(value) {
		if len(list) != 1 {
			return ""
		}
		return d.plain(list[0].Name)
	}
	name, _, bracketed := strings.Cut(value, "<")
	if !bracketed && strings.Contains(name, "@") {
		return ""
	}
	return d.plain(unquoted.Replace(strings.Trim(strings.TrimSpace(name), `"`)))
}

// plain is a name as text: decoded, and not too long. One that looks like an address is none: people would take it
// for the sender.
func (d DeviceMail) plain(text string) string {
	if address.ASCII(text) {
		text = decodedWords(text)
	}
	if text = clipped(d.decoded(text)); strings.ContainsFunc(text, isAt) {
		return ""
	}
	return text
}

// clipped is a text on one line, of displayMost characters at the most.
func clipped(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > displayMost {
		text = string(runes[:displayMost])
	}
	return strings.TrimSpace(text)
}

// decoded reads octets as UTF-8, or else in the device's charset.
func (d DeviceMail) decoded(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	if encoding, err := ianaindex.MIME.Encoding(cmp.Or(d.Charset, usualCharset)); err == nil && encoding != nil {
		if out, err := encoding.NewDecoder().String(text); err == nil {
			return out
		}
	}
	return strings.ToValidUTF8(text, "?")
}

// usualCharset is what devices write that say nothing: it has all letters of ISO 8859-1.
const usualCharset = "windows-1252"

// words is a text as a field of text has it (RFC 2047 §5 (1)).
func (d DeviceMail) words(text string) string {
	if text = d.decoded(text); d.UTF8 || address.ASCII(text) {
		return text
	}
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", text), " ", "\r\n ")
}

// named is an address with a name in front, quoted or encoded as RFC 5322 §3.4 and RFC 2047 §5 (3) want it.
func named(name string, box address.Mailbox) string {
	if name == "" {
		return "<" + box.String() + ">"
	}
	written := (&mail.Address{Name: name, Address: "a@b"}).String()
	return strings.TrimSuffix(written, "<a@b>") + "<" + box.String() + ">"
}

func newField(name, value string) header.Field {
	return header.Field{Name: name, Raw: []byte(name + ": " + value + "\r\n")}
}

// quoteName quotes the name of a field that is one name and one address, and not written as RFC 5322 has it. What may
// be meant as several addresses stays as it is.
func (d DeviceMail) quoteName(f header.Field) header.Field {
	value := f.Value()
	if len(f.Raw) > parsedMost || address.ASCII(value) && strict(f) {
		return f
	}
	name, rest, _ := strings.Cut(value, "<")
	inner, behind, closed := strings.Cut(rest, ">")
	box, err := address.Parse(strings.TrimSpace(inner))
	if !closed || behind != "" || err != nil || strings.ContainsAny(name, "@;") || !d.UTF8 && !address.ASCII(box.String()) {
		return f
	}
	return newField(f.Name, named(d.plain(unquoted.Replace(strings.TrimSpace(name))), box))
}

func strict(f header.Field) bool {
	_, err := strictMailboxes(f)
	return err == nil
}

// wrongClock is how far a Date may be from the time at which the message comes: a device without a battery begins in 1970
// or in the year in which it was made.
const wrongClock = 30 * 24 * time.Hour

// dropBadDate takes a Date out that is none (RFC 5322 §3.3), that is there twice, or that a wrong clock has made.
func (d DeviceMail) dropBadDate(h *header.Header) {
	dates := h.All("Date")
	if len(dates) == 0 {
		return
	}
	date, err := mail.ParseDate(clipped(dates[0].Value()))
	if off := d.Now.Sub(date).Abs(); len(dates) == 1 && err == nil && off < wrongClock {
		return
	}
	h.Fields = slices.DeleteFunc(h.Fields, func(f header.Field) bool { return f.Is("Date") || f.Is("X-Original-Date") })
	if was := clipped(d.decoded(dates[0].Value())); was != "" {
		h.Append("X-Original-Date", d.words(was))
	}
}

// goodMessageID is one in ASCII (RFC 5322 §3.6.4), with the right-hand sides that programs write.
var goodMessageID = lazyregexp.New(`^<[^<>\s@\x00-\x20\x7f]+@[^<>\s@\x00-\x20\x7f]+>$`)

func dropBadMessageID(h *header.Header) {
	ids := h.All("Message-ID")
	if len(ids) == 1 && len(ids[0].Raw) < longestLine && address.ASCII(ids[0].Value()) && goodMessageID.MatchString(ids[0].Value()) {
		return
	}
	h.Fields = slices.DeleteFunc(h.Fields, func(f header.Field) bool { return f.Is("Message-ID") })
}

// mendSubject encodes what is not ASCII, and puts the prefix in front.
func (d DeviceMail) mendSubject(h *header.Header) {
	at := slices.IndexFunc(h.Fields, func(f header.Field) bool { return f.Is("Subject") })
	if at < 0 {
		if d.SubjectPrefix != "" {
			h.Append("Subject", d.words(d.SubjectPrefix))
		}
		return
	}
	f := h.Fields[at]
	if len(f.Raw) > parsedMost {
		return
	}
	_, raw, _ := bytes.Cut(f.Raw, []byte(":"))
	value := strings.Trim(string(raw), " \t\r\n") // its last line may be blank
	if !address.ASCII(value) && !(d.UTF8 && utf8.ValidString(value)) {
		value = d.words(f.Value())
	}
	if p := d.SubjectPrefix; p != "" && !strings.HasPrefix(decodedWords(f.Value()), p) {
		value = strings.TrimRight(d.words(p)+" "+value, " ")
	}
	if value != "" {
		h.Fields[at] = newField(f.Name, value)
	}
}

// labelText says which charset a text has that is not ASCII and does not say it (RFC 2045 §5.2, §6.2). Parts of a message
// of several are in its body.
func (d DeviceMail) labelText(h *header.Header) {
	kind, parameters, ok := textOf(h)
	if !ok || d.Body == nil {
		return
	}
	body := d.Body()
	if !body.Seen {
		return
	}
	charset := "utf-8"
	if !body.UTF8() {
		charset = strings.ToLower(cmp.Or(d.Charset, usualCharset))
	}
	delete(parameters, "charset")
	value := mime.FormatMediaType(kind, parameters) + "; charset=" + charset
	if at := slices.IndexFunc(h.Fields, func(f header.Field) bool { return f.Is("Content-Type") }); at >= 0 {
		h.Fields[at] = newField("Content-Type", value)
	} else {
		h.Append("Content-Type", value)
	}
	if len(h.All("MIME-Version")) == 0 {
		h.Append("MIME-Version", "1.0")
	}
	if len(h.All("Content-Transfer-Encoding")) == 0 {
		h.Append("Content-Transfer-Encoding", "8bit")
	}
}

// textOf is the type of a message that is a text and does not say its charset; not ok: it is something else.
func textOf(h *header.Header) (kind string, parameters map[string]string, ok bool) {
	types := h.All("Content-Type")
	switch {
	case len(types) == 0:
		return "text/plain", map[string]string{}, true
	case len(types) > 1 || len(types[0].Raw) > parsedMost:
		return "", nil, false
	}
	value := strings.TrimRight(types[0].Value(), "; \t")
	if strings.EqualFold(value, "text") { // RFC 1049, and old devices
		value = "text/plain"
	}
	kind, parameters, err := mime.ParseMediaType(value)
	ok = err == nil && strings.HasPrefix(kind, "text/") && parameters["charset"] == "" && mime.FormatMediaType(kind, parameters) != ""
	return kind, parameters, ok
}

// longestLine is how many octets a line may have (RFC 5322 §2.1.1), its end excluded, and foldAt how many it should.
const (
	longestLine = 998
	foldAt      = 78
)

// folded folds a field one of whose lines is too long (RFC 5322 §2.2.3), at blanks; where it has none, it stays.
func folded(raw []byte) []byte {
	if len(raw) <= longestLine || !slices.ContainsFunc(bytes.Split(raw, []byte("\n")), func(line []byte) bool { return len(line) > longestLine+1 }) {
		return raw
	}
	name, value, _ := bytes.Cut(raw, []byte(":"))
	out := append(bytes.Clone(name), ':')
	width := len(out)
	for i, word := range bytes.Fields(value) {
		if i > 0 && width+1+len(word) > foldAt {
			out, width = append(out, "\r\n"...), 0
		}
		out = append(append(out, ' '), word...)
		width += 1 + len(word)
	}
	return append(out, "\r\n"...)
}

// EightBit watches a body go by: whether it has octets outside ASCII, and whether those are UTF-8. It is an
// [io.Writer] that never fails.
type EightBit struct {
	Seen bool
	bad  bool
	cut  []byte // a character that the next octets may complete
}

// Write implements [io.Writer].
func (e *EightBit) Write(p []byte) (int, error) {
	if !e.Seen && isASCII(p) {
		return len(p), nil
	}
	if e.Seen = true; !e.bad {
		e.look(append(e.cut, p...))
	}
	return len(p), nil
}

// look reads whole characters, and keeps what may be the beginning of one.
func (e *EightBit) look(p []byte) {
	end := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if c := p[len(p)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(p[len(p)-back:]) {
				end = len(p) - back
			}
			break
		}
	}
	e.bad = !utf8.Valid(p[:end])
	e.cut = bytes.Clone(p[end:])
}

// UTF8 says whether all that has gone by is UTF-8.
func (e *EightBit) UTF8() bool { return !e.bad && len(e.cut) == 0 }
