package smtpclient_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// upstream is a server that takes mail, with the limits and habits of its fields.
type upstream struct {
	lmtp    bool
	offers  []string // EHLO keywords
	address string

	rcpt func(t taking, path string) string // "": taken
	mail func(t taking) string              // "": taken
	data func(t taking) string              // the reply to DATA; "": 354
	end  func(t taking, path string) string // the reply to the content; "": taken

	mu       sync.Mutex
	received []taken
	opened   int // connections
	asked    int // transactions
	commands []string
}

// taking is a transaction under way.
type taking struct {
	session, transaction int // from 1; transactions of the session
	rcpts, took          int // RCPTs before this one, and those that were taken
	paths                []string
}

// taken is a message that the server has.
type taken struct {
	paths   []string
	content string
}

func (u *upstream) start(t *testing.T) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.address = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.opened++
			session := u.opened
			u.mu.Unlock()
			all.Go(func() { u.serve(conn, session) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return u
}

func (u *upstream) serve(conn net.Conn, session int) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	now := taking{session: session}
	say := func(text string) bool {
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
	say("220 upstream.example")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		u.mu.Lock()
		u.commands = append(u.commands, line)
		u.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		ok := true
		switch strings.ToUpper(verb) {
		case "EHLO", "LHLO":
			say("250-upstream.example")
			for _, o := range u.offers {
				say("250-" + o)
			}
			ok = say("250 HELP")
		case "MAIL":
			now = taking{session: session, transaction: now.transaction + 1}
			u.mu.Lock()
			u.asked++
			u.mu.Unlock()
			reply := "250 2.1.0 ok"
			if u.mail != nil {
				reply = or(u.mail(now), reply)
			}
			ok = say(reply)
		case "RCPT":
			path := rest[strings.Index(rest, "<")+1 : strings.LastIndex(rest, ">")]
			reply := "250 2.1.5 ok"
			if u.rcpt != nil {
				reply = or(u.rcpt(now, path), reply)
			}
			now.rcpts++
			if reply[0] == '2' {
				now.took++
				now.paths = append(now.paths, path)
			}
			ok = say(reply)
		case "DATA":
			reply := "354 go"
			if u.data != nil {
				reply = or(u.data(now), reply)
			}
			if ok = say(reply); reply[0] != '3' {
				break
			}
			content, err := dotted(in)
			if err != nil {
				return
			}
			ok = u.took(now, content, say)
		case "BDAT":
			size, _, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(size)
			chunk := make([]byte, n)
			if _, err := io.ReadFull(in, chunk); err != nil {
				return
			}
			ok = u.took(now, string(chunk), say) // the tests' messages fit into one
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

func (u *upstream) took(now taking, content string, say func(string) bool) bool {
	m := taken{content: content}
	var replies []string
	for i, path := range now.paths {
		reply := ""
		if u.end != nil {
			reply = u.end(now, path)
		}
		if reply == "" {
			m.paths = append(m.paths, path)
			reply = "250 2.0.0 stored"
		}
		if i == 0 || u.lmtp {
			replies = append(replies, reply)
		}
	}
	if len(m.paths) > 0 {
		u.mu.Lock()
		u.received = append(u.received, m)
		u.mu.Unlock()
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

// copies says how many messages of which content each recipient has: "a@s 1".
func (u *upstream) copies(content string) map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := make(map[string]int)
	for _, m := range u.received {
		for _, path := range m.paths {
			if m.content == content {
				n[path]++
			} else {
				n[path] += 1000
			}
		}
	}
	return n
}

// many are n recipients of some domains.
func many(n, domains int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("r%d@d%d.example", i, i%domains))
	}
	return all
}
