package storetest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends"
)

// blocked is a content whose next octet never comes; whoever waits for it is cancelled.
type blocked struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (b *blocked) Read([]byte) (int, error) {
	b.cancel()
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// sample is a message that some stores cannot keep as it is.
type sample struct {
	name string
	make func(*suite) mail
}

func body(text string) func(*suite) mail { return func(s *suite) mail { return s.mail(text) } }

// withHeader puts octets between the suite's header and the empty line.
func withHeader(fields string) func(*suite) mail {
	return func(s *suite) mail {
		tag := newTag(s.id)
		return mail{tag, []byte(s.header(tag) + fields + "\r\nBody.\r\n")}
	}
}

// samples are made when they are asked for: a program that only has the suite in it should not hold them.
func samples() []sample {
	return []sample{
		{"plain", body("Hello.\r\n")},
		{"empty-body", body("")},
		{"no-body", func(s *suite) mail { tag := newTag(s.id); return mail{tag, []byte(s.header(tag))} }},
		{"body-of-empty-lines", body("\r\n\r\n\r\n")},
		{"trailing-spaces", body("Hello. \t \r\n \r\n\t\r\n")},
		{"dots", body(".\r\n..\r\n.hidden\r\n...\r\n\r\n.\r\n")},
		{"from-lines", body("From storetest@example.org Thu Jan  1 00:00:00 1970\r\n>From here\r\nFrom  \r\n")},
		{"8-bit", body("Gr\xc3\xbc\xc3\x9fe, \xe2\x82\xac\r\n")},
		{"every-octet", body(everyOctet())},
		{"nul", body("before\x00after\r\n\x00\r\n")},
		{"line-of-998", body(strings.Repeat("x", 998) + "\r\n")}, // RFC 5322 §2.1.1
		{"line-of-10000", body(strings.Repeat("x", 10000) + "\r\nnext\r\n")},
		{"line-of-200000", body(strings.Repeat("0123456789", 20000) + "\r\nnext\r\n")},
		{"many-lines", body(strings.Repeat("x\r\n", 20000))},
		{"long-header", withHeader("X-Storetest: " + strings.Repeat("folded\r\n ", 2000) + "end\r\n")},
		{"many-fields", withHeader(strings.Repeat("X-Storetest: again\r\n", 500))},
		{"8-bit-header", withHeader("X-Storetest: Gr\xc3\xbc\xc3\x9fe\r\n")},
		{"odd-fields", withHeader("X-Storetest:no space\r\nX-EMPTY:\r\nx-storetest : before the colon\r\n")},
		{"multipart", withHeader("X-Parts: 1\r\nContent-Type: multipart/mixed; boundary=storetest\r\n\r\n--storetest\r\n\r\nOne.\r\n--storetest--\r\n")},
		{"mime-that-is-broken", body("--storetest\r\nContent-Type: multipart/mixed; boundary=\"\r\n\r\n--\r\n")},
	}
}

// everyOctet is all octets but NUL, CR and LF, in several orders.
func everyOctet() string {
	var b bytes.Buffer
	for step := range 4 {
		for c := range 256 {
			if o := byte(c * (2*step + 1)); o != 0 && o != '\r' && o != '\n' {
				b.WriteByte(o)
			}
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// contentCases are a case for each sample, and for each way in which a reader may give it.
func contentCases() []testcase {
	var cases []testcase
	for i, sample := range samples() {
		needs := []need{receiver, reader}
		if sample.name == "nul" {
			needs = append(needs, keepsNUL)
		}
		cases = append(cases, testcase{"content-" + sample.name, needs, func(t *trial) {
			t.comesBack(samples()[i].make(t.suite), func(r io.Reader) io.Reader { return r })
		}})
	}
	for _, way := range []struct {
		name string
		wrap func(io.Reader) io.Reader
	}{
		{"octet-by-octet", iotest.OneByteReader},
		{"with-the-end-in-the-last-read", iotest.DataErrReader},
		{"in-halves", iotest.HalfReader},
	} {
		cases = append(cases, testcase{"reader-" + way.name, []need{receiver, reader}, func(t *trial) {
			t.comesBack(t.large(20_000), way.wrap)
		}})
	}
	return append(cases, testcase{"content-large", []need{receiver, reader, octets}, func(t *trial) {
		t.comesBack(t.large(t.largest()), func(r io.Reader) io.Reader { return r })
		t.empty(t.first())
	}})
}

// comesBack delivers a message and looks at what comes back. A store that cannot keep it as it
// is may refuse it for good; a message that it takes is unharmed.
func (t *trial) comesBack(m mail, way func(io.Reader) io.Reader) {
	t.emptyAll()
	verdicts, err := t.deliverAs(t.delivery(m, t.Address), way(m.reader()))
	if f := backends.AsFailure(failureOf(verdicts, err)); f != nil {
		if f.Kind != backends.Permanent && f.Kind != backends.TooLarge {
			t.Fatalf("delivering: %w", f)
		}
		t.expect(t.first())
		t.notOffered("it refuses such a message: %v", f)
	}
	t.expect(t.first(), m)
}
