//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/test/provider"
)

// Habits of a sink.
const (
	good     = "good"
	refuse   = "refuse"   // 451 to the end of the data
	silent   = "silent"   // no reply to the end of the data
	closes   = "close"    // the message is taken, and the connection ends without a reply
	nonsense = "nonsense" // what is no reply
	down     = "down"     // connections end at once
	away     = "away"     // connections are refused: nobody listens
	hangs    = "hang"     // connections are taken, and nothing is said
)

// stages are where a habit may have a reply of its own: "auth 432 4.3.2 slowly".
var stages = []string{"greeting", "auth", "mail", "end"}

// copyTaken is a line of the sink's record.
type copyTaken struct {
	At       time.Time `json:"at"`
	ID       string    `json:"id"`
	To       []string  `json:"to"`
	Whole    bool      `json:"whole"`
	Answered bool      `json:"answered"` // false: it was taken, and the client was not told
}

// sink is a next hop.
type sink struct {
	mu       sync.Mutex
	habit    string
	open     map[net.Conn]bool // true: it waits for a reply in vain
	listener net.Listener      // nil: it is away
	address  string            // the listener's, which it has again when it is back
	ended    bool
	all      sync.WaitGroup
	record   *os.File
	// tokens is where it asks about tokens (RFC 7662), a URL that one is put at the end of: nobody sends without then.
	tokens string
}

func runSink(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sink", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "host:port; what it is is printed")
	record := flags.String("record", "", "what was taken is written there")
	tokens := flags.String("tokens", "", "it takes mail from those alone who log in with a token (XOAUTH2): where it asks about it, a URL that the token is put at the end of")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := required(flags, "record"); err != nil {
		return err
	}
	file, err := os.OpenFile(*record, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s := &sink{habit: good, open: map[net.Conn]bool{}, address: *listen, record: file, tokens: *tokens}
	if err := s.listen(ctx); err != nil {
		return err
	}
	fmt.Println(s.address)
	ctx, stop := context.WithCancelCause(ctx)
	go func() { stop(s.obey(ctx, os.Stdin)) }()
	<-ctx.Done()
	s.end()
	s.all.Wait()
	err = context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // it was ended by a signal, or by the end of its input
	}
	return errors.Join(err, file.Close())
}

// listen has it take connections, if it does not.
func (s *sink) listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil || s.ended {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.listener, s.address = l, l.Addr().String()
	s.all.Go(func() { s.accept(l) })
	return nil
}

// accept takes connections until the listener is closed.
func (s *sink) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[conn] = false
		if s.ended {
			_ = conn.Close()
		}
		s.mu.Unlock()
		s.all.Go(func() { s.serve(conn) })
	}
}

// leave has connections refused.
func (s *sink) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.listener = nil
}

func (s *sink) end() {
	s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for conn := range s.open {
		_ = conn.Close()
	}
}

// obey takes on habits until the input ends. It returns an error where it cannot be back at its address.
func (s *sink) obey(ctx context.Context, in io.Reader) error {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		s.take(lines.Text())
		if lines.Text() == away {
			s.leave()
		} else if err := s.listen(ctx); err != nil {
			return err
		}
	}
	return nil
}

// take takes a habit on. Who waited for a silent one is let go, and nobody else: who is told at this moment that a message is
// taken has to hear it.
func (s *sink) take(habit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.habit
	s.habit = habit
	for conn, waits := range s.open {
		if waits && habit != before {
			_ = conn.Close()
		}
	}
}

// now is the habit towards a client; those that it has in vain let the client wait for a reply.
func (s *sink) now(conn net.Conn, vain ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[conn] = slices.Contains(vain, s.habit)
	return s.habit
}

// answers says whether a client who has connected, or begins a message, is answered. One that is not waits in vain, or is to
// be let go.
func (s *sink) answers(conn net.Conn) bool {
	switch s.now(conn, hangs) {
	case down, away:
		return false
	case hangs:
		_, _ = io.Copy(io.Discard, conn)
		return false
	}
	return true
}

// instead is the reply that the habit has at a stage; empty: the usual one.
func (s *sink) instead(stage string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, is := strings.CutPrefix(s.habit, stage+" "); is && slices.Contains(stages, stage) {
		return text
	}
	return ""
}

