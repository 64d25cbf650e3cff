//go:build linux

package harness

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// POP3 is a strict client: a server that breaks a rule of framing gets an error.
type POP3 struct {
	w *wire
	// Greeting is the server's first line.
	Greeting string
}

// DialPOP3 connects and reads the greeting. With a configuration for TLS it starts with that.
func DialPOP3(address string, secure *tls.Config) (*POP3, error) {
	w, err := dialWire(address, secure)
	if err != nil {
		return nil, err
	}
	p := &POP3{w: w}
	if p.Greeting, err = p.answer("greeting"); err != nil {
		w.Close()
		return nil, err
	}
	return p, nil
}

// LoginPOP3 connects and logs in.
func LoginPOP3(address string, secure *tls.Config, user, password string) (*POP3, error) {
	p, err := DialPOP3(address, secure)
	if err != nil {
		return nil, err
	}
	if err := p.Login(user, password); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *POP3) answer(command string) (string, error) {
	line, err := p.w.readLine()
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	if text, ok := strings.CutPrefix(string(line), "+OK"); ok {
		return strings.TrimPrefix(text, " "), nil
	}
	if strings.HasPrefix(string(line), "-ERR") {
		return "", &Refusal{command, string(line)}
	}
	return "", fmt.Errorf("%s: the answer is %.100q", command, line)
}

// Ask sends a command and returns the text behind +OK. A *Refusal is -ERR.
func (p *POP3) Ask(format string, args ...any) (string, error) {
	command := fmt.Sprintf(format, args...)
	if err := p.w.writeLine(command); err != nil {
		return "", err
	}
	verb, _, _ := strings.Cut(command, " ")
	if verb == "PASS" || verb == "AUTH" {
		command = verb
	}
	return p.answer(command)
}

// StartTLS is STLS (RFC 2595 §4).
func (p *POP3) StartTLS(config *tls.Config) error {
	if _, err := p.Ask("STLS"); err != nil {
		return err
	}
	return p.w.startTLS(config)
}

// Login is USER and PASS.
func (p *POP3) Login(user, password string) error {
	if _, err := p.Ask("USER %s", user); err != nil {
		return err
	}
	_, err := p.Ask("PASS %s", password)
	return err
}

// Stat is the number of messages and their octets.
func (p *POP3) Stat() (messages int, octets int64, err error) {
	text, err := p.Ask("STAT")
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Sscanf(text, "%d %d", &messages, &octets)
	return messages, octets, err
}

// Lines is the answer to a command with a multi-line response, without its first line.
func (p *POP3) Lines(command string) ([]string, error) {
	if _, err := p.Ask("%s", command); err != nil {
		return nil, err
	}
	var all bytes.Buffer
	if _, err := p.w.copyMulti(&all); err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.SplitSeq(all.String(), "\r\n") {
		lines = append(lines, line)
	}
	return lines[:len(lines)-1], nil
}

// List is the size of each message by its number.
func (p *POP3) List() (map[int]int64, error) {
	lines, err := p.Lines("LIST")
	if err != nil {
		return nil, err
	}
	sizes := make(map[int]int64, len(lines))
	for _, line := range lines {
		number, size, _ := strings.Cut(line, " ")
		n, err1 := strconv.Atoi(number)
		octets, err2 := strconv.ParseInt(size, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("LIST: %q: %w", line, err)
		}
		sizes[n] = octets
	}
	return sizes, nil
}

// UIDL is the unique-id of each message by its number.
func (p *POP3) UIDL() (map[int]string, error) {
	lines, err := p.Lines("UIDL")
	if err != nil {
		return nil, err
	}
	ids := make(map[int]string, len(lines))
	for _, line := range lines {
		number, id, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("UIDL: %q: %w", line, err)
		}
		ids[n] = id
	}
	return ids, nil
}

// Retr is a whole message.
func (p *POP3) Retr(n int) ([]byte, error) {
	var all bytes.Buffer
	_, err := p.RetrTo(n, &all)
	return all.Bytes(), err
}

// RetrTo writes a message as it comes and returns its octets. An error means that it is not
// whole.
func (p *POP3) RetrTo(n int, out io.Writer) (int64, error) {
	if _, err := p.Ask("RETR %d", n); err != nil {
		return 0, err
	}
	return p.w.copyMulti(out)
}

// Top is a message's header and the first lines of its body.
func (p *POP3) Top(n, lines int) ([]byte, error) {
	if _, err := p.Ask("TOP %d %d", n, lines); err != nil {
		return nil, err
	}
	var all bytes.Buffer
	_, err := p.w.copyMulti(&all)
	return all.Bytes(), err
}

// Dele marks a message as deleted.
func (p *POP3) Dele(n int) error {
	_, err := p.Ask("DELE %d", n)
	return err
}

// Quit is QUIT, and closes the connection.
func (p *POP3) Quit() error {
	_, err := p.Ask("QUIT")
	p.Close()
	return err
}

// Close closes the connection without a farewell.
func (p *POP3) Close() { p.w.Close() }

// copyMulti copies a multi-line response up to its terminator (RFC 1939 §3), dots taken off. A
// line that begins with a dot and has nothing stuffed is an error, and so is the connection's
// end before the terminator.
func (w *wire) copyMulti(out io.Writer) (int64, error) {
	var octets int64
	for {
		line, err := w.readWhole()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return octets, fmt.Errorf("after %d octets: %w", octets, err)
		}
		if line[0] == '.' {
			if string(line) == ".\r\n" {
				return octets, nil
			}
			if line[1] != '.' {
				return octets, fmt.Errorf("a line with a dot that is not stuffed: %.100q", line)
			}
			line = line[1:]
		}
		n, err := out.Write(line)
		octets += int64(n)
		if err != nil {
			return octets, err
		}
	}
}
