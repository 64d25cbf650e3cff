package routing

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// Options are what an MX or a Submission is made of. Log and Router are needed, for a
// Submission Authenticator too; the rest has defaults, given in brackets.
type Options struct {
	Log zerolog.Logger
	// Protocol is the listener's, for the log of logins: "submissions" where TLS comes first
	// ["submission"].
	Protocol string
	Router   *Router
	// Authenticator is where accounts log in. One is shared by all listeners.
	Authenticator *login.Authenticator
	// Policies say which accounts may submit [all].
	Policies *policy.Current
	// Hostname is the right-hand side of Message-IDs that are added ["localhost"].
	Hostname string
	// Dedup remembers what became of messages that were answered with 4xx. One is shared by
	// all listeners. Without one, an outage between two stores' deliveries makes duplicates.
	Dedup Dedup
	// TempDir is the folder of messages on their way that do not fit in memory [the
	// system's]. It is the gateway's alone: what an earlier process left there is removed.
	TempDir string
	// MemoryMost is how much of a message is kept in memory, in octets [256 KiB].
	MemoryMost int
	// HeaderMost is how many octets the header of a submitted message may have: not less than the
	// engine takes, whose limit is the one that is told [content.HeaderMost].
	HeaderMost int64
	// PlaintextLogin lets passwords pass over connections without TLS [no].
	PlaintextLogin bool
	// Quirks are what a Submission does for devices and scripts [none].
	Quirks Quirks

	createTemp func(dir string) (tempFile, error)
}

func (o *Options) setDefaults() {
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Dedup == nil {
		o.Dedup = forgetful{}
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	} else {
		o.cleanTempDir()
	}
	if o.MemoryMost == 0 {
		o.MemoryMost = 256 << 10
	}
	if o.HeaderMost <= 0 {
		o.HeaderMost = content.HeaderMost
	}
	if o.createTemp == nil {
		o.createTemp = createTemp
	}
}

const tempPattern = "message-*.tmp"

// cleanTempDir removes what a crash has left. Where files can be unlinked while they are open
// there is next to nothing; elsewhere, those in use cannot be removed.
func (o *Options) cleanTempDir() {
	left, err := filepath.Glob(filepath.Join(o.TempDir, tempPattern))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		o.Log.Warn().Err(err).Msg("cannot remove an earlier process's temporary files")
	}
}

// tempFile is the rest of a message that does not fit in memory.
type tempFile interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// diskFile is a temporary file that has no name any more, or loses it when it is closed.
type diskFile struct{ *os.File }

func createTemp(dir string) (tempFile, error) {
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // fails on Windows, where Close does it
	return diskFile{f}, nil
}

func (d diskFile) Close() error {
	err := d.File.Close()
	_ = os.Remove(d.Name())
	return err
}

// peerOf is the client as stores are told of it.
func peerOf(conn smtp.Conn, protocol string) backends.Peer {
	p := backends.Peer{Protocol: protocol, TLS: conn.TLS != nil && conn.TLS() != nil, Session: conn.ID}
	if conn.Remote != nil {
		p.Address = conn.Remote.String()
	}
	return p
}
