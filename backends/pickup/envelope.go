// Package pickup reads and writes the envelope that stands in front of a message in a file, as the Pickup, Replay and Drop folders of Exchange
// have it, and SMTP services of Windows before them: X-Sender and X-Receiver fields.
//
//	X-Sender: <anna@sakes.example> RET=HDRS ENVID=QQ314159
//	X-Receiver: <judy@dcnw.example> NOTIFY=SUCCESS,FAILURE
//
// [Read] is for files that people and their programs write, and takes what it can; [ReadInjected] for those of Exchange's transport, whose
// envelope is right or nothing.
package pickup

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends"
	mail "github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mail/xtext"
)

// Envelope is what stands in front of a message: one X-Sender and any number of X-Receiver fields, each with an address in angle brackets and
// the parameters of MAIL and RCPT (RFC 3461 §4).
type Envelope struct {
	// Sender is the reverse-path; nil: none is given. Empty: the null reverse-path.
	Sender     *string
	Return     backends.Return
	ID         string // ENVID
	Recipients []backends.Recipient
}

// What stands for recipients that cannot be named. Nothing is ever delivered under .invalid (RFC 6761 §6.4): the
// gateway tells the author whom the message had not gone to, and why is in the name.
const (
	TooManyRecipients = "too-many-recipients@outbox.invalid"
	NotAnAddress      = "not-an-address@outbox.invalid"
)

const (
	senderField   = "X-Sender"
	receiverField = "X-Receiver"
	// envelopeLineMost is how many octets a line of the envelope has at most, and envelopeMost all of them.
	envelopeLineMost = 2 << 10
	envelopeMost     = 4 << 20
)

// String is the envelope as it stands in front of a message.
func (e Envelope) String() string {
	var b strings.Builder
	if e.Sender != nil || e.Return != 0 || e.ID != "" {
		b.WriteString(senderField + ":")
		if e.Sender != nil {
			b.WriteString(" <" + *e.Sender + ">")
		}
		if text := returnNames[e.Return]; text != "" {
			b.WriteString(" RET=" + text)
		}
		if e.ID != "" {
			b.WriteString(" ENVID=" + xtext.Encode(e.ID))
		}
		b.WriteString("\n")
	}
	for _, r := range e.Recipients {
		b.WriteString(receiverField + ": <" + r.Address + ">")
		if r.Notify != 0 {
			b.WriteString(" NOTIFY=" + notifyText(r.Notify))
		}
		if kind, address, ok := strings.Cut(r.OriginalRecipient, ";"); ok {
			b.WriteString(" ORCPT=" + xtext.Encode(kind) + ";" + xtext.Encode(address))
		}
		b.WriteString("\n")
	}
	return b.String()
}

var returnNames = [...]string{backends.ReturnUnset: "", backends.ReturnFull: "FULL", backends.ReturnHeaders: "HDRS"}

var notifyNames = []struct {
	is   backends.Notify
	name string
}{{backends.NotifyNever, "NEVER"}, {backends.NotifySuccess, "SUCCESS"}, {backends.NotifyFailure, "FAILURE"}, {backends.NotifyDelay, "DELAY"}}

func notifyText(n backends.Notify) string {
	var names []string
	for _, w := range notifyNames {
		if n&w.is != 0 {
			names = append(names, w.name)
		}
	}
	return strings.Join(names, ",")
}

// ParseNotify reads the value of NOTIFY (RFC 3461 §4.1).
func ParseNotify(text string) (n backends.Notify, ok bool) {
	for word := range strings.SplitSeq(text, ",") {
		known := false
		for _, w := range notifyNames {
			if strings.EqualFold(word, w.name) {
				n, known = n|w.is, true
			}
		}
		if !known {
			return 0, false
		}
	}
	return n, n.Valid()
}

// ParseReturn reads the value of RET (RFC 3461 §4.3).
func ParseReturn(text string) (backends.Return, bool) {
	for r, name := range returnNames {
		if name != "" && strings.EqualFold(text, name) {
			return backends.Return(r), true
		}
	}
	return 0, false
}

