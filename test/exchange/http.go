package exchange

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// context is a session context, MS-OXCMAPIHTTP §3.2.1.
type context struct {
	mailbox  *Mailbox // of the user
	book     bool     // it is one of the address book
	sequence int
	objects  map[uint32]object
	handles  uint32
	// notifications wait for the next Execute, and bell is closed when one comes; nil: nobody listens.
	notifications [][]byte
	bell          chan struct{}
}

// Values of X-ResponseCode, MS-OXCMAPIHTTP §2.2.3.3.3.
const (
	succeeded       = 0
	invalidVerb     = 2
	invalidPath     = 3
	invalidType     = 5
	missingHeader   = 7
	contextNotFound = 10
	noPrivilege     = 11
	invalidBody     = 12
	missingCookie   = 13
	invalidSequence = 15
)

// Names of the cookies of a session context. Clients make nothing of them.
const (
	contextCookie  = "MapiContext"
	sequenceCookie = "MapiSequence"
)

// bodyMost is the largest request, MS-OXCRPC §3.1.4.2.
const bodyMost = 256 << 10

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMost))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	user := s.login(w, r)
	switch {
	case s.withoutMAPI && strings.HasPrefix(r.URL.Path, "/mapi/"):
		http.NotFound(w, r)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case user == nil:
		s.calls = append(s.calls, "401")
		w.WriteHeader(http.StatusUnauthorized)
	case r.Header.Get("X-RequestType") == "NotificationWait":
		s.calls = append(s.calls, "NotificationWait")
		s.await(w, r, user, body)
	default:
		s.executed = nil
		code, reply := s.answer(w, r, user, body)
		s.calls = append(s.calls, strings.TrimSpace(fmt.Sprintf("%s % x", r.Header.Get("X-RequestType"), s.executed)))
		if s.cut {
			stall := s.stall
			s.cut, s.stall = false, false
			if stall {
				s.mu.Unlock()
				<-r.Context().Done()
				s.mu.Lock()
			}
			panic(http.ErrAbortHandler) // ends the connection
		}
		s.write(w, r, code, reply)
	}
}

// write writes a response, MS-OXCMAPIHTTP §2.2.2.2.
func (s *Server) write(w http.ResponseWriter, r *http.Request, code int, reply []byte) {
	for _, name := range []string{"X-RequestType", "X-RequestId", "X-ClientInfo"} {
		w.Header().Set(name, r.Header.Get(name))
	}
	w.Header().Set("X-ResponseCode", fmt.Sprint(code))
	if code != succeeded {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<html>code %d</html>", code)
		return
	}
	w.Header().Set("Content-Type", "application/mapi-http")
	_, _ = io.WriteString(w, "PROCESSING\r\nDONE\r\nX-ElapsedTime: 0\r\nX-StartTime: Sun, 22 Nov 2026 22:08:49 GMT\r\n\r\n")
	_, _ = w.Write(reply)
}

// answer does what a request asks for. MS-OXCMAPIHTTP §3.2.5.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, user *Mailbox, body []byte) (int, []byte) {
	switch {
	case r.Method != http.MethodPost:
		s.wrong("use the method %s", r.Method)
		return invalidVerb, nil
	case r.URL.Path != "/mapi/emsmdb/" && r.URL.Path != bookPath || r.URL.Query().Get("MailboxId") == "":
		s.wrong("ask for %s", r.URL)
		return invalidPath, nil
	}
	for _, name := range []string{"X-RequestType", "X-RequestId", "X-ClientInfo", "X-ClientApplication", "Content-Type"} {
		if r.Header.Get(name) == "" {
			s.wrong("leave out %s", name)
			return missingHeader, nil
		}
	}
	if s.busy > 0 {
		s.busy--
		return succeeded, words(tooBusy, 0)
	}
	kind, book := r.Header.Get("X-RequestType"), r.URL.Path == bookPath
	switch {
	case kind == "Connect" && !book:
		return s.connect(w, user, body)
	case kind == "Bind" && book:
		return s.bind(w, user, body)
	}
	c, code := s.context(r, user)
	if code != succeeded {
		return code, nil
	}
	c.sequence++
	http.SetCookie(w, &http.Cookie{Name: sequenceCookie, Value: fmt.Sprint(c.sequence), Path: r.URL.Path})
	if book {
		return s.dispatchBook(kind, r, body)
	}
	return s.dispatch(kind, c, r, body)
}

