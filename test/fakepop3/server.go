// Package fakepop3 is a POP3 server for tests, on a socket of loopback, with the habits and faults that its fields give it. What it
// holds outlives sessions, and it counts what is asked.
package fakepop3

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Server is the server. Its fields are set before Start.
type Server struct {
	// NoUIDL, NoTOP and NoCAPA take commands away. Numbered gives the messages of each session the unique-ids 1, 2, 3. SameUID gives
	// all messages one. Placed gives them unique-ids by their places: another message's, once one before it is gone.
	NoUIDL, NoTOP, NoCAPA, Numbered, SameUID, Placed bool
	// Keeps: it confirms that messages are removed, and has them still.
	Keeps bool
	// Size is what LIST says of a message; nil: the truth.
	Size func(text string) int64
	// Reply is asked before each command is carried out: an answer in its place, which may be [Close], [Silent], or empty.
	Reply func(session int, command string) string
	// After is asked after a command was carried out, and before its answer is sent: [Close], [Silent], or empty.
	After func(session int, command string) string
	// Content changes what RETR sends of a message, stuffed and with its terminator; nil: nothing is changed.
	Content func(session int, stuffed string) string

	Address string // host:port, once it was started

	mu       sync.Mutex
	prefix   string
	next     int
	messages []message
	sessions int
	retrieved,
	removed int
	commands []string
	open     map[net.Conn]bool
	closed   bool
	work     sync.WaitGroup
	listener net.Listener
}

// What Reply, After may return in place of an answer.
const (
	Close  = "close"  // ends the connection without a word
	Silent = "silent" // says nothing until the client goes
)

type message struct{ uid, text string }

// Start listens until the test ends.
func (s *Server) Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.Address, s.prefix, s.open = l, l.Addr().String(), "u", make(map[net.Conn]bool)
	s.work.Go(s.accept)
	t.Cleanup(s.Stop)
	return s
}

// Stop ends it, and all connections.
func (s *Server) Stop() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close() // it may have ended
	}
	s.mu.Unlock()
	_ = s.listener.Close() // the same
	s.work.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			_ = conn.Close()
			s.mu.Unlock()
			return
		}
		s.open[conn] = true
		s.sessions++
		number := s.sessions
		s.mu.Unlock()
		s.work.Go(func() {
			(&session{Server: s, number: number, conn: conn, in: bufio.NewReader(conn), marked: make(map[string]bool)}).serve()
			_ = conn.Close()
			s.mu.Lock()
			delete(s.open, conn)
			s.mu.Unlock()
		})
	}
}

// Put adds messages, whose lines end with CRLF.
func (s *Server) Put(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		s.next++
		s.messages = append(s.messages, message{strconv.Itoa(s.next), text})
	}
}

// Left are the messages that are there.
func (s *Server) Left() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		texts = append(texts, m.text)
	}
	return texts
}

// Take takes messages away, as somebody else does.
func (s *Server) Take(which func(text string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m message) bool { return which(m.text) })
}

// Renumber gives all messages other unique-ids.
func (s *Server) Renumber() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefix += "x"
}

// Sessions is how many there were, Retrieved how many messages were read, and Removed how many are gone.
func (s *Server) Sessions() int  { s.mu.Lock(); defer s.mu.Unlock(); return s.sessions }
func (s *Server) Retrieved() int { s.mu.Lock(); defer s.mu.Unlock(); return s.retrieved }
func (s *Server) Removed() int   { s.mu.Lock(); defer s.mu.Unlock(); return s.removed }

// Count is how often a command was given.
func (s *Server) Count(verb string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if strings.HasPrefix(c+" ", verb+" ") {
			n++
		}
	}
	return n
}

// session is one connection.
type session struct {
	*Server
	number int
	conn   net.Conn
	in     *bufio.Reader
	list   []message
	marked map[string]bool // by the server's own number
}

func (s *session) say(text string) bool {
	_, err := io.WriteString(s.conn, text)
	return err == nil
}

func (s *session) serve() {
	if !s.say("+OK ready\r\n") {
		return
	}
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return
		}
		command := strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.commands = append(s.commands, command)
		s.mu.Unlock()
		answer := ""
		if s.Reply != nil {
			answer = s.Reply(s.number, command)
		}
		if answer == "" {
			answer = s.carryOut(command)
			if s.After != nil {
				if instead := s.After(s.number, command); instead != "" {
					answer = instead
				}
			}
		}
		switch answer {
		case Close:
			return
		case Silent:
			_, _ = io.Copy(io.Discard, s.in)
			return
		}
		if !s.say(answer) || command == "QUIT" {
			return
		}
	}
}

// carryOut does a command, and gives the answer.
func (s *session) carryOut(command string) string {
	verb, argument, _ := strings.Cut(command, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case verb == "CAPA" && !s.NoCAPA:
		return "+OK\r\nUSER\r\nUIDL\r\nTOP\r\n.\r\n"
	case verb == "USER":
		return "+OK\r\n"
	case verb == "PASS":
		s.list = slices.Clone(s.messages)
		return "+OK\r\n"
	case verb == "LIST":
		return s.each(func(_ int, m message) string {
			if s.Size != nil {
				return fmt.Sprint(s.Size(m.text))
			}
			return fmt.Sprint(len(m.text))
		})
	case verb == "UIDL" && !s.NoUIDL:
		return s.each(func(i int, m message) string {
			switch {
			case s.Numbered:
				return strconv.Itoa(i + 1)
			case s.Placed:
				return fmt.Sprint("place-", i)
			case s.SameUID:
				return "same"
			}
			return s.prefix + m.uid
		})
	case verb == "QUIT":
		for uid := range s.marked {
			if s.Keeps {
				break
			}
			s.messages = slices.DeleteFunc(s.messages, func(m message) bool { return m.uid == uid })
			s.removed++
		}
		return "+OK bye\r\n"
	case verb == "RETR", verb == "TOP" && !s.NoTOP, verb == "DELE":
		word, _, _ := strings.Cut(argument, " ")
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > len(s.list) || s.marked[s.list[n-1].uid] {
			return "-ERR no such message\r\n"
		}
		return s.one(verb, s.list[n-1])
	}
	return "-ERR unknown\r\n"
}

func (s *session) each(f func(i int, m message) string) string {
	var b strings.Builder
	b.WriteString("+OK\r\n")
	for i, m := range s.list {
		fmt.Fprintf(&b, "%d %s\r\n", i+1, f(i, m))
	}
	return b.String() + ".\r\n"
}

func (s *session) one(verb string, m message) string {
	if verb != "DELE" && !slices.ContainsFunc(s.messages, func(o message) bool { return o.uid == m.uid }) {
		return "-ERR it is gone\r\n"
	}
	switch verb {
	case "DELE":
		s.marked[m.uid] = true
		return "+OK\r\n"
	case "TOP":
		header, _, _ := strings.Cut(m.text, "\r\n\r\n")
		return "+OK\r\n" + stuffed(header+"\r\n\r\n")
	}
	s.retrieved++
	text := stuffed(m.text)
	if s.Content != nil {
		text = s.Content(s.number, text)
	}
	return "+OK\r\n" + text
}

func stuffed(text string) string {
	text = strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
	return text + ".\r\n"
}
