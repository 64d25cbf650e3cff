//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// sink is a server that takes every message at once and keeps none. It counts them: each has to come as it
// was sent, and once.
type sink struct {
	listener net.Listener
	letters  *letters

	mu      sync.Mutex
	seen    []bool
	missing int
	came    []time.Time // when each message did
	open    int         // connections
	most    int         // of them at once
	failed  error
	done    chan struct{} // closed when nothing is missing, or when something is wrong
}

func newSink(address string, letters *letters, messages int) (*sink, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &sink{listener: l, letters: letters, seen: make([]bool, messages), missing: messages, done: make(chan struct{})}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.opened(1)
			go s.serve(conn)
		}
	}()
	return s, nil
}

func (s *sink) close() { _ = s.listener.Close() }

// wait waits until every message has come.
func (s *sink) wait() error {
	for {
		s.mu.Lock()
		before := s.missing
		s.mu.Unlock()
		select {
		case <-s.done:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.failed
		case <-time.After(patience):
		}
		s.mu.Lock()
		missing := s.missing
		s.mu.Unlock()
		if missing == before {
			return fmt.Errorf("%d messages have not come to the sink", missing)
		}
	}
}

// opened counts connections.
func (s *sink) opened(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += more
	s.most = max(s.most, s.open)
}

// course says how long after a time each message came, in seconds, and how many connections there were at once.
func (s *sink) course(begin time.Time) (came []float64, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.came {
		came = append(came, at.Sub(begin).Seconds())
	}
	return came, s.most
}

// took counts a message.
func (s *sink) took(content []byte) {
	n, err := s.letters.number(content)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
	case n >= len(s.seen):
		err = fmt.Errorf("message %d was not sent", n)
	case s.seen[n]:
		err = fmt.Errorf("message %d came twice", n)
	default:
		s.seen[n] = true
		s.missing--
		s.came = append(s.came, time.Now())
	}
	if s.failed == nil && (err != nil || s.missing == 0) {
		s.failed = err
		select {
		case <-s.done:
		default:
			close(s.done)
		}
	}
}

// The replies of the sink.
var sinkReplies = map[string]string{
	"EHLO": "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n",
	"HELO": "250 sink.example\r\n",
	"MAIL": "250 2.1.0 ok\r\n",
	"RCPT": "250 2.1.5 ok\r\n",
	"DATA": "354 go on\r\n",
	"RSET": "250 2.0.0 ok\r\n",
	"NOOP": "250 2.0.0 ok\r\n",
	"QUIT": "221 2.0.0 bye\r\n",
}

func (s *sink) serve(conn net.Conn) {
	ended := sync.OnceFunc(func() { s.opened(-1) })
	defer ended()
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	var content []byte
	_, _ = out.WriteString("220 sink.example ESMTP\r\n")
	for {
		if in.Buffered() == 0 && out.Flush() != nil { // replies to what came together go together
			return
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		verb := string(bytes.ToUpper(line[:min(4, len(line))]))
		reply, ok := sinkReplies[verb]
		if !ok {
			reply = "500 5.5.1 what?\r\n"
		}
		_, _ = out.WriteString(reply)
		switch verb {
		case "QUIT":
			ended() // before the client hears of it, and opens another one
			_ = out.Flush()
			return
		case "DATA":
			if out.Flush() != nil {
				return
			}
			if content, err = body(in, content[:0]); err != nil {
				return
			}
			s.took(content)
			_, _ = out.WriteString("250 2.0.0 taken\r\n")
		}
	}
}

// body reads a message up to the line with a dot alone. None that was sent has a line that begins with a dot.
func body(in *bufio.Reader, to []byte) ([]byte, error) {
	for begins := true; ; {
		piece, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return to, io.ErrUnexpectedEOF
		}
		if begins && string(piece) == ".\r\n" {
			return to, nil
		}
		to = append(to, piece...)
		begins = err == nil
	}
}
