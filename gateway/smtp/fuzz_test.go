package smtp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whatever octets come: the engine calls the backend in order, answers in replies, takes
// no message that has no end, and ends with the connection.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
		"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nhelBDAT 4 LAST\r\nlo\r\nRSET\r\n",
		"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nhelMAIL FROM:<>\r\nEHLO x\r\nBDAT 1 LAST\r\nx",
		"EHLO c\r\nAUTH PLAIN\r\nAHVzZXIAc2VzYW1l\r\nAUTH PLAIN AHVzZXIAc2VzYW1l\r\nMAIL FROM:<> AUTH=a+3Db SIZE=1\r\n",
		"EHLO c\r\nMAIL FROM:<refuse@b>\r\nMAIL FROM:<ü@b> SMTPUTF8\r\nRCPT TO:<burn@d>\r\nDATA\r\nVRFY x\r\n",
		"EHLO c\r\nETRN a.example\r\nETRN @a.example\r\nETRN #a\r\nMAIL FROM:<a@b>\r\nETRN a\r\n",
		"STARTTLS\r\n\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n", "HELO c\nMAIL\r\n", "NOOP" + strings.Repeat("x", 3000) + "\r\n",
	} {
		f.Add(seed, byte(0))
		f.Add(seed, byte(0xff))
	}
	f.Add("EHLO 0\nMAIL FROM:<>\nRCPT TO:<0@0>\nDATA\n.\r\n", byte(0x5c))
	f.Fuzz(func(t *testing.T, raw string, options byte) {
		backend := modelBackend()
		if options&32 != 0 {
			backend.dequeue = func(Node) (Dequeued, error) { return Dequeued{Messages: 1}, nil }
		}
		s := testServer(backend)
		s.AllowInsecureAuth = options&1 != 0
		s.Role = Role(options >> 1 & 1)
		s.BareNewlines = BareNewlines(options >> 2 & 1)
		s.AllowEarlyTalkers = options>>3&1 == 1
		if options&16 != 0 {
			s.TLSConfig = serverTLS()
		}
		s.Limits = Limits{MessageSize: 1000, Discard: 10_000}
		fuzzConversation(t, s, raw, 1+int(options))
		backend.check(t)
		if backend.closed > 1 || len(backend.messages) > len(endsOfData.FindAllString(raw, -1))+strings.Count(strings.ToUpper(raw), "LAST") {
			t.Errorf("%d messages, closed %d times", len(backend.messages), backend.closed)
		}
	})
}

// endsOfData is CRLF.CRLF. Where no message comes the first CRLF is that of the command's line (RFC 5321
// §4.1.1.4), which is an LF alone from clients for which bare newlines are normalised.
var endsOfData = regexp.MustCompile(`\r\n\.\r\n|(?i:DATA)[^\n]*\n\.\r\n`)

func fuzzConversation(t *testing.T, s *Server, raw string, cut int) {
	l := newPipeListener()
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(context.Background(), l) })
	defer running.Wait()
	defer func() { _ = s.Shutdown(context.Background()) }()
	client, server := net.Pipe()
	l.conns <- server
	_ = client.SetDeadline(time.Now().Add(2 * time.Minute))
	running.Go(func() {
		defer client.Close()
		for len(raw) > 0 {
			n := min(cut, len(raw))
			if _, err := io.WriteString(client, raw[:n]); err != nil {
				return
			}
			raw = raw[n:]
		}
	})
	for r := bufio.NewReader(client); ; {
		_, _, err := readReply(r)
		switch {
		case err == nil:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Error("it hangs")
		}
		return // the end, or TLS
	}
}
