package pickup

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends"
	mail "github.com/dipylon/dipylon/backends/mail/address"
)

// endField ends what Exchange's transport puts in front of a message. Its value says nothing that is needed.
const endField = "X-EndOfInjectedXHeaders"

// Bounds of an injected envelope. Beside each recipient Exchange writes its own properties of it, some 1 KiB of them.
const (
	injectedMost     = 32 << 20
	injectedReceiver = 10_000 // as many as the contract lets through
	injectedField    = 4 << 10
)

// ErrUnfinished says that a file ends before its envelope does: it is still being written, or was cut off.
var ErrUnfinished = errors.New("the file ends before " + endField)

// ReadInjected reads the envelope of a file of Exchange's transport, and says where the message begins. The envelope is a block of X- fields that ends
// with X-EndOfInjectedXHeaders: one X-Sender, X-Receiver for each recipient, and others, such as X-CreatedBy, X-HeloDomain, X-ExtendedProps and
// X-SourceIPAddress, that do not matter here. What stands behind that is the message, whatever fields it has: of an author's X-Receiver nothing comes.
//
// The error says what is wrong, as nobody is to get what was not meant for them: [ErrUnfinished], an address that is none, no recipient, two senders, a
// NOTIFY or RET that is none (RFC 3461), or one of reading.
func ReadInjected(r io.Reader) (e Envelope, size int64, err error) {
	b := &injected{lines: bufio.NewReaderSize(io.LimitReader(r, injectedMost), injectedField)}
	for {
		name, value, err := b.field()
		if err != nil {
			return e, b.size, err
		}
		switch {
		case strings.EqualFold(name, endField):
			return e, b.size, e.complete()
		case strings.EqualFold(name, senderField), strings.EqualFold(name, receiverField):
			if err := e.readStrictly(name, value); err != nil {
				return e, b.size, err
			}
		case len(name) < 2 || !strings.EqualFold(name[:2], "X-"):
			return e, b.size, fmt.Errorf("the message begins before %s", endField)
		}
	}
}

// injected is an envelope that is being read.
type injected struct {
	lines *bufio.Reader
	size  int64
}

// field reads a field, unfolded. Of one that is not of the envelope no more than its beginning is kept.
func (b *injected) field() (name, value string, err error) {
	line, whole, err := b.line()
	if err != nil {
		return "", "", err
	}
	name, value, found := strings.Cut(line, ":")
	if !found || name == "" || strings.ContainsAny(name, " \t") {
		return "", "", fmt.Errorf("there is a line that is no field before %s", endField)
	}
	ours := strings.EqualFold(name, senderField) || strings.EqualFold(name, receiverField)
	for !strings.EqualFold(name, endField) { // behind that a message may begin with anything
		next, err := b.lines.Peek(1)
		if err != nil || next[0] != ' ' && next[0] != '\t' {
			break // what has failed fails again
		}
		more, wholeToo, err := b.line()
		if err != nil {
			return "", "", err
		}
		if ours {
			value, whole = value+more, whole && wholeToo && len(value)+len(more) <= injectedField
		}
	}
	if ours && !whole {
		return "", "", fmt.Errorf("%s has more than %d octets", name, injectedField)
	}
	return name, strings.TrimSpace(value), nil
}

// line reads a line without its end; not whole: it is the beginning of a longer one, the rest of which was passed over.
func (b *injected) line() (line string, whole bool, err error) {
	octets, err := b.lines.ReadSlice('\n')
	line, whole = strings.TrimRight(string(octets), "\r\n"), true
	b.size += int64(len(octets))
	for errors.Is(err, bufio.ErrBufferFull) {
		octets, err = b.lines.ReadSlice('\n')
		whole = false
		b.size += int64(len(octets))
	}
	switch {
	case errors.Is(err, io.EOF) && b.size >= injectedMost:
		err = fmt.Errorf("there is no %s within %d octets", endField, injectedMost)
	case errors.Is(err, io.EOF):
		err = ErrUnfinished
	}
	return line, whole, err
}

// readStrictly takes a field that must be right.
func (e *Envelope) readStrictly(name, value string) error {
	path, parameters, named := pathOf(value)
	sender := strings.EqualFold(name, senderField)
	null := sender && named && path == ""
	if _, err := mail.Parse(path); err != nil && !null {
		return fmt.Errorf("%s: %q is no address", name, backends.SafeText(cmp.Or(path, value)))
	}
	if text, given := parameters["NOTIFY"]; given && !sender {
		if _, ok := ParseNotify(text); !ok {
			return fmt.Errorf("%s: NOTIFY=%s is none of RFC 3461", name, backends.SafeText(text))
		}
	}
	if text, given := parameters["RET"]; given && sender {
		if _, ok := ParseReturn(text); !ok {
			return fmt.Errorf("%s: RET=%s is none of RFC 3461", name, backends.SafeText(text))
		}
	}
	switch {
	case sender && e.Sender != nil:
		return fmt.Errorf("there are two %s", senderField)
	case !sender && len(e.Recipients) == injectedReceiver:
		return fmt.Errorf("there are more than %d %s", injectedReceiver, receiverField)
	}
	e.read(name, value)
	return nil
}

// complete says what an envelope lacks.
func (e *Envelope) complete() error {
	switch {
	case e.Sender == nil:
		return fmt.Errorf("there is no %s", senderField)
	case len(e.Recipients) == 0:
		return fmt.Errorf("there is no %s", receiverField)
	}
	return nil
}