func (s *Server) dispatch(kind string, c *context, r *http.Request, body []byte) (int, []byte) {
	switch kind {
	case "PING":
		if len(body) > 0 {
			s.wrong("send a PING with a body")
			return invalidBody, nil
		}
		return succeeded, nil
	case "Execute":
		return s.execute(c, body)
	case "Disconnect":
		if len(body) != 4 {
			s.wrong("send a Disconnect of %d octets", len(body))
			return invalidBody, nil
		}
		cookie, _ := r.Cookie(contextCookie)
		delete(s.contexts, cookie.Value)
		return succeeded, words(0, 0, 0)
	}
	s.wrong("send a %s", kind)
	return invalidType, nil
}

// context finds the session context of a request, whose cookies must be those that were given last.
func (s *Server) context(r *http.Request, user *Mailbox) (*context, int) {
	id, err := r.Cookie(contextCookie)
	sequence, also := r.Cookie(sequenceCookie)
	if err != nil || also != nil {
		s.wrong("leave out a cookie")
		return nil, missingCookie
	}
	c := s.contexts[id.Value]
	switch {
	case c == nil:
		return nil, contextNotFound // it may have been forgotten
	case c.mailbox != user || c.book != (r.URL.Path == bookPath):
		s.wrong("use somebody else's session context")
		return nil, noPrivilege
	case sequence.Value != fmt.Sprint(c.sequence):
		s.wrong("send the sequence %s where it is %d", sequence.Value, c.sequence)
		return nil, invalidSequence
	}
	return c, succeeded
}

// connect makes a session context, MS-OXCMAPIHTTP §2.2.4.1.
func (s *Server) connect(w http.ResponseWriter, user *Mailbox, body []byte) (int, []byte) {
	dn, rest, found := strings.Cut(string(body), "\x00")
	if !found || len(rest) != 5*4 {
		s.wrong("send a Connect of %d octets", len(body))
		return invalidBody, nil
	}
	if dn != user.DN {
		return succeeded, append(words(0, accessDenied, 0, 0, 0), make([]byte, 1+2+4)...)
	}
	s.connects++
	s.give(w, &context{mailbox: user, objects: map[uint32]object{}}, "/mapi/emsmdb")
	reply := words(0, 0, 60_000, 6, 10_000)
	reply = append(reply, "/o=Sakes\x00"...)
	reply = append(reply, wide(user.User)...)
	if s.single {
		return succeeded, append(reply, words(0)...)
	}
	// AUX_SERVER_CAPABILITIES: PACKED_FAST_TRANSFER_UPLOAD_BUFFERS, MS-OXCRPC §2.2.2.2.19.
	return succeeded, append(append(reply, words(16)...), "\x00\x00\x04\x00\x08\x00\x08\x00\x08\x00\x01\x46\x01\x00\x00\x00"...)
}

// give gives a new session context to a client.
func (s *Server) give(w http.ResponseWriter, c *context, path string) {
	s.given++
	id := fmt.Sprintf("context-%d", s.given)
	s.contexts[id] = c
	http.SetCookie(w, &http.Cookie{Name: contextCookie, Value: id, Path: path, HttpOnly: true, Secure: true})
	http.SetCookie(w, &http.Cookie{Name: sequenceCookie, Value: "0", Path: path})
}

// words are integers of 32 bits.
func words(all ...uint32) []byte {
	var octets []byte
	for _, one := range all {
		octets = binary.LittleEndian.AppendUint32(octets, one)
	}
	return octets
}

// wide is an ASCII text as UTF-16LE with a NUL at its end.
func wide(text string) []byte {
	var octets []byte
	for _, r := range text + "\x00" {
		octets = binary.LittleEndian.AppendUint16(octets, uint16(r))
	}
	return octets
}
