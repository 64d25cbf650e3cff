package index

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/textproto"
	"slices"
	"strings"
)

// Fingerprint is what stays of a message when it moves to another mail system.
type Fingerprint struct {
	// MessageID is the Message-ID field without its angle brackets; empty: there is none.
	MessageID string
	// Digest is of those header fields that mail systems leave alone.
	Digest [16]byte
}

// fieldsOfDigest are the fields that a message was written with. Those that are added on its
// way, and on its way from one system to another, are not among them.
var fieldsOfDigest = []string{"date", "from", "to", "cc", "subject", "message-id", "in-reply-to"}

const (
	headerMost    = 1 << 20
	messageIDMost = 998 // a line (RFC 5322 §2.1.1)
)

// FingerprintOf reads a header, up to its end or the reader's. Line ends and folding do not
// matter.
func FingerprintOf(header io.Reader) (Fingerprint, error) {
	fields := make(map[string]*strings.Builder) // a field may have any number of lines
	lines := bufio.NewReader(io.LimitReader(header, headerMost))
	name := ""
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return Fingerprint{}, err
		}
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 {
			break
		}
		if text[0] != ' ' && text[0] != '\t' {
			var value []byte
			name = ""
			if before, after, ok := bytes.Cut(text, []byte(":")); ok {
				name, value = string(bytes.ToLower(textproto.TrimBytes(before))), after
			}
			text = value
		}
		if slices.Contains(fieldsOfDigest, name) {
			if fields[name] == nil {
				fields[name] = &strings.Builder{}
			}
			fields[name].WriteByte(' ')
			fields[name].Write(text)
		}
		if err != nil {
			break
		}
	}
	unfolded := make(map[string]string, len(fields))
	for name, text := range fields {
		unfolded[name] = text.String()
	}
	return fingerprint(unfolded), nil
}

// fingerprint makes one of unfolded fields. White space counts for nothing: systems fold anew.
func fingerprint(fields map[string]string) Fingerprint {
	sum := sha256.New()
	for _, name := range fieldsOfDigest {
		_, _ = io.WriteString(sum, name+":"+strings.Join(strings.Fields(fields[name]), "")+"\n") // never fails
	}
	f := Fingerprint{MessageID: cleanMessageID(fields["message-id"])}
	copy(f.Digest[:], sum.Sum(nil))
	return f
}

// cleanMessageID is a Message-ID as it is compared: without white space and angle brackets.
func cleanMessageID(text string) string {
	text = strings.Join(strings.Fields(text), "")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")
	if len(text) > messageIDMost {
		return ""
	}
	return text
}
