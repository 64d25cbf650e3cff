package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// mostPassword bounds a password, in octets (RFC 4616 §2 for PLAIN).
const mostPassword = 255

// question is how a command comes to a new password.
type question struct{ stdin bool }

func (q *question) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&q.stdin, "password-stdin", false, "take the first line of the input as the password, even on a terminal")
}

// read asks for a new password twice on a terminal, without showing it, or takes the first
// line of what is no terminal.
func (q *question) read(cmd *cobra.Command) ([]byte, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && !q.stdin && term.IsTerminal(int(f.Fd())) {
		return askPassword(int(f.Fd()), cmd.ErrOrStderr())
	}
	return firstLine(in)
}

// firstLine is the first line of what is read, as a password.
func firstLine(in io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(in, mostPassword+3)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	return line, checkPassword(line)
}

func askPassword(fd int, prompt io.Writer) ([]byte, error) {
	var answers [2][]byte
	for i, question := range []string{"New password: ", "Once more: "} {
		fmt.Fprint(prompt, question)
		answer, err := term.ReadPassword(fd)
		fmt.Fprintln(prompt)
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		answers[i] = answer
	}
	if !bytes.Equal(answers[0], answers[1]) {
		return nil, errors.New("the two are not the same")
	}
	return answers[0], checkPassword(answers[0])
}

func checkPassword(password []byte) error {
	switch {
	case len(password) == 0:
		return errors.New("the password is empty")
	case len(password) > mostPassword:
		return fmt.Errorf("the password is longer than %d octets", mostPassword)
	case bytes.ContainsAny(password, "\x00\r\n"):
		return errors.New("the password has characters that no client could send")
	}
	return nil
}

// newPassword makes one that can be read out and typed: 100 bits, in groups.
func newPassword() string {
	text := []byte(rand.Text()[:20]) // 5 bits each
	return string(bytes.ToLower(bytes.Join([][]byte{text[:5], text[5:10], text[10:15], text[15:]}, []byte("-"))))
}