// fromXtext reads xtext (RFC 3461 §4). What is none stays as it is.
func fromXtext(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '+' && i+2 < len(text) {
			if raw, err := hex.DecodeString(text[i+1 : i+3]); err == nil {
				b.Write(raw)
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// textual is a parameter that can be sent on, and none of one that cannot: a message is not left behind for its parameters.
func textual(text string) string {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}

// Read reads the envelope in front of a message, and says where the message begins. A field that cannot be
// read is for an address that nothing is delivered to: its author is told.
func Read(r io.Reader) (e Envelope, size int64, err error) {
	lines := bufio.NewReaderSize(io.LimitReader(r, envelopeMost), envelopeLineMost)
	for {
		start, err := lines.Peek(StartMost)
		if err != nil && !errors.Is(err, io.EOF) {
			return e, size, err
		}
		if !Begins(start) {
			return e, size, nil
		}
		name, _ := header.FieldName(start)
		line, err := lines.ReadSlice('\n')
		size += int64(len(line))
		whole := !errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) { // no line of an envelope
			line, err = lines.ReadSlice('\n')
			size += int64(len(line))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return e, size, err
		}
		value := ""
		if _, text, _ := bytes.Cut(line, []byte(":")); whole {
			value = strings.TrimSpace(string(text))
		}
		if e.read(name, value); size >= envelopeMost {
			e.Recipients = backends.To(TooManyRecipients)
			return e, size, nil
		}
	}
}

// StartMost is how much of a message [Begins] looks at.
const StartMost = len(receiverField) + 1

// Begins says whether the start of a message, or of a line, is that of a field of an envelope.
func Begins(start []byte) bool {
	name, _ := header.FieldName(start)
	return strings.EqualFold(name, senderField) || strings.EqualFold(name, receiverField)
}

// read takes a field of the envelope.
func (e *Envelope) read(name, value string) {
	path, parameters, named := pathOf(value)
	if strings.EqualFold(name, senderField) {
		if named {
			e.Sender = &path
		}
		for key, value := range parameters {
			switch key {
			case "RET":
				e.Return, _ = ParseReturn(value)
			case "ENVID":
				e.ID = textual(fromXtext(value))
			}
		}
		return
	}
	r := backends.Recipient{Address: NotAnAddress}
	if box, err := mail.Parse(path); err == nil {
		r.Address = box.String()
	}
	for key, value := range parameters {
		switch key {
		case "NOTIFY":
			r.Notify, _ = ParseNotify(value)
		case "ORCPT":
			kind, address, _ := strings.Cut(value, ";")
			if address = textual(fromXtext(address)); address != "" && textual(kind) != "" && !strings.ContainsAny(kind, "+=") {
				r.OriginalRecipient = kind + ";" + address
			}
		}
	}
	e.Recipients = append(e.Recipients, r)
}

// isParameter says whether a word is a parameter of an envelope, which may have an address as its value.
func isParameter(word string) bool {
	key, _, given := strings.Cut(strings.ToUpper(word), "=")
	return given && slices.Contains([]string{"RET", "ENVID", "NOTIFY", "ORCPT"}, key)
}

// pathOf parts a path, with brackets or without, from its parameters; not named: there is none.
func pathOf(value string) (path string, parameters map[string]string, named bool) {
	rest := value
	if inner, is := strings.CutPrefix(value, "<"); is {
		at := strings.LastIndexByte(inner, '>')
		if _, behind, err := mail.ParsePath(value); err == nil { // a parameter may have brackets, too
			at = len(inner) - len(behind) - 1
		}
		if at >= 0 {
			path, rest, named = inner[:at], inner[at+1:], true
		}
	} else if first, behind, _ := strings.Cut(value, " "); strings.Contains(first, "@") && !isParameter(first) {
		path, rest, named = first, behind, true
	}
	parameters = make(map[string]string)
	for _, p := range strings.Fields(rest) {
		key, value, _ := strings.Cut(p, "=")
		parameters[strings.ToUpper(key)] = value
	}
	return path, parameters, named
}
