//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// send lets the clients send messages until all are acknowledged, and waits for the sink, where there
// is one. Seconds end with the last acknowledgement.
func (w work) send() (Result, error) {
	letters, err := newLetters(w.sender, w.size)
	if err != nil {
		return Result{}, err
	}
	if w.sink == "" {
		return w.sendTo(letters, nil)
	}
	s, err := newSink(w.sink, letters, w.messages)
	if err != nil {
		return Result{}, err
	}
	defer s.close()
	return w.sendTo(letters, s)
}

func (w work) sendTo(letters *letters, s *sink) (Result, error) {
	begin := time.Now()
	senders, err := w.sendAll(letters)
	var sum Result
	for _, s := range senders {
		sum.Sessions += s.connections
		sum.Messages += s.acknowledged
		sum.Seconds = max(sum.Seconds, s.last.Sub(begin).Seconds())
	}
	sum.Octets = int64(sum.Messages * w.size)
	if err == nil && s != nil {
		if err := s.wait(); err != nil {
			return sum, err
		}
		sum.Came, sum.Open = s.course(begin)
		sum.Relayed = sum.Came[len(sum.Came)-1]
	}
	return sum, err
}

func (w work) sendAll(letters *letters) ([]sender, error) {
	senders, errs := make([]sender, w.clients), make([]error, w.clients)
	var next atomic.Int64
	var clients sync.WaitGroup
	for i := range senders {
		senders[i] = sender{work: w, letters: letters, next: &next}
		w.from = w.from.Next() // of an address that is none, none
		clients.Go(func() {
			if err := senders[i].run(); err != nil {
				errs[i] = fmt.Errorf("client %d: %w", i, err)
				next.Store(int64(w.messages)) // the others need not go on
			}
		})
	}
	clients.Wait()
	return senders, errors.Join(errs...)
}

// sender is one client.
type sender struct {
	work
	letters *letters
	next    *atomic.Int64 // the message that the next client takes

	client     *client // nil: there is no connection
	pipelining bool
	content    []byte

	connections, acknowledged int
	last                      time.Time // when the last acknowledgement was read
}

func (s *sender) run() error {
	defer s.hangUp()
	for n := s.take(); n < s.messages; {
		if s.client == nil {
			if err := s.connect(); err != nil {
				return err
			}
		}
		// Whether it is the connection's last message is known when the next one is taken.
		after, last := n, !s.kept
		if s.kept {
			after = s.take()
			last = after >= s.messages
		}
		if err := s.message(n, last); err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		if !s.kept {
			after = s.take()
		}
		n = after
	}
	return nil
}

func (s *sender) take() int { return int(s.next.Add(1)) - 1 }

func (s *sender) hangUp() {
	if s.client != nil {
		s.client.close()
		s.client = nil
	}
}

// connect opens a connection, up to the reply to EHLO or the login.
func (s *sender) connect() error {
	c, err := connect(s.address, s.from)
	if err != nil {
		return err
	}
	s.client = c
	s.connections++
	if err := c.expect("220", nil); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if _, err := io.WriteString(c.conn, "EHLO load.example\r\n"); err != nil {
		return err
	}
	s.pipelining = false
	err = c.expect("250", func(line []byte) {
		s.pipelining = s.pipelining || bytes.EqualFold(line[4:], []byte("PIPELINING"))
	})
	if err != nil || !s.auth {
		return err
	}
	credential := base64.StdEncoding.EncodeToString([]byte("\x00" + s.user + "\x00" + s.password))
	return s.group(command{"AUTH PLAIN " + credential + "\r\n", "235"}) // RFC 4954 §4, RFC 4616
}

// message sends one, and counts it when its 250 was read. With pipelining, the envelope and DATA are sent
// together (RFC 2920), and QUIT with the end of the last message, as mail servers do.
func (s *sender) message(n int, last bool) error {
	_ = s.client.conn.SetDeadline(time.Now().Add(patience))
	if err := s.group(
		command{"MAIL FROM:<" + s.sender + ">\r\n", "250"},
		command{"RCPT TO:<u" + strconv.Itoa(n%s.boxes) + "@" + s.domain + ">\r\n", "250"},
		command{"DATA\r\n", "354"},
	); err != nil {
		return err
	}
	s.content = append(s.letters.letter(n, s.content[:0]), ".\r\n"...)
	if last && s.pipelining {
		s.content = append(s.content, quit...)
	}
	if _, err := s.client.conn.Write(s.content); err != nil {
		return err
	}
	if err := s.client.expect("250", nil); err != nil {
		return fmt.Errorf("end of content: %w", err)
	}
	s.acknowledged++
	s.last = time.Now()
	if !last {
		return nil
	}
	defer s.hangUp()
	if !s.pipelining {
		return s.group(command{quit, "221"})
	}
	return s.client.expect("221", nil)
}

const quit = "QUIT\r\n"

// command is a line and the code that is expected in return.
type command struct{ line, code string }

// group sends commands, together where the server lets us.
func (s *sender) group(commands ...command) error {
	c := s.client
	if s.pipelining {
		c.out = c.out[:0]
		for _, command := range commands {
			c.out = append(c.out, command.line...)
		}
		if _, err := c.conn.Write(c.out); err != nil {
			return err
		}
	}
	for _, command := range commands {
		if !s.pipelining {
			if _, err := io.WriteString(c.conn, command.line); err != nil {
				return err
			}
		}
		if err := c.expect(command.code, nil); err != nil {
			return fmt.Errorf("%.4s: %w", command.line, err)
		}
	}
	return nil
}

// expect reads a reply (RFC 5321 §4.2.1), of any number of lines, each of which is given to see.
func (c *client) expect(code string, see func(line []byte)) error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) < 4 || string(line[:3]) != code || line[3] != ' ' && line[3] != '-' {
			return fmt.Errorf("the reply is %q, not %s", line, code)
		}
		if see != nil {
			see(line)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}
