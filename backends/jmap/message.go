package jmap

import (
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/remote"
)

// message is what is uploaded: fields of ours, and behind them the message as it came.
type message struct {
	fields string
	body   *buffer.Buffer
}

// keep takes a message in, until the server has it.
func (s *Store) keep(fields string, content io.Reader) (*message, error) {
	body, err := remote.Keep(s.stateDir, content)
	if err != nil {
		return nil, err
	}
	return &message{fields, body}, nil
}

// size is the octets of the whole.
func (m *message) size() int64 { return int64(len(m.fields)) + m.body.Size() }

// reader reads the whole from its start.
func (m *message) reader() io.Reader {
	return io.MultiReader(strings.NewReader(m.fields), m.body.Reader())
}

// discard forgets it.
func (m *message) discard() { _ = m.body.Discard() }
