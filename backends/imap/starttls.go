package imap

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// linesBeforeTLS is how much a server may say before TLS.
const linesBeforeTLS = 50

// errPlain: the server speaks IMAP, and not safely.
var errPlain = errors.New("the server does not offer STARTTLS here")

// startTLS secures a connection (RFC 9051 §6.2.1), the greeting included. It is done here, as
// the library would be told by whom it speaks to, without TLS, what it then believes: nothing
// that is said before TLS counts afterwards. The library is given a greeting of its own.
func startTLS(raw net.Conn, config *tls.Config) (*wire, error) {
	in := bufio.NewReaderSize(raw, 4096)
	if err := plainGreeting(in); err != nil {
		return nil, err
	}
	const tag = "S1"
	if _, err := raw.Write([]byte(tag + " STARTTLS\r\n")); err != nil {
		return nil, err
	}
	said, err := plainAnswer(in, tag)
	switch {
	case err != nil:
		return nil, err
	case said[2] != "OK":
		return nil, fmt.Errorf("%w: %s %s", errPlain, said[2], said[5])
	case in.Buffered() > 0:
		return nil, errors.New("the server sent something between its answer to STARTTLS and TLS")
	}
	return &wire{Conn: tls.Client(raw, config), first: []byte("* OK TLS is started\r\n")}, nil
}

func plainGreeting(in *bufio.Reader) error {
	said, err := plainAnswer(in, "*")
	switch {
	case err != nil:
		return err
	case said[2] == "BYE":
		text := said[5]
		if said[4] != "" {
			text += "; it refers to " + said[4]
		}
		return &imap.Error{Type: imap.StatusResponseTypeBye, Code: imap.ResponseCode(said[3]), Text: text}
	case said[2] != "OK": // PREAUTH: somebody is logged in already, and it is not known who
		return fmt.Errorf("%w: it greets with %s", errPlain, said[2])
	}
	return nil
}

// plainAnswer reads up to the status response with a tag; all else is skipped.
func plainAnswer(in *bufio.Reader, tag string) ([]string, error) {
	for range linesBeforeTLS {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		said := status.FindStringSubmatch(strings.TrimRight(string(line), "\r\n"))
		if said != nil && said[1] == tag {
			said[2], said[3] = strings.ToUpper(said[2]), strings.ToUpper(said[3])
			return said, nil
		}
	}
	return nil, errors.New("the server says too much before TLS")
}
