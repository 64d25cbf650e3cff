package notice

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// Report is one notification: about one message, for its sender.
type Report struct {
	Hostname string // of the gateway, the reporting MTA (RFC 3464 §2.2.2)
	// Key makes the Message-ID, and the boundary: printable ASCII, another one for each report.
	Key      string
	Language string // of the words, "en" or "de"; any other: "en"
	Envelope backends.Envelope
	// Device is the machine that has sent the message: its owner gets the report. Zero: a person has, who does.
	Device   Device
	Arrived  time.Time // when the gateway was given the message
	Date     time.Time // of the report
	Outcomes []Outcome // at least one
	// Original is the message, with CRLF line ends. Nil: nothing of it comes back.
	Original io.ReadSeeker
	// SizeMost is the largest report that its way takes, in octets; 0: nobody says.
	SizeMost int64
}

// To is the address that gets the report.
func (r *Report) To() string { return cmp.Or(r.Device.Owner, r.Envelope.From) }

// OriginalError says that the message cannot be read that a report is about. A report can be made without it.
type OriginalError struct{ Err error }

func (e *OriginalError) Error() string { return "the message cannot be read: " + e.Err.Error() }
func (e *OriginalError) Unwrap() error { return e.Err }

// returnedMost bounds the messages that come back whole, in octets, whatever RET says: a report must not be
// refused for its size.
const returnedMost = 10 << 20

// WriteTo writes the report, with CRLF line ends. An error is the writer's, or an [*OriginalError].
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	out := &counted{to: w}
	head, err := r.originalHeader()
	if err != nil {
		return 0, err
	}
	whole, err := r.whole()
	if err != nil {
		return 0, err
	}
	global := r.global(head)
	boundary := r.boundary()
	words := wordsIn(r.Language)
	kind := r.kind()
	out.line("Date: " + r.Date.Format(dateForm))
	out.line("From: " + mime.QEncoding.Encode("utf-8", words.sender) + " <postmaster@" + r.Hostname + ">")
	out.line("To: <" + r.To() + ">")
	out.line("Subject: " + strings.ReplaceAll(mime.QEncoding.Encode("utf-8", r.subject(words, kind)), "?= =?", "?=\r\n =?"))
	out.line("Message-ID: <" + r.digest() + ".dsn@" + r.Hostname + ">")
	if id := messageID(head); id != "" {
		out.line("In-Reply-To: " + id)
		out.line("References: " + id)
	}
	out.line("Auto-Submitted: auto-replied") // RFC 3834 §3.1.8
	out.line("MIME-Version: 1.0")
	out.line("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"" + boundary + "\"")
	if global || whole && r.Envelope.Body == backends.Body8BitMIME {
		out.line("Content-Transfer-Encoding: 8bit")
	}
	out.line("")
	out.line("--" + boundary)
	r.text(out, words, kind)
	out.line("--" + boundary)
	r.status(out, global)
	switch {
	case whole:
		out.line("--" + boundary)
		if err := r.all(out, global); err != nil {
			return out.octets, err
		}
	case len(head) > 0:
		out.line("--" + boundary)
		r.headersOnly(out, head, global)
	}
	out.line("--" + boundary + "--")
	return out.octets, out.err
}

func (r *Report) subject(words *words, kind backends.Action) string {
	if r.Device.Name == "" {
		return words.subjects[kind]
	}
	return clean(fmt.Sprintf(words.device.subjects[kind], r.Device.Name))
}

// dateForm is RFC 5322 §3.3.
const dateForm = "Mon, 2 Jan 2006 15:04:05 -0700"

// kind is the action that the report is about first: the worst one.
func (r *Report) kind() backends.Action {
	worst := backends.ActionUnset
	for _, o := range r.Outcomes {
		worst = max(worst, o.Action) // in the order of the numbers
	}
	return worst
}

// digest is what makes names of the key.
func (r *Report) digest() string {
	sum := sha256.Sum256([]byte(r.Key))
	return hex.EncodeToString(sum[:16])
}

// boundary stands in no message but by intent of who knows the key, which nobody outside does.
func (r *Report) boundary() string {
	sum := sha256.Sum256([]byte("boundary " + r.Key))
	return "=_" + hex.EncodeToString(sum[:20])
}

// originalHeader reads the message's header, with the empty line behind it; what is too long to be read as
// one is left out.
func (r *Report) originalHeader() ([]byte, error) {
	if r.Original == nil {
		return nil, nil
	}
	if _, err := r.Original.Seek(0, io.SeekStart); err != nil {
		return nil, &OriginalError{err}
	}
	h, _, err := header.Read(r.Original, header.Most)
	if err != nil {
		var malformed *header.MalformedError
		if errors.As(err, &malformed) || errors.Is(err, header.ErrTooLarge) {
			return nil, nil
		}
		return nil, &OriginalError{err}
	}
	return io.ReadAll(h.Reader())
}

