// Package fakesmtp is an SMTP or LMTP server for tests, on a socket of loopback, with the limits and
// habits that its fields give it.
package fakesmtp

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a function may return in the place of a reply.
const (
	// Close ends the connection without a word. To the content: the message is taken, and nobody is told.
	Close = "close"
	// Silent says nothing until the client goes.
	Silent = "silent"
)

// Server is the server. Its fields are set before Start. What a function returns is the reply, whose
// lines end with \n; empty: the one that is hoped for; or [Close], or [Silent]. After 421 the connection ends.
type Server struct {
	LMTP   bool
	Listen string   // host:port; empty: a free port of loopback
	Name   string   // empty: upstream.example
	Offers []string // EHLO keywords

	// TLS makes it offer STARTTLS; StartTLS is the reply to that, empty: 220. Implicit has TLS begin
	// with the first octet.
	TLS      *tls.Config
	StartTLS string
	Implicit bool

	Greet func(session int) string // the greeting; empty: 220
	Auth  func(line string) string // to AUTH, and to each line behind it; empty: 235
	Mail  func(t Transaction) string
	Rcpt  func(t Transaction, path string) string
	Data  func(t Transaction) string
	End   func(t Transaction, path string) string // to the content; SMTP tells the first recipient's

	Address string // host:port, once it was started

	mu       sync.Mutex
	received []Message
	opened   int
	asked    int
	commands []string
}

// Transaction is one under way.
type Transaction struct {
	Session, Number int // from 1; of the session
	Rcpts, Took     int // RCPTs before this one, and those that were taken
	Paths           []string
}

// Message is one that the server has taken.
type Message struct {
	Paths   []string
	Content string
}

// Start starts it, until the test ends.
func (s *Server) Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", cmp.Or(s.Listen, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Address = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.opened++
			session := s.opened
			s.mu.Unlock()
			all.Go(func() { s.serve(conn, session) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return s
}

func (s *Server) serve(conn net.Conn, session int) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if s.Implicit {
		conn = tls.Server(conn, s.TLS)
	}
	in, secured := bufio.NewReader(conn), s.Implicit
	now := Transaction{Session: session}
	name, login := s.Name, false
	if name == "" {
		name = "upstream.example"
	}
	say := func(text string) bool {
		switch text {
		case Silent:
			_, _ = io.Copy(io.Discard, in)
			return false
		case Close:
			return false
		}
		for _, line := range strings.Split(text, "\n") {
			_, _ = io.WriteString(conn, line+"\r\n")
		}
		return !strings.HasPrefix(text, "421") && text != ""
	}
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	greeting := ""
	if s.Greet != nil {
		greeting = s.Greet(session)
	}
	if greeting = or(greeting, "220 "+name); !say(greeting) {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		ok := true
		verb = strings.ToUpper(verb)
		if login {
			verb = "AUTH"
		}
		switch verb {
		case "EHLO", "LHLO":
			say("250-" + name)
			for _, o := range s.Offers {
				say("250-" + o)
			}
			if s.TLS != nil && !secured {
				say("250-STARTTLS")
			}
			ok = say("250 HELP")
		case "STARTTLS":
			reply := or(s.StartTLS, "220 go ahead")
			if ok = say(reply); ok && strings.HasPrefix(reply, "220") {
				conn, secured = tls.Server(conn, s.TLS), true
				in = bufio.NewReader(conn)
			}
		case "AUTH":
			reply := "235 2.7.0 ok"
			if s.Auth != nil {
				reply = or(s.Auth(line), reply)
			}
			login = strings.HasPrefix(reply, "334")
			ok = say(reply)
		case "MAIL":
			now = Transaction{Session: session, Number: now.Number + 1}
			s.mu.Lock()
			s.asked++
			s.mu.Unlock()
			reply := "250 2.1.0 ok"
			if s.Mail != nil {
				reply = or(s.Mail(now), reply)
			}
			ok = say(reply)
		case "RCPT":
			path := rest[strings.Index(rest, "<")+1 : strings.LastIndex(rest, ">")]
			reply := "250 2.1.5 ok"
			if s.Rcpt != nil {
				reply = or(s.Rcpt(now, path), reply)
			}
			now.Rcpts++
			if reply[0] == '2' {
				now.Took++
				now.Paths = append(now.Paths, path)
			}
			ok = say(reply)
		case "DATA":
			reply := "354 go"
			if s.Data != nil {
				reply = or(s.Data(now), reply)
			}
			if ok = say(reply); reply[0] != '3' {
				break
			}
			content, err := dotted(in)
			if err != nil {
				return
			}
			ok = s.took(now, content, say)
		case "BDAT":
			size, _, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(size)
			chunk := make([]byte, n)
			if _, err := io.ReadFull(in, chunk); err != nil {
				return
			}
			ok = s.took(now, string(chunk), say) // the tests' messages fit into one
		case "RSET":
			ok = say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			ok = say("500 what?")
		}
		if !ok {
			return
		}
	}
}

func (s *Server) took(now Transaction, content string, say func(string) bool) bool {
	m := Message{Content: content}
	var replies []string
	for i, path := range now.Paths {
		reply := ""
		if s.End != nil {
			reply = s.End(now, path)
		}
		if reply == "" || reply == Close {
			m.Paths = append(m.Paths, path)
		}
		if reply == "" {
			reply = "250 2.0.0 stored"
		}
		if i == 0 || s.LMTP {
			replies = append(replies, reply)
		}
	}
	if len(m.Paths) > 0 {
		s.mu.Lock()
		s.received = append(s.received, m)
		s.mu.Unlock()
	}
	return say(strings.Join(replies, "\n"))
}

// dotted reads content as RFC 5321 §4.5.2 says.
func dotted(in *bufio.Reader) (string, error) {
	var content strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return content.String(), err
		}
		content.WriteString(strings.TrimPrefix(line, "."))
	}
}

// Copies says how many messages of which content each recipient has: "a@s 1".
func (s *Server) Copies(content string) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := make(map[string]int)
	for _, m := range s.received {
		for _, path := range m.Paths {
			if m.Content == content {
				n[path]++
			} else {
				n[path] += 1000
			}
		}
	}
	return n
}

// Received are the messages that were taken.
func (s *Server) Received() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// Forget forgets what was received.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = nil
}

// Commands are the lines that came, without content.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Transactions says how many have begun.
func (s *Server) Transactions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Connections says how many were opened.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}
