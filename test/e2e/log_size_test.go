//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestSlowMessageBesideLoad: while a message of 48 MB comes in slowly, 200 MB of others are taken into the queue, and the
// database's log (WAL) does not grow beyond 64 MB: no transaction waits for a client, which would keep it from being used anew.
func TestSlowMessageBesideLoad(t *testing.T) {
	t.Parallel()
	const (
		logMost = 64 << 20
		others  = 2_000
		each    = 100_000 // they are in the database, in rows
		piece   = 24_000
		senders = 4
	)
	g := harness.Start(t, harness.Options{Kind: harness.Plain, More: harness.Mapping{
		"routes": []harness.Mapping{{"name": "keep", "domains": []string{"*"}, "to": "hold"}},
		"smtp":   harness.Mapping{"relay_for": []string{"127.0.0.0/8"}},
	}})
	send := func(to string, content io.Reader) error {
		s, err := harness.DialSMTP(g.Address("smtp"), nil)
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Send(harness.Envelope{From: "ada@far.example", To: []string{to}}, content)
		return err
	}
	// The slow client has another piece for each of the other messages.
	pieces := make(chan []byte, others)
	slow := make(chan error, 1)
	go func() { slow <- send("slow@far.example", &fedReader{pieces: pieces}) }()

	body := []byte("Subject: one of many\r\n\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", each/100))
	line := bytes.Repeat([]byte(strings.Repeat("y", 98)+"\r\n"), piece/100)
	var sending sync.WaitGroup
	for n := range senders {
		sending.Go(func() {
			for range others / senders {
				if err := send(fmt.Sprintf("fast%d@far.example", n), bytes.NewReader(body)); err != nil {
					t.Error(err)
					return
				}
				pieces <- line
				log, err := os.Stat(filepath.Join(g.Dir, "state", "dipylon.db-wal"))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
				if err == nil && log.Size() > logMost {
					t.Errorf("the log has %d octets", log.Size())
					return
				}
			}
		})
	}
	sending.Wait()
	select {
	case err := <-slow:
		t.Errorf("the slow message is over before its end: %v", err)
	default:
	}
	close(pieces)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if out := queueCommand(t, g, "list", "--json", "--recipient", "slow@far.example"); !strings.Contains(out, `"held"`) {
		t.Errorf("the queue has of the slow message %s", out)
	}
}

// fedReader gives what it is fed with, until that is over.
type fedReader struct {
	pieces <-chan []byte
	rest   []byte
	begun  bool
}

func (r *fedReader) Read(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		return copy(p, "Subject: slow\r\n\r\n"), nil
	}
	for len(r.rest) == 0 {
		piece, more := <-r.pieces
		if !more {
			return 0, io.EOF
		}
		r.rest = piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
