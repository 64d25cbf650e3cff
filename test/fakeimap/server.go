package fakeimap

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Caps are the capabilities of a server whose test names none.
const Caps = "IMAP4rev1 SASL-IR LITERAL- UIDPLUS MOVE UNSELECT SPECIAL-USE AUTH=PLAIN"

// Server is the server. Fields are set before Start; afterwards the methods change it.
type Server struct {
	Greeting string // without CRLF; empty: "* OK ready"
	Caps     string // empty: Caps
	Validity string // UIDVALIDITY as SELECT tells it; empty: 7; "-": it tells none
	Messages []Message
	// On are tried in their order, before what the server does otherwise.
	On []Rule

	Whole      string // what a partial FETCH gets is the whole message: "BODY[]" or "BODY[]<0>", as it is called; empty: not so
	PartMost   int    // how many octets a partial FETCH gets at the most; 0: what was asked for
	PastEnd    string // what a part gets that begins at the message's end or behind it, see Message.Body; empty: an empty literal; NO or BAD: that refusal
	SizeOff    int64  // added to each RFC822.SIZE
	LiteralOff int    // added to the length that is announced for each literal, whose octets stay the same
	Continue   string // what a literal is asked for with, or, where it begins with TAG, refused; empty: "+ go on"
	UIDLast    bool   // UID is the last item of a FETCH response
	GoneIsLast bool   // UID STORE takes a UID behind the last message's for that message's, and UID MOVE too
	// Fetch makes a response of its number, its message and the items that it would have; nil: "* n FETCH (items)".
	Fetch func(n int, m Message, items []string) string

	Address string // host:port, once it was started

	mu       sync.Mutex
	commands []Command
	appended []string
	deleted  map[int]bool
	used     map[int]int // how often a rule has matched
	conns    map[net.Conn]int
	accepted int
	grown    chan struct{}
}

// Message is one message of the mailbox. A field of text that is set replaces what would be told:
// "-" leaves the item out, and anything else is told as it is ("NIL", "-5", `"yesterday"`).
type Message struct {
	UID     int
	Content string
	Flags   string // with its parentheses
	Date    string // INTERNALDATE, with its quotes
	Size    string // RFC822.SIZE
	Body    string // instead of the literal, in every answer with content
	Extra   string // further items, as they are
	Prefix  string // what is sent in front of its FETCH response, with its line ends
}

// Rule is what a command is answered with.
type Rule struct {
	// Command is a regular expression on the command without its tag, whose literals are written as
	// quoted strings. The greeting is the command "GREETING", a further line of a SASL exchange "+".
	Command string
	Conn    int // on the connection of this number alone, counted from 1; 0: on each
	Skip    int // after this many matches
	Times   int // this many times; 0: always

	// Answer is sent instead of what is right. TAG stands for the command's tag, \n for CRLF, and
	// CLOSE at the end for the end of the connection.
	Answer string
	// Make makes the octets that are sent as they are, of the tag, the command, and what is right.
	Make func(tag, command, right string) string
	// Cut ends the connection after so many octets of the answer.
	Cut int
	// Close ends the connection after the answer.
	Close bool
	// Drop ends the connection without an answer.
	Drop bool
	// Hold is waited for before the answer.
	Hold <-chan struct{}

	command *regexp.Regexp
}

// Command is one that came.
type Command struct {
	Conn int // number of the connection, from 1
	Text string
}