// global says whether the report has to be of the types of RFC 6533: an address, or the header that comes
// back, is not ASCII, and the sender's side has SMTPUTF8.
func (r *Report) global(head []byte) bool {
	if !r.Envelope.SMTPUTF8 {
		return false
	}
	ascii := address.ASCII(r.To()) && address.ASCII(string(head))
	for _, o := range r.Outcomes {
		ascii = ascii && address.ASCII(o.Address) && address.ASCII(o.OriginalRecipient)
	}
	return !ascii
}

// text is the part for people.
func (r *Report) text(out *counted, words *words, kind backends.Action) {
	var b strings.Builder
	if r.Device.Name == "" {
		b.WriteString(words.greetings[kind] + "\n")
	} else {
		b.WriteString(clean(fmt.Sprintf(words.device.greetings[kind], r.Device.called())) + "\n")
	}
	for _, o := range r.Outcomes {
		b.WriteString("\n    " + clean(o.Address) + "\n")
		b.WriteString("        " + words.reason(o) + "\n")
		if o.Server != "" && o.Diagnostic != "" {
			_, said, _ := strings.Cut(o.Diagnostic, ";")
			b.WriteString("        " + clean(fmt.Sprintf(words.said, o.Server, strings.TrimSpace(said))) + "\n")
		}
		if o.Action == backends.ActionDelayed && !o.RetryUntil.IsZero() {
			b.WriteString("        " + fmt.Sprintf(words.until, o.RetryUntil.Format(dateForm)) + "\n")
		}
		if r.Device.Name != "" && o.Action == backends.ActionFailed {
			b.WriteString("        " + words.device.advice(o) + "\n")
		}
	}
	if r.Device.Name != "" {
		b.WriteString("\n" + fmt.Sprintf(words.device.closing, r.Device.Name) + "\n")
	}
	b.WriteString("\n" + fmt.Sprintf(words.closing, r.Hostname) + "\n")
	out.line("Content-Type: text/plain; charset=utf-8")
	out.line("Content-Transfer-Encoding: quoted-printable")
	out.line("")
	q := quotedprintable.NewWriter(out)
	_, _ = io.WriteString(q, strings.ReplaceAll(b.String(), "\n", "\r\n")) // the error stays in out
	_ = q.Close()
	out.line("")
}

// status is the part for programs (RFC 3464 §2).
func (r *Report) status(out *counted, global bool) {
	if global {
		out.line("Content-Type: message/global-delivery-status") // RFC 6533 §3
		out.line("Content-Transfer-Encoding: 8bit")
	} else {
		out.line("Content-Type: message/delivery-status")
	}
	out.line("")
	if r.Envelope.ID != "" {
		out.field("Original-Envelope-Id", clean(r.Envelope.ID))
	}
	out.field("Reporting-MTA", "dns; "+r.Hostname)
	if !r.Arrived.IsZero() {
		out.field("Arrival-Date", r.Arrived.Format(dateForm))
	}
	for _, o := range r.Outcomes {
		out.line("")
		if o.OriginalRecipient != "" {
			out.field("Original-Recipient", typed(o.OriginalRecipient, global))
		}
		out.field("Final-Recipient", typed("rfc822;"+o.Address, global))
		out.field("Action", o.Action.String())
		out.field("Status", statusOf(o))
		if o.Server != "" {
			out.field("Remote-MTA", "dns; "+clean(o.Server))
		}
		if o.Diagnostic != "" {
			out.field("Diagnostic-Code", clean(o.Diagnostic))
		}
		if !o.LastAttempt.IsZero() {
			out.field("Last-Attempt-Date", o.LastAttempt.Format(dateForm))
		}
		if o.Action == backends.ActionDelayed && !o.RetryUntil.IsZero() {
			out.field("Will-Retry-Until", o.RetryUntil.Format(dateForm))
		}
	}
	out.line("")
}

