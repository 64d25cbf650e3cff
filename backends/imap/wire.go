package imap

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// client is the library's, and what the server said that the library does not tell.
type client struct {
	*imapclient.Client
	wire *wire
	caps imap.CapSet // once logged in: the library forgets them with the connection
}

// wire is the connection below the library, TLS taken off. The library is strict, and one odd value
// in one answer ends its connection; so what it reads is mended first: see mend for single lines, and
// fetchResponse for the answers about messages. It also notes what the library drops: the reason for
// a BYE (RFC 9051 §7.1.5), where a referral leads to (RFC 2221), and a UIDVALIDITY that is told
// outside of SELECT.
type wire struct {
	net.Conn
	first []byte // what is read before anything of the connection

	buffer  []byte       // for reading from the connection
	out     bytes.Buffer // mended, for the library
	failed  error        // what reading from the connection failed with, told once out is read
	listing atomic.Int32 // see the constants

	line      []byte // the response line that is being read, without its literals
	cut       bool   // and not the whole of it
	rest      fate   // of what is still to come of the response
	literal   int64  // octets of a literal that are still to come
	literalTo fate
	fetch     *fetchResponse // the response that is being read, if it is one
	list      []byte         // a LIST response with literals, so far: these are quoted strings in it

	mu       sync.Mutex
	patience patience
	bye      *imap.Error
	referral string
	told     bool   // what the server can do was told with a tagged answer
	alert    string // the last text for the user (RFC 9051 §7.1) that came without a tag
	validity uint32
	cause    error // why the connection ended, the first of what was noticed
}

// What is under way: nothing that needs answers about messages as such, the list, or the list with a
// header field of each message. Without contents everything is tolerated; where there are contents,
// what is no response may be content whose length was told wrong, and ends the connection.
const (
	notListing int32 = iota
	listingContent
	listingOnly
)

// fate is what becomes of octets.
type fate uint8

const (
	undecided fate = iota
	passed         // to the library, as they are
	kept           // until the response is complete
	quotedIn       // a string of the LIST response
	dropped
)

// lineMost is the longest line that is looked at as a whole. Of a longer one its beginning is kept,
// and its end, where a literal is announced.
const (
	lineMost = 64 << 10
	lineHead = 1024
	lineTail = 64
)

func (w *wire) Read(p []byte) (int, error) {
	if len(w.first) > 0 {
		n := copy(p, w.first)
		w.first = w.first[n:]
		return n, nil
	}
	for {
		if w.out.Len() > 0 {
			return w.out.Read(p)
		}
		if w.failed != nil {
			return 0, w.failed
		}
		if w.literal > 0 && w.literalTo == passed {
			w.wait()
			n, err := w.Conn.Read(p[:min(int64(len(p)), w.literal)])
			w.literal -= int64(n)
			w.end(err)
			return n, err
		}
		if w.buffer == nil {
			w.buffer = make([]byte, 16<<10)
		}
		w.wait()
		n, err := w.Conn.Read(w.buffer)
		w.follow(w.buffer[:n])
		if err != nil {
			w.end(err)
			w.failed = err
		}
	}
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.end(err)
	return n, err
}

// end notes why the connection ends, if it is the first reason. That somebody has closed it is none.
func (w *wire) end(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		w.cause = err
	}
}

// follow parts lines from literals (RFC 9051 §4.3) in what has come.
func (w *wire) follow(octets []byte) {
	for len(octets) > 0 && w.failed == nil {
		if w.literal > 0 {
			n := min(w.literal, int64(len(octets)))
			w.literal -= n
			switch w.literalTo {
			case passed:
				w.out.Write(octets[:n])
			case kept:
				w.fetch.keep(octets[:n])
			case quotedIn:
				w.list = append(w.list, escapes.Replace(string(octets[:n]))...)
			}
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
			w.shorten()
		}
		if n := len(w.line); n > 0 && w.line[n-1] == '\n' {
			w.endOfLine()
		}
	}
}

// shorten bounds what is kept of a long line. A SEARCH of a large mailbox is one, and goes on to the
// library as it comes.
func (w *wire) shorten() {
	if w.rest == undecided && w.fetch == nil && !w.cut && isSearch.Match(w.line[:lineHead]) {
		w.rest = passed
	}
	if w.rest == passed {
		if n := len(w.line); w.line[n-1] == '\n' {
			w.rest = undecided
		}
		w.out.Write(w.line)
		w.line = w.line[:0]
		return
	}
	w.line, w.cut = append(w.line[:lineHead], w.line[len(w.line)-lineTail:]...), true
}

var isSearch = lazyregexp.New(`^(?i)\* +E?SEARCH `)

var literalAtEnd = lazyregexp.New(`~?\{(\d{1,18})\+?\}\r?\n$`)

