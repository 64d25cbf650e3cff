//go:build linux

package harness

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// SMTP is a strict client.
type SMTP struct {
	w *wire
	// Extensions are the keywords of the last EHLO with their parameters.
	Extensions map[string]string
}

// Reply is a positive reply of an SMTP server.
type Reply struct {
	Code  int
	Lines []string // each line's text
}

// DialSMTP connects, reads the greeting and says EHLO. With a configuration for TLS it starts
// with that.
func DialSMTP(address string, secure *tls.Config) (*SMTP, error) {
	w, err := dialWire(address, secure)
	if err != nil {
		return nil, err
	}
	s := &SMTP{w: w}
	if _, err = s.answer("greeting", 220); err == nil {
		err = s.hello()
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return s, nil
}

func (s *SMTP) hello() error {
	reply, err := s.Ask(250, "EHLO client.corpus.example")
	if err != nil {
		return err
	}
	s.Extensions = map[string]string{}
	for _, line := range reply.Lines[1:] {
		keyword, parameters, _ := strings.Cut(line, " ")
		s.Extensions[strings.ToUpper(keyword)] = parameters
	}
	return nil
}

// answer reads a reply (RFC 5321 §4.2.1); another class than that of the wanted code is a
// *Refusal.
func (s *SMTP) answer(command string, wanted int) (Reply, error) {
	var reply Reply
	for {
		line, err := s.w.readLine()
		if err != nil {
			return reply, fmt.Errorf("%s: %w", command, err)
		}
		if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return reply, fmt.Errorf("%s: the reply is %.100q", command, line)
		}
		code, err := strconv.Atoi(string(line[:3]))
		if err != nil || reply.Code != 0 && code != reply.Code {
			return reply, fmt.Errorf("%s: the reply is %.100q", command, line)
		}
		reply.Code = code
		reply.Lines = append(reply.Lines, string(line[min(4, len(line)):]))
		if len(line) == 3 || line[3] == ' ' {
			break
		}
	}
	if reply.Code/100 != wanted/100 {
		return reply, &Refusal{command, fmt.Sprint(reply.Code, " ", strings.Join(reply.Lines, "\n"))}
	}
	return reply, nil
}

// Ask sends a command and wants a reply of the code's class.
func (s *SMTP) Ask(wanted int, format string, args ...any) (Reply, error) {
	command := fmt.Sprintf(format, args...)
	if err := s.w.writeLine(command); err != nil {
		return Reply{}, err
	}
	if strings.HasPrefix(command, "AUTH") {
		command = "AUTH"
	}
	return s.answer(command, wanted)
}

// StartTLS is STARTTLS (RFC 3207) and the EHLO after it.
func (s *SMTP) StartTLS(config *tls.Config) error {
	if _, err := s.Ask(220, "STARTTLS"); err != nil {
		return err
	}
	if err := s.w.startTLS(config); err != nil {
		return err
	}
	return s.hello()
}

// Auth is AUTH PLAIN (RFC 4954, RFC 4616).
func (s *SMTP) Auth(user, password string) error {
	_, err := s.Ask(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
	return err
}

// Envelope is what a message is sent with.
type Envelope struct {
	From     string
	To       []string
	EightBit bool  // BODY=8BITMIME
	UTF8     bool  // SMTPUTF8
	Size     int64 // SIZE=; 0: not said
	// Notify is NOTIFY= of each recipient (RFC 3461 §4.1); empty: not said.
	Notify string
}

// Begin is MAIL and RCPT. All recipients have to be accepted.
func (s *SMTP) Begin(e Envelope) error {
	parameters := ""
	if e.EightBit {
		parameters += " BODY=8BITMIME"
	}
	if e.UTF8 {
		parameters += " SMTPUTF8"
	}
	if e.Size > 0 {
		parameters += fmt.Sprintf(" SIZE=%d", e.Size)
	}
	if _, err := s.Ask(250, "MAIL FROM:<%s>%s", e.From, parameters); err != nil {
		return err
	}
	notify := ""
	if e.Notify != "" {
		notify = " NOTIFY=" + e.Notify
	}
	for _, to := range e.To {
		if _, err := s.Ask(250, "RCPT TO:<%s>%s", to, notify); err != nil {
			return err
		}
	}
	return nil
}

// Send sends a message with DATA. The error is nil when the server has acknowledged it.
func (s *SMTP) Send(e Envelope, content io.Reader) (Reply, error) {
	if err := s.Begin(e); err != nil {
		return Reply{}, err
	}
	if _, err := s.Ask(354, "DATA"); err != nil {
		return Reply{}, err
	}
	if err := s.stuff(content); err != nil {
		// The server may have said why before it closed.
		if reply, early := s.answer("DATA", 250); early != nil && reply.Code != 0 {
			return reply, early
		}
		return Reply{}, err
	}
	return s.answer("end of data", 250)
}

// stuff writes a content in canonical form with dots stuffed, and the end (RFC 5321 §4.5.2).
func (s *SMTP) stuff(content io.Reader) error {
	in, out := bufio.NewReaderSize(content, 64<<10), bufio.NewWriterSize(s.w.Conn, 64<<10)
	atStart := true
	for {
		piece, err := in.ReadSlice('\n')
		if len(piece) > 0 {
			if atStart && piece[0] == '.' {
				out.WriteByte('.')
			}
			out.Write(piece)
			atStart = piece[len(piece)-1] == '\n'
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	if !atStart {
		out.WriteString("\r\n")
	}
	out.WriteString(".\r\n")
	return out.Flush()
}

// SendChunks sends a message with BDAT (RFC 3030) in chunks of at most that many octets.
func (s *SMTP) SendChunks(e Envelope, content []byte, chunk int) (Reply, error) {
	if err := s.Begin(e); err != nil {
		return Reply{}, err
	}
	for {
		piece := content[:min(chunk, len(content))]
		content = content[len(piece):]
		last := ""
		if len(content) == 0 {
			last = " LAST"
		}
		command := fmt.Sprintf("BDAT %d%s", len(piece), last)
		if _, err := s.w.Write(append([]byte(command+"\r\n"), piece...)); err != nil {
			return Reply{}, err
		}
		reply, err := s.answer(command, 250)
		if err != nil || last != "" {
			return reply, err
		}
	}
}

// Quit is QUIT, and closes the connection.
func (s *SMTP) Quit() error {
	_, err := s.Ask(221, "QUIT")
	s.Close()
	return err
}

// Close closes the connection without a farewell.
func (s *SMTP) Close() { s.w.Close() }