// typed is an address with its type (RFC 3464 §2.1.2). One that is not ASCII has the type of RFC 6533 §3,
// and is written with escapes where the report is ASCII.
func typed(text string, global bool) string {
	kind, addr, _ := strings.Cut(text, ";")
	addr = strings.TrimSpace(addr)
	if address.ASCII(addr) {
		return clean(kind + ";" + addr)
	}
	if global {
		return "utf-8;" + clean(addr)
	}
	var b strings.Builder
	for _, c := range addr { // utf-8-addr-xtext
		if c > 0x20 && c < 0x7f && c != '+' && c != '=' && c != '\\' {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return "utf-8;" + b.String()
}

// statusOf is the status code of an outcome: its own where that fits the action (RFC 3464 §2.3.4).
func statusOf(o Outcome) string {
	class := byte('5')
	switch o.Action {
	case backends.ActionDelayed:
		class = '4'
	case backends.ActionDelivered, backends.ActionRelayed, backends.ActionExpanded:
		class = '2'
	case backends.ActionFailed, backends.ActionUnset:
	}
	switch {
	case o.Code == "":
		return string(class) + ".0.0"
	case o.Code[0] != class && o.Action == backends.ActionFailed && o.Code[0] == '4':
		return o.Code // what would have passed was tried for too long
	case o.Code[0] != class:
		return string(class) + ".0.0"
	}
	return o.Code
}

// whole says whether all of the message comes back: for failures where the sender wants that; else its
// header does (RFC 3461 §4.3, §6.2). What was too large for a recipient may be so for the sender, too.
func (r *Report) whole() (bool, error) {
	if r.Original == nil || r.Envelope.Return != backends.ReturnFull || r.kind() != backends.ActionFailed ||
		slices.ContainsFunc(r.Outcomes, Outcome.tooLarge) {
		return false, nil
	}
	size, err := r.Original.Seek(0, io.SeekEnd)
	if err != nil {
		return false, &OriginalError{err}
	}
	return size <= returnedMost, nil
}

// tooLarge says whether it was for its size that the message was refused (RFC 3463 §3.3, §3.4).
func (o Outcome) tooLarge() bool { return o.Code == "5.3.4" || o.Code == "5.2.3" }

// all is the message, whole.
func (r *Report) all(out *counted, global bool) error {
	if global {
		out.line("Content-Type: message/global")
	} else {
		out.line("Content-Type: message/rfc822")
	}
	if r.Envelope.Body == backends.Body8BitMIME || global {
		out.line("Content-Transfer-Encoding: 8bit")
	}
	out.line("")
	if _, err := r.Original.Seek(0, io.SeekStart); err != nil {
		return &OriginalError{err}
	}
	if _, err := io.Copy(out, crlf.NewReader(r.Original)); err != nil && out.err == nil {
		return &OriginalError{err}
	}
	out.line("")
	return nil
}

func (r *Report) headersOnly(out *counted, head []byte, global bool) {
	ascii := address.ASCII(string(head))
	switch {
	case global && !ascii:
		out.line("Content-Type: message/global-headers")
		out.line("Content-Transfer-Encoding: 8bit")
	case !ascii:
		out.line("Content-Type: text/rfc822-headers; charset=utf-8")
		out.line("Content-Transfer-Encoding: quoted-printable")
	default:
		out.line("Content-Type: text/rfc822-headers")
	}
	out.line("")
	if ascii || global {
		_, _ = out.Write(head)
	} else {
		q := quotedprintable.NewWriter(out)
		_, _ = q.Write(head)
		_ = q.Close()
	}
	out.line("")
}

// messageID is the message's own, if it can stand in another one's header.
func messageID(head []byte) string {
	for len(head) > 0 {
		field, rest := header.CutField(head)
		if name, ok := header.FieldName(field); ok && strings.EqualFold(name, "Message-ID") {
			id := string(bytes.TrimSpace(field[bytes.IndexByte(field, ':')+1:]))
			if len(id) <= 250 && len(id) > 2 && id[0] == '<' && id[len(id)-1] == '>' && clean(id) == id && address.ASCII(id) && !strings.ContainsAny(id, " \t") {
				return id
			}
			return ""
		}
		head = rest
	}
	return ""
}

// clean is a text without what would end its line, or hide something: it comes from others.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, text)
}

// counted is where a report is written to. An error stays.
type counted struct {
	to     io.Writer
	octets int64
	err    error
}

// Write implements [io.Writer].
func (c *counted) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.to.Write(p)
	c.octets += int64(n)
	c.err = err
	return n, err
}

func (c *counted) line(text string) { _, _ = io.WriteString(c, text+"\r\n") }

// lineMost is how long a line may be (RFC 5322 §2.1.1 wants 78).
const lineMost = 78

// field writes a field, folded at blanks.
func (c *counted) field(name, value string) {
	line := name + ":"
	for word := range strings.FieldsSeq(value) {
		if len(line)+1+len(word) > lineMost && line != name+":" {
			c.line(line)
			line = ""
		}
		line += " " + word
	}
	c.line(line)
}
