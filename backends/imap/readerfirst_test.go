package imap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
)

// deaf is a connection that can be read, and no longer be written to once it is broken.
type deaf struct {
	net.Conn
	broken atomic.Bool
	closed atomic.Int32
}

func (d *deaf) Write(p []byte) (int, error) {
	if d.broken.Load() {
		return 0, syscall.EPIPE
	}
	return d.Conn.Write(p)
}

func (d *deaf) Close() error {
	d.closed.Add(1)
	return d.Conn.Close()
}

// TestReaderFirst: a Write that fails returns when the reader has ended, or will not, and the
// connection is closed by then; one that succeeds does neither.
func TestReaderFirst(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		broken, closed bool
		made           time.Duration // when it is known what to wait for
		ended          time.Duration // when the reader ends; 0: it does not
		took           time.Duration
	}{
		"it succeeds":                  {},
		"the reader ends":              {broken: true, ended: time.Second, took: time.Second},
		"the reader does not end":      {broken: true, took: readerPatience},
		"the reader has ended":         {broken: true, made: 2 * time.Second, ended: time.Second, took: 2 * time.Second},
		"the client is still made":     {broken: true, made: time.Second, ended: 2 * time.Second, took: 2 * time.Second},
		"somebody else has closed it":  {closed: true, ended: time.Second, took: time.Second},
		"closed, and the reader stays": {closed: true, took: readerPatience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				go func() { _, _ = io.Copy(io.Discard, theirs) }()
				conn, ended := &deaf{Conn: ours}, make(chan struct{})
				c := &readerFirst{Conn: conn, made: make(chan struct{})}
				defer c.Close()
				time.AfterFunc(tt.made, func() { c.readerEnded = ended; close(c.made) })
				if tt.ended > 0 {
					time.AfterFunc(tt.ended, func() { close(ended) })
				}
				if tt.closed {
					_ = c.Close()
				}
				conn.broken.Store(tt.broken)
				begin := time.Now()
				_, err := c.Write([]byte("T1 NOOP\r\n"))
				if took := time.Since(begin); took != tt.took {
					t.Errorf("it took %v", took)
				}
				fails := tt.broken || tt.closed
				if (err != nil) != fails || tt.broken && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("it fails with %v", err)
				}
				if (conn.closed.Load() > 0) != fails {
					t.Errorf("it is closed %d times", conn.closed.Load())
				}
			})
		})
	}
}

// TestAnswersBesideFailedCommand: what the server has answered before a command cannot be written is
// handed to those who asked, and what they wait for has an end.
func TestAnswersBesideFailedCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const messages = 200 // more than the library keeps for a command, so that it waits to hand them over
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := &deaf{Conn: ours}
		go answerFetch(theirs, messages)
		c := newClient(&wire{Conn: conn})
		defer c.Close()
		if err := c.WaitGreeting(); err != nil {
			t.Fatal(err)
		}
		all := imap.UIDSet{{Start: 1, Stop: messages}}
		fetch := c.Fetch(all, &imap.FetchOptions{UID: true, RFC822Size: true})
		synctest.Wait() // the library waits to hand an answer over

		conn.broken.Store(true)
		failed := make(chan error, 1)
		go func() { failed <- c.Noop().Wait() }()
		synctest.Wait()
		if conn.closed.Load() == 0 {
			t.Error("the connection is open")
		}
		came := 0
		for message := fetch.Next(); message != nil; message = fetch.Next() {
			came++
		}
		if came != messages {
			t.Errorf("%d answers came", came)
		}
		if err := fetch.Close(); err == nil {
			t.Error("the command has succeeded")
		}
		if err := <-failed; err == nil {
			t.Error("the command that could not be written has succeeded")
		}
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the library ends with %v", err)
		}
	})
}

// answerFetch is a server that answers one FETCH, all at once, and does not complete it.
func answerFetch(conn net.Conn, messages int) {
	_, _ = io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
	_, _ = bufio.NewReader(conn).ReadString('\n')
	var answers strings.Builder
	for uid := 1; uid <= messages; uid++ {
		fmt.Fprintf(&answers, "* %d FETCH (UID %d RFC822.SIZE 5)\r\n", uid, uid)
	}
	_, _ = io.WriteString(conn, answers.String())
}