// endOfLine decides about a line, whole or up to a literal.
func (w *wire) endOfLine() {
	line, literal, announced := w.line, int64(0), false
	if found := literalAtEnd.FindSubmatchIndex(line); found != nil {
		literal, _ = strconv.ParseInt(string(line[found[2]:found[3]]), 10, 64)
		announced = true
		if w.fetch != nil || w.rest == quotedIn || w.rest == undecided && (isFetch.Match(line) || isList.Match(line)) {
			line = line[:found[0]]
		}
	}
	if w.cut {
		line = line[:min(lineHead, len(line))]
	}
	switch {
	case w.fetch != nil:
		w.fetchLine(string(line), literal, announced)
	case w.rest == undecided:
		w.begin(line, literal, announced)
	case w.rest == quotedIn:
		w.listLine(line, literal, announced)
	default:
		if w.rest == passed {
			w.out.Write(line)
		}
		w.goOn(literal, announced)
	}
	w.line, w.cut = w.line[:0], false
}

// goOn has a literal go the way of its response, or ends that.
func (w *wire) goOn(literal int64, announced bool) {
	w.literal, w.literalTo = literal, w.rest
	if !announced {
		w.rest = undecided
	}
}

// begin decides about the first line of a response.
func (w *wire) begin(line []byte, literal int64, announced bool) {
	if found := isFetch.FindSubmatch(line); found != nil {
		w.fetch = newFetch(string(found[1]))
		w.fetchLine(string(found[2]), literal, announced)
		return
	}
	if announced && isList.Match(line) {
		w.listLine(line, literal, announced)
		return
	}
	// QUIRK: a CR within a line, which no text has (RFC 9051 §9, TEXT-CHAR), is a blank.
	text := strings.ReplaceAll(strings.TrimRight(string(line), "\r\n"), "\r", " ")
	if w.note(text) || !announced { // a status response has no literals (RFC 9051 §9, resp-text)
		w.out.WriteString(mend(text, w.listing.Load() == listingOnly))
		return
	}
	w.rest = dropped
	w.goOn(literal, announced)
}

// listMost is the longest LIST response with literals that is read; the mailbox of a longer one is
// left out. No mailbox has a name that comes near it.
const listMost = 8 << 10

// listLine takes the next text of a LIST response whose strings come as literals, up to its end or to
// the next literal, which becomes a quoted string: then the whole is mended like one line.
func (w *wire) listLine(line []byte, literal int64, announced bool) {
	if w.rest == quotedIn {
		w.list = append(w.list, '"')
	}
	w.list = append(w.list, bytes.TrimRight(line, "\r\n")...)
	if w.rest = quotedIn; w.cut || int64(len(w.list))+literal > listMost {
		w.list, w.rest = nil, dropped
	} else if announced {
		w.list = append(w.list, '"')
	} else {
		w.out.WriteString(mend(string(w.list), true))
		w.list = nil
	}
	w.goOn(literal, announced)
}

// status is a status response: "* OK [CODE argument] text", tagged or not (RFC 9051 §7.1).
var status = lazyregexp.New(`^(\S+) +(?i:(OK|NO|BAD|BYE|PREAUTH))(?: +\[([^\] ]+)(?: +([^\]]*))?\])?(?: +(.*)| *)$`)

// note says whether a line is a status response, and keeps what is to be known of it.
func (w *wire) note(line string) bool {
	found := status.FindStringSubmatch(line)
	if found == nil {
		return false
	}
	kind, code, argument := strings.ToUpper(found[2]), strings.ToUpper(found[3]), found[4]
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case code == "REFERRAL":
		w.referral = argument
	case code == "CAPABILITY" && found[1] != "*":
		w.told = true
	case found[1] == "*" && isAlert(imap.ResponseCode(code)):
		w.alert = found[5]
	case code == "UIDVALIDITY":
		if v, err := strconv.ParseUint(argument, 10, 32); err == nil {
			w.validity = uint32(v)
		}
	}
	if kind == "BYE" {
		w.bye = &imap.Error{Type: imap.StatusResponseTypeBye, Code: imap.ResponseCode(code), Text: found[5]}
	}
	return true
}

// takeAlert is what the server has said for the user, once.
func (w *wire) takeAlert() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.alert
	w.alert = ""
	return text
}

// toldCapabilities says whether the answer to the login has told what the server can do.
func (w *wire) toldCapabilities() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told
}

// uidValidity is the one that the server told last; 0: none so far.
func (w *wire) uidValidity() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.validity
}

// end closes the connection, and says why to whoever meets it closed.
func (c *client) end(why error) {
	c.wire.end(why)
	_ = c.Close()
}

// cause is why the connection has ended; nil: it has not, or nobody knows.
func (c *client) cause() error {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.wire.bye != nil {
		return c.wire.bye
	}
	return c.wire.cause
}

// forgetUIDValidity is for another mailbox, of which the server may tell none.
func (w *wire) forgetUIDValidity() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.validity = 0
}

// explain puts what the server said into an error that the library made of it, and why the connection
// ended into one that is about that it has.
func (c *client) explain(err error) error {
	if err == nil {
		return nil
	}
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	var said *imap.Error
	switch cause := c.wire.cause; {
	case errors.As(err, &said):
	case c.wire.bye != nil:
		err = fmt.Errorf("%w (%v)", c.wire.bye, err)
		said = c.wire.bye
	case cause == nil && !errors.Is(err, net.ErrClosed):
		c.wire.cause = err // what the library complains of ends the connection
	case cause != nil && !errors.Is(err, cause):
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	if said != nil && said.Code == "REFERRAL" && c.wire.referral != "" {
		err = fmt.Errorf("%w; it refers to %s", err, c.wire.referral)
	}
	return err
}
