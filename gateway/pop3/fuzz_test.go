package pop3

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// isMulti says whether +OK to a command is followed by lines up to a dot, in the RFCs' words.
func isMulti(command string) bool {
	verb, rest, _ := strings.Cut(strings.TrimLeft(command, " "), " ")
	switch strings.ToUpper(verb) {
	case "CAPA", "RETR", "TOP":
		return true
	case "LIST", "UIDL", "AUTH", "LANG":
		return strings.Trim(rest, " ") == ""
	}
	return false
}

// FuzzSession feeds a whole session from the greeting on, cut into pieces, and checks what
// comes back: one response to each complete line, in order, well formed; nothing after the
// goodbye; and an end, whatever happens.
func FuzzSession(f *testing.F) {
	login := "USER bob\r\nPASS secret\r\n"
	for _, c := range conversations {
		var script strings.Builder
		if !c.anonymous {
			script.WriteString(login)
		}
		for line := range strings.Lines(c.script) {
			line = strings.Trim(line, "\t\n")
			if rest, ok := strings.CutPrefix(line, "C:"); ok {
				script.WriteString(escapes.Replace(strings.TrimPrefix(rest, " ")) + "\r\n")
			}
		}
		f.Add([]byte(script.String()), uint8(0))
		f.Add([]byte(script.String()), uint8(3))
	}
	f.Add([]byte(login+strings.Repeat("x", 300)+"\r\nSTAT\r\n"), uint8(100))
	f.Add([]byte("AUTH PLAIN\r\n"+strings.Repeat("A", 13000)+"\r\nCAPA\r\n"), uint8(0))
	f.Add([]byte(login+"RETR 1\r\nTOP 2 1\r\nUIDL\r\nDELE 1\r\nRSET\r\nQUIT\r\nSTAT\r\n"), uint8(1))
	f.Add([]byte("AUTH X-STEPS \n000 \n\n"), uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		if len(stream) > 32<<10 {
			return
		}
		output, sum, fake := runSession(t, stream, int(piece))
		checkSession(t, string(stream), output, sum)
		if sessions, drops := fake.left(); sessions != 0 || drops != 0 {
			t.Fatalf("%d sessions and %d maildrops were left open", sessions, drops)
		}
		for _, drop := range fake.opened {
			if drop.updates != nil && sum.Reason != "quit" {
				t.Fatalf("%q removed %v", sum.Reason, drop.updates)
			}
		}
	})
}

// TestCommandsBehindAnExchange: what a client sends behind the last line of a SASL exchange is read
// as it came (RFC 2449 §6.6), however it comes in.
func TestCommandsBehindAnExchange(t *testing.T) {
	for _, auth := range []string{"AUTH PLAIN\r\nAGJvYgBzZWNyZXQ=\r\n", "AUTH  X-STEPS  =  \r\n\r\nAAAA\r\nAA==\r\n"} {
		stream := auth + "STAT\r\nNOOP\r\nQUIT\r\n"
		for piece := range len(stream) {
			output, sum, _ := runSession(t, []byte(stream), piece)
			checkSession(t, stream, output, sum)
			if sum.Reason != "quit" || !strings.Contains(output, "\r\n+OK 3 ") {
				t.Errorf("in pieces of %d: %q, and it ends by %q", piece, output, sum.Reason)
			}
		}
	}
}

// runSession plays a stream to a session, closes the client's sending side at its end, and
// reads all there is.
func runSession(t *testing.T, stream []byte, piece int) (output string, sum Summary, fake *fakeBackend) {
	near, far := net.Pipe()
	conn := &halfPipe{Conn: far, in: bytes.NewReader(stream), piece: piece}
	fake = newFake(first, second, third)
	seen := &recorder{}
	server := &Server{Backend: fake, InsecureAuth: true, Observer: seen, Log: zerolog.Nop(), MaxErrors: 50}
	read := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(near)
		read <- all
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		newSession(context.Background(), server, conn).serve()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("a session hangs on %q", stream)
	}
	_ = near.Close()
	return string(<-read), seen.closed[0], fake
}

// halfPipe is a connection whose client has sent all of a stream, and closed that half.
type halfPipe struct {
	net.Conn
	in    *bytes.Reader
	piece int
}

func (p *halfPipe) Read(b []byte) (int, error) {
	if p.piece > 0 {
		b = b[:min(len(b), p.piece)]
	}
	return p.in.Read(b)
}

// checkSession compares the responses with the commands.
func checkSession(t *testing.T, stream, output string, sum Summary) {
	lines := commandLines(stream)
	rest, ok := strings.CutPrefix(output, "+OK POP3 server ready\r\n")
	if !ok {
		t.Fatalf("no greeting in %q", output)
	}
	if sum.Reason == errTLSTooEarly.reason { // it is no line that is answered
		if stream[0] != tlsHandshake || namedLine.ReplaceAllString(rest, "\r\n") != "-ERR "+errTLSTooEarly.text+"\r\n" {
			t.Fatalf("%q to %q", rest, stream)
		}
		return
	}
	answered := 0 // lines: commands, and what followed challenges
	for rest != "" {
		if answered == len(lines) {
			t.Fatalf("%d lines, and then %q, for %q", answered, rest, stream)
		}
		command := lines[answered]
		for challenged := true; challenged && rest != ""; answered++ {
			var response string
			response, rest = takeLine(t, rest)
			challenged = strings.HasPrefix(response, "+ ")
			switch {
			case challenged:
				if _, err := base64.StdEncoding.DecodeString(response[2:]); err != nil {
					t.Fatalf("challenge %q", response)
				}
			case strings.HasPrefix(response, "+OK") && isMulti(command):
				rest = takeBody(t, rest)
			case !strings.HasPrefix(response, "+OK") && !strings.HasPrefix(response, "-ERR"):
				t.Fatalf("response %q to %q", response, command)
			}
		}
	}
	switch sum.Reason {
	case "gone": // the client's stream was over
		if answered != len(lines) {
			t.Fatalf("%d of %d lines were answered: %q to %q", answered, len(lines), output, stream)
		}
	case "quit", "too many errors", "login failed", "endless line":
	default:
		t.Fatalf("the session ended by %q for %q", sum.Reason, stream)
	}
}

// commandLines are the complete lines of a stream.
func commandLines(stream string) []string {
	lines := strings.Split(stream, "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines[:len(lines)-1]
}

func takeLine(t *testing.T, s string) (line, rest string) {
	line, rest, ok := strings.Cut(s, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n\x00") {
		t.Fatalf("not a line: %q", s)
	}
	return line, rest
}

// takeBody takes a multi-line response off.
func takeBody(t *testing.T, s string) (rest string) {
	for {
		var line string
		if line, s = takeLine(t, s); line == "." {
			return s
		}
		if strings.HasPrefix(line, ".") && !strings.HasPrefix(line, "..") {
			t.Fatalf("a line that is not stuffed: %q", line)
		}
	}
}
