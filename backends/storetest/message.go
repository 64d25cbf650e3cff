package storetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing/iotest"
	"time"
)

// mail is a message of the suite. Its tag stands in its Subject and its Message-ID.
type mail struct {
	tag  string
	data []byte
}

var mailNumber atomic.Int64

func newRunID() string { return strings.ToLower(rand.Text()[:10]) }

func newTag(run string) string { return fmt.Sprintf("storetest-%s-%d", run, mailNumber.Add(1)) }

// mail makes a message with this body, in canonical form.
func (s *suite) mail(body string) mail {
	tag := newTag(s.id)
	return mail{tag, []byte(s.header(tag) + "\r\n" + body)}
}

// mails makes n short messages.
func (s *suite) mails(n int) []mail {
	all := make([]mail, 0, n)
	for i := range n {
		all = append(all, s.mail(fmt.Sprintf("This is message %d.\r\n", i+1)))
	}
	return all
}

func (s *suite) header(tag string) string {
	return "From: storetest <" + s.Address + ">\r\n" +
		"To: storetest <" + s.Address + ">\r\n" +
		"Subject: " + tag + "\r\n" +
		"Date: " + time.Now().UTC().Format(time.RFC1123Z) + "\r\n" +
		"Message-ID: <" + tag + "@storetest.invalid>\r\n" +
		"MIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Content-Transfer-Encoding: 8bit\r\n"
}

// large makes a message of about so many octets. Its lines differ in length, so that their
// ends fall on every place of a buffer.
func (s *suite) large(octets int64) mail {
	m := s.mail("")
	data := append(make([]byte, 0, octets+200), m.data...)
	filler := strings.Repeat("0123456789abcdef", 6)
	for n := 0; int64(len(data)) < octets; n++ {
		data = append(strconv.AppendInt(data, int64(n), 10), '-')
		data = append(append(data, filler[:(n*7)%len(filler)]...), "\r\n"...)
	}
	m.data = data
	return m
}

func (m mail) reader() io.Reader { return bytes.NewReader(m.data) }

// is says whether these octets are this message, or what became of it.
func (m mail) is(data []byte) bool {
	header, _, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	return bytes.Contains(header, []byte("Subject: "+m.tag+"\r\n")) || bytes.HasSuffix(header, []byte("Subject: "+m.tag)) ||
		bytes.Contains(header, []byte("Subject: "+m.tag+"\n"))
}

// same makes sure that a message came back as it went in.
func (t *trial) same(m mail, got []byte) {
	if t.Renders {
		if flaw := notCanonical(got); flaw != "" {
			t.Errorf("message %q is not in canonical form: %s", m.tag, flaw)
		}
		return
	}
	if flaw := changed(m.data, got); flaw != "" {
		t.Errorf("message %q came back changed: %s", m.tag, flaw)
	}
}

// changed says how what came back differs from what was sent, beyond what a store may do.
func changed(sent, got []byte) string {
	body := bytes.Index(sent, []byte("\r\n\r\n"))
	if body < 0 && !bytes.HasSuffix(got, sent) {
		got = bytes.TrimSuffix(got, []byte("\r\n")) // the empty line, added
	}
	if !bytes.HasSuffix(got, sent) {
		return difference(sent, got)
	}
	if front := got[:len(got)-len(sent)]; !isHeader(front) {
		return fmt.Sprintf("what stands in front of it is no header: %s", excerpt(front))
	}
	return ""
}

// isHeader says whether octets are whole header fields (RFC 5322 §2.2), or nothing.
func isHeader(front []byte) bool {
	lines := bytes.SplitAfter(front, []byte("\r\n"))
	for i, line := range lines {
		last := i == len(lines)-1
		if last {
			return len(line) == 0
		}
		if i > 0 && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		name, _, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return true
}

// difference describes where two messages part, looked for after whatever was put in front.
func difference(sent, got []byte) string {
	if i := bytes.Index(got, sent[:min(len(sent), 20)]); i > 0 {
		got = got[i:]
	}
	at := 0
	for at < len(sent) && at < len(got) && sent[at] == got[at] {
		at++
	}
	return fmt.Sprintf("%d octets were sent and %d came back; from octet %d on it should be %s and is %s",
		len(sent), len(got), at, excerpt(sent[at:]), excerpt(got[at:]))
}

func excerpt(data []byte) string {
	if len(data) > 60 {
		return fmt.Sprintf("%q…", data[:60])
	}
	return fmt.Sprintf("%q", data)
}

// notCanonical says what is wrong with the line ends of a message; empty: nothing.
func notCanonical(data []byte) string {
	for at := 0; at < len(data); {
		line := data[at:]
		lf := bytes.IndexByte(line, '\n')
		if lf >= 0 {
			line = line[:lf]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case cr >= 0 && (lf < 0 || cr < len(line)-1):
			return fmt.Sprintf("a bare CR at octet %d", at+cr)
		case lf >= 0 && cr < 0:
			return fmt.Sprintf("a bare LF at octet %d", at+lf)
		}
		at += len(line) + 1
	}
	if !bytes.HasSuffix(data, []byte("\r\n")) {
		return "the last line does not end with CRLF"
	}
	return ""
}

// topOf is the header, the empty line and the first lines of the body (RFC 1939 §7).
func topOf(data []byte, lines int) []byte {
	body := bytes.Index(data, []byte("\r\n\r\n"))
	if body < 0 {
		return data
	}
	end := body + 4
	for ; lines > 0 && end < len(data); lines-- {
		next := bytes.IndexByte(data[end:], '\n')
		if next < 0 {
			return data
		}
		end += next + 1
	}
	return data[:end]
}

// failing is a content that breaks off with an error after so many octets.
func failing(m mail, after int, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(m.data[:after]), iotest.ErrReader(err))
}