// login is the reply to AUTH.
func (s *sink) login(line string) (reply string, in bool) {
	if text := s.instead("auth"); text != "" {
		return text, false
	}
	_, token := provider.XOAuth2(strings.TrimPrefix(line, "XOAUTH2 "))
	var answer struct{ Active bool }
	asked, err := http.Get(s.tokens + url.QueryEscape(token))
	if err == nil {
		err = json.NewDecoder(asked.Body).Decode(&answer)
		_ = asked.Body.Close()
	}
	switch {
	case err != nil:
		return "454 4.7.0 Temporary authentication failure", false
	case !answer.Active:
		return provider.RefusedSMTP, false
	}
	return "235 2.7.0 ok", true
}

// refusedOnPurpose says that the sink does not have a recipient. All the others it has.
func refusedOnPurpose(address string) bool { return strings.HasPrefix(address, nobody+"@") }

// serve is a server's side of a connection: no more than RFC 5321 §4.5.1 asks for.
func (s *sink) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.open, conn)
		s.mu.Unlock()
	}()
	lines := bufio.NewReader(conn)
	var to []string
	say := func(reply string) bool {
		_, err := io.WriteString(conn, reply+"\r\n")
		return err == nil
	}
	if !s.answers(conn) {
		return
	}
	greeting, in := s.instead("greeting"), s.tokens == ""
	if greeting != "" {
		say(greeting)
		return
	}
	for ok := say("220 sink.ledger.example ESMTP"); ok; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			offers := "250-sink.ledger.example\r\n250-PIPELINING\r\n"
			if s.tokens != "" {
				offers += "250-AUTH XOAUTH2\r\n"
			}
			ok = say(offers + "250 8BITMIME")
		case "AUTH":
			var reply string
			reply, in = s.login(rest)
			ok = say(reply)
		case "MAIL", "RSET":
			if to = nil; !s.answers(conn) {
				return
			}
			switch text := s.instead("mail"); {
			case !in:
				ok = say("530 5.7.57 Client not authenticated to send mail")
			case text != "":
				ok = say(text) && !strings.HasPrefix(text, "421")
			default:
				ok = say("250 2.0.0 ok")
			}
		case "RCPT":
			path := rest[strings.IndexByte(rest, '<')+1:]
			path, _, _ = strings.Cut(path, ">")
			if !in {
				ok = say("530 5.7.57 Client not authenticated to send mail")
				break
			}
			if refusedOnPurpose(path) {
				ok = say("550 5.1.1 there is no nobody here")
				break
			}
			to = append(to, path)
			ok = say("250 2.1.5 ok")
		case "DATA":
			if len(to) == 0 {
				ok = say("554 5.5.1 no recipients")
				break
			}
			if !say("354 go ahead") {
				return
			}
			content, err := readData(lines)
			if err != nil {
				return
			}
			ok = s.decide(conn, to, content, say)
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			ok = say("250 2.0.0 ok")
		}
	}
}

// decide takes a message, or does not. It is on the disk before anybody is told.
func (s *sink) decide(conn net.Conn, to []string, content []byte, say func(string) bool) bool {
	habit := s.now(conn, silent, hangs)
	if text := s.instead("end"); text != "" {
		return say(text) && !strings.HasPrefix(text, "421")
	}
	switch habit {
	case down, away:
		return false
	case refuse:
		return say("451 4.3.0 not now")
	case nonsense:
		return say("\x00\xff thirty-one bananas")
	case silent, hangs:
		_, _ = io.Copy(io.Discard, conn)
		return false
	}
	if _, failed, delayed := reported(content); len(failed)+len(delayed) > 0 {
		return say("250 2.0.0 taken") && habit != closes // a report to a sender from elsewhere is no copy of a message
	}
	id, whole := inspect(content)
	if err := s.note(copyTaken{At: time.Now(), ID: id, To: to, Whole: whole, Answered: habit != closes}); err != nil {
		return say("451 4.3.0 " + err.Error())
	}
	return habit != closes && say("250 2.0.0 taken")
}

func (s *sink) note(c copyTaken) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.record.Write(append(line, '\n')); err != nil {
		return err
	}
	return s.record.Sync()
}

// readData reads content up to the final dot (RFC 5321 §4.5.2).
func readData(in *bufio.Reader) ([]byte, error) {
	var content []byte
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == ".\r\n" {
			return content, nil
		}
		content = append(content, strings.TrimPrefix(line, ".")...)
	}
}