// Start starts it, until the test ends.
func Start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.Greeting = or(s.Greeting, "* OK ready")
	s.Caps = or(s.Caps, Caps)
	s.Validity = or(s.Validity, "7")
	s.grown, s.conns = make(chan struct{}), make(map[net.Conn]int)
	s.deleted = make(map[int]bool)
	s.Set(s.On...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			number := s.open(conn)
			all.Go(func() {
				defer s.end(conn)
				s.serve(conn, number)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.DropAll()
		all.Wait()
	})
	return s
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Set replaces the rules.
func (s *Server) Set(rules ...Rule) {
	compiled := make([]Rule, len(rules))
	for i, r := range rules {
		r.command = regexp.MustCompile(r.Command)
		compiled[i] = r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.On, s.used = compiled, make(map[int]int)
}

// Change does something to the server between two commands.
func (s *Server) Change(do func(*Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s)
}

// DropAll ends all connections.
func (s *Server) DropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *Server) open(conn net.Conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	s.conns[conn] = s.accepted
	s.change()
	return s.accepted
}

func (s *Server) end(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	s.change()
}

func (s *Server) serve(conn net.Conn, number int) {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	session := &session{Server: s}
	greeting := func() string { return s.Greeting + "\r\n" }
	if !s.reply(conn, number, "", "GREETING", greeting) || strings.HasPrefix(s.Greeting, "* BYE") {
		return
	}
	in := bufio.NewReader(conn)
	last := ""
	for {
		tag, command, literals, err := s.readCommand(in, conn)
		if err != nil {
			return
		}
		if command == "" { // the next step of a SASL exchange
			tag, command = last, "+"
		}
		last = tag
		s.note(Command{number, command})
		right := func() string { return session.right(tag, command, literals) }
		if !s.reply(conn, number, tag, command, right) || strings.EqualFold(command, "LOGOUT") {
			return
		}
	}
}

// reply sends the answer by rule, or the right one. False: the connection ends. A command that is
// answered by a rule has its effect where that answer says OK.
func (s *Server) reply(conn net.Conn, number int, tag, command string, right func() string) bool {
	rule := s.rule(number, command)
	if rule.Hold != nil {
		select {
		case <-rule.Hold:
		case <-time.After(30 * time.Second):
		}
	}
	var answer string
	switch {
	case rule.Drop:
		return false
	case rule.Make != nil:
		answer = rule.Make(tag, command, right())
	case rule.Answer != "":
		if strings.Contains(rule.Answer, "TAG OK") {
			right()
		}
		rule.Answer, rule.Close = cutSuffix(rule.Answer, rule.Close)
		answer = strings.NewReplacer("TAG", tag, "\r\n", "\r\n", "\n", "\r\n").Replace(rule.Answer)
	default:
		answer = right()
	}
	if rule.Cut > 0 && rule.Cut < len(answer) {
		answer, rule.Close = answer[:rule.Cut], true
	}
	_, err := io.WriteString(conn, answer)
	return err == nil && !rule.Close
}

func cutSuffix(answer string, closes bool) (string, bool) {
	answer, found := strings.CutSuffix(answer, "CLOSE")
	return answer, closes || found
}

func (s *Server) rule(number int, command string) Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.On {
		if r.Conn != 0 && r.Conn != number || !r.command.MatchString(command) {
			continue
		}
		s.used[i]++
		if n := s.used[i]; n > r.Skip && (r.Times == 0 || n <= r.Skip+r.Times) {
			return r
		}
	}
	return Rule{}
}

var literalAtEnd = regexp.MustCompile(`\{(\d+)(\+?)\}$`)

// readCommand reads a command with its literals.
func (s *Server) readCommand(in *bufio.Reader, out io.Writer) (tag, command string, literals []string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", nil, err
		}
		command += strings.TrimRight(line, "\r\n")
		found := literalAtEnd.FindStringSubmatch(command)
		if found == nil {
			break
		}
		if found[2] == "" {
			asked, _, _ := strings.Cut(command, " ")
			_, _ = io.WriteString(out, strings.Replace(or(s.Continue, "+ go on"), "TAG", asked, 1)+"\r\n")
			if strings.HasPrefix(s.Continue, "TAG") {
				command, literals = "", nil
				continue
			}
		}
		n, _ := strconv.Atoi(found[1])
		literal := make([]byte, n)
		if _, err := io.ReadFull(in, literal); err != nil {
			return "", "", nil, err
		}
		literals = append(literals, string(literal))
		command = strings.TrimSuffix(command, found[0]) + fmt.Sprintf("%q", literal)
	}
	tag, command, _ = strings.Cut(command, " ")
	return tag, command, literals, nil
}

func (s *Server) note(c Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, c)
	s.change()
}

func (s *Server) change() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// Commands are all that came so far.
func (s *Server) Commands() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Command(nil), s.commands...)
}

// Heard are the commands so far that begin with a text, without their tags.
func (s *Server) Heard(begin string) []string {
	var all []string
	for _, c := range s.Commands() {
		if strings.HasPrefix(c.Text, begin) {
			all = append(all, c.Text)
		}
	}
	return all
}

// Appended are the contents that came by APPEND and were taken.
func (s *Server) Appended() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.appended...)
}

// Deleted says whether a message has the mark \Deleted, by UID STORE.
func (s *Server) Deleted(uid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleted[uid]
}

// Open is how many connections there are, and Accepted how many there have been.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Accepted is how many connections there have been.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Until waits for a condition over commands and connections.
func (s *Server) Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		s.mu.Lock()
		grown := s.grown
		s.mu.Unlock()
		if condition() {
			return
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("not yet %s; the commands were %q", what, s.Heard(""))
		}
	}
}
