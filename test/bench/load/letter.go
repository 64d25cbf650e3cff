//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// digits is how many a message's number has, so that all messages are of one size.
const digits = 10

// letters makes messages of one size, none like another: each line of the body has the message's number.
// No line begins with a dot.
type letters struct {
	text  []byte // of message 0
	slots []int  // where the number stands
}

func newLetters(sender string, size int) (*letters, error) {
	zero := fmt.Sprintf("%0*d", digits, 0)
	text := []byte("From: Load <" + sender + ">\r\nTo: undisclosed-recipients:;\r\nDate: Mon, 30 Nov 2026 01:02:03 +0000\r\n" +
		"Message-ID: <" + zero + "@load.example>\r\nSubject: message " + zero + "\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n")
	if len(text) >= size {
		return nil, fmt.Errorf("a message has more than %d octets", len(text))
	}
	const line = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\r\n"
	for size-len(text) >= digits+2 {
		text = append(text, zero...)
		rest := min(size-len(text), len(line))
		if left := size - len(text) - rest; left > 0 && left < digits+2 {
			rest -= digits + 2 // what is left is enough for another line
		}
		text = append(text, line[len(line)-rest:]...)
	}
	if len(text) != size || !bytes.HasSuffix(text, []byte("\r\n")) {
		return nil, fmt.Errorf("no message can have %d octets", size)
	}
	l := &letters{text: text}
	for from := 0; ; {
		at := bytes.Index(text[from:], []byte(zero))
		if at < 0 {
			return l, nil
		}
		l.slots = append(l.slots, from+at)
		from += at + digits
	}
}

// letter appends message n.
func (l *letters) letter(n int, to []byte) []byte {
	start, number := len(to), digitsOf(n)
	to = append(to, l.text...)
	for _, at := range l.slots {
		copy(to[start+at:], number[:])
	}
	return to
}

func digitsOf(n int) (number [digits]byte) {
	for i := range number {
		number[digits-1-i] = byte('0' + n%10)
		n /= 10
	}
	return number
}

// number is that of a message as a server has relayed it: behind fields of trace it has to be as it was sent.
func (l *letters) number(content []byte) (int, error) {
	sent := content[max(0, len(content)-len(l.text)):]
	if len(sent) != len(l.text) {
		return 0, fmt.Errorf("a message of %d octets: %.300q", len(content), content)
	}
	n, err := strconv.Atoi(string(sent[l.slots[0] : l.slots[0]+digits]))
	if err != nil {
		return 0, fmt.Errorf("a message without its number: %q", content)
	}
	number, from := digitsOf(n), 0
	same := true
	for _, at := range l.slots {
		same = same && bytes.Equal(sent[from:at], l.text[from:at]) && bytes.Equal(sent[at:at+digits], number[:])
		from = at + digits
	}
	if !same || !bytes.Equal(sent[from:], l.text[from:]) {
		return 0, fmt.Errorf("message %d is not what was sent: %q", n, content)
	}
	return n, nil
}
