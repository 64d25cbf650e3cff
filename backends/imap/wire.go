package imap

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// client is the library's, and what the server said that the library does not tell.
type client struct {
	*imapclient.Client
	wire *wire
	caps imap.CapSet // once logged in: the library forgets them with the connection
}

// wire is the connection below the library, TLS taken off. It reads along and notes what the
// library drops: the reason for a BYE (RFC 9051 §7.1.5), where a referral leads to (RFC 2221),
// and a UIDVALIDITY that is told outside of SELECT.
type wire struct {
	net.Conn
	first []byte // what is read before anything of the connection

	line    []byte // the response line that is being read, without its literals
	cut     bool   // and not the whole of it
	literal int64  // octets of a literal that are still to come

	mu       sync.Mutex
	bye      *imap.Error
	referral string
	validity uint32
}

// Of a long line its beginning is enough, and its end, where a literal is announced.
const (
	lineMost = 1024
	lineHead = 512
	lineTail = 64
)

func (w *wire) Read(p []byte) (int, error) {
	if len(w.first) > 0 {
		n := copy(p, w.first)
		w.first = w.first[n:]
		return n, nil
	}
	n, err := w.Conn.Read(p)
	w.follow(p[:n])
	return n, err
}

// follow parts lines from literals (RFC 9051 §4.3) in what has come.
func (w *wire) follow(octets []byte) {
	for len(octets) > 0 {
		if w.literal > 0 {
			n := min(w.literal, int64(len(octets)))
			w.literal -= n
			octets = octets[n:]
			continue
		}
		end := bytes.IndexByte(octets, '\n') + 1
		if end == 0 {
			end = len(octets)
		}
		w.line = append(w.line, octets[:end]...)
		octets = octets[end:]
		if len(w.line) > lineMost {
			w.line, w.cut = append(w.line[:lineHead], w.line[len(w.line)-lineTail:]...), true
		}
		if w.line[len(w.line)-1] == '\n' {
			w.endOfLine()
		}
	}
}

var literalAtEnd = regexp.MustCompile(`\{(\d{1,18})\+?\}\r?\n$`)

func (w *wire) endOfLine() {
	if found := literalAtEnd.FindSubmatch(w.line); found != nil {
		w.literal, _ = strconv.ParseInt(string(found[1]), 10, 64)
		return
	}
	if w.cut {
		w.line = w.line[:lineHead]
	}
	w.note(strings.TrimRight(string(w.line), "\r\n"))
	w.line, w.cut = w.line[:0], false
}

// status is a status response: "* OK [CODE argument] text", tagged or not (RFC 9051 §7.1).
var status = regexp.MustCompile(`^(\S+) (?i:(OK|NO|BAD|BYE|PREAUTH))(?: \[([^\] ]+)(?: ([^\]]*))?\])?(?: (.*))?$`)

func (w *wire) note(line string) {
	found := status.FindStringSubmatch(line)
	if found == nil {
		return
	}
	kind, code, argument := strings.ToUpper(found[2]), strings.ToUpper(found[3]), found[4]
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case code == "REFERRAL":
		w.referral = argument
	case code == "UIDVALIDITY":
		if v, err := strconv.ParseUint(argument, 10, 32); err == nil {
			w.validity = uint32(v)
		}
	}
	if kind == "BYE" {
		w.bye = &imap.Error{Type: imap.StatusResponseTypeBye, Code: imap.ResponseCode(code), Text: found[5]}
	}
}

// uidValidity is the one that the server told last; 0: none so far.
func (w *wire) uidValidity() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.validity
}

// explain puts what the server said into an error that the library made of it.
func (c *client) explain(err error) error {
	if err == nil {
		return nil
	}
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	var said *imap.Error
	if !errors.As(err, &said) && c.wire.bye != nil {
		err = fmt.Errorf("%w (%v)", c.wire.bye, err)
		said = c.wire.bye
	}
	if said != nil && said.Code == "REFERRAL" && c.wire.referral != "" {
		err = fmt.Errorf("%w; it refers to %s", err, c.wire.referral)
	}
	return err
}
