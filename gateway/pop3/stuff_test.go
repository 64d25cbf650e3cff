package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// unstuff is what a client makes of a multi-line response (RFC 1939 §3), written on its own
// and slowly: lines end in CRLF and in nothing else, the response in a line of one dot.
func unstuff(response string) (content string, ok bool) {
	var b strings.Builder
	for {
		line, rest, found := strings.Cut(response, "\r\n")
		if !found {
			return b.String(), false
		}
		if line == "." {
			return b.String(), rest == ""
		}
		if strings.HasPrefix(line, ".") {
			if line = line[1:]; !strings.HasPrefix(line, ".") {
				return b.String(), false // a dot that the server did not double
			}
		}
		b.WriteString(line + "\r\n")
		response = rest
	}
}

func TestUnstuffIsStrict(t *testing.T) {
	for _, response := range []string{"", "a", ".", "a\r\n", ".a\r\n.\r\n", ".\r\nrest", "a\n.\n"} {
		if content, ok := unstuff(response); ok {
			t.Errorf("unstuff(%q) = %q, want it refused", response, content)
		}
	}
}

var stuffCases = []struct{ name, content, response string }{
	{"nothing", "", ".\r\n"},
	{"a line", "a\r\n", "a\r\n.\r\n"},
	{"no end of the last line", "a", "a\r\n.\r\n"},
	{"an empty line", "\r\n", "\r\n.\r\n"},
	{"first octet is a dot", ".a\r\n", "..a\r\n.\r\n"},
	{"a lone dot", ".", "..\r\n.\r\n"},
	{"a line of one dot", ".\r\n", "..\r\n.\r\n"},
	{"two dots", "..\r\n", "...\r\n.\r\n"},
	{"the terminator inside", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
	{"dots on each line", ".\r\n.\r\n.b\r\n", "..\r\n..\r\n..b\r\n.\r\n"},
	{"dots within lines", "a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n"},
	{"bare LF", "a\nb\n", "a\r\nb\r\n.\r\n"},
	{"bare LF and the terminator", "a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"},
	{"only LF", "\n\n", "\r\n\r\n.\r\n"},
	{"bare CR", "a\rb\r\n", "a b\r\n.\r\n"},
	{"bare CR and a dot", "a\r.\r\n", "a .\r\n.\r\n"},
	{"CR CR LF", "a\r\r\n", "a \r\n.\r\n"},
	{"CR CR", "\r\r", " \r\n.\r\n"},
	{"CR at the start", "\ra\r\n", " a\r\n.\r\n"},
	{"CR at the start, and a dot", "\r.\r\n", " .\r\n.\r\n"},
	{"CR at the end", "a\r", "a\r\n.\r\n"},
	{"CR alone", "\r", "\r\n.\r\n"},
	{"LF CR", "a\n\rb\r\n", "a\r\n b\r\n.\r\n"},
	{"LF CR dot", "a\n\r.b\r\n", "a\r\n .b\r\n.\r\n"},
	{"LF CR at the end", "a\n\r", "a\r\n\r\n.\r\n"},
	{"CR LF dot CR", "a\r\n.\r", "a\r\n..\r\n.\r\n"},
	{"NUL and 8-bit", "\x00\xff\r\n", "\x00\xff\r\n.\r\n"},
	{"a bare LF before many lines", "a\n" + strings.Repeat("b\r\n", 9), "a\r\n" + strings.Repeat("b\r\n", 9) + ".\r\n"},
	{"a bare LF and a bare CR", "a\rb\n", "a b\r\n.\r\n"},
	{"a long line", strings.Repeat("x", 100000) + "\r\n", strings.Repeat("x", 100000) + "\r\n.\r\n"},
}

func TestStuffing(t *testing.T) {
	for _, tt := range stuffCases {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, len(tt.content) + 1} {
				got, octets := stuffInPieces(tt.content, piece)
				if got != tt.response {
					t.Errorf("in pieces of %d: got %q, want %q", piece, cut(got), cut(tt.response))
				}
				if want := int64(len(canonical(tt.content))); octets != want {
					t.Errorf("in pieces of %d: %d octets counted, want %d", piece, octets, want)
				}
			}
		})
	}
}

func cut(s string) string { return s[:min(len(s), 200)] }

func stuffInPieces(content string, piece int) (response string, octets int64) {
	all := content
	var b strings.Builder
	s := &stuffer{to: &b}
	for len(content) > 0 {
		n := min(piece, len(content))
		if w, err := s.Write([]byte(content[:n])); w != n || err != nil {
			panic("a strings.Builder does not fail")
		}
		content = content[n:]
	}
	judged := s.Canonical()
	_ = s.finish()
	bare := strings.ReplaceAll(all, "\r\n", "")
	if judged && strings.Contains(bare, "\n") || !judged && !strings.ContainsAny(bare, "\r\n") {
		panic(fmt.Sprintf("that %q is canonical is said to be %v", all, judged))
	}
	return b.String(), s.octets
}

func TestStufferReportsAFailedWrite(t *testing.T) {
	s := &stuffer{to: failingWriter{}}
	if _, err := s.Write([]byte(".a\r\n")); !errors.Is(err, errBroken) {
		t.Errorf("Write: %v, want %v", err, errBroken)
	}
	if err := s.finish(); !errors.Is(err, errBroken) {
		t.Errorf("finish: %v, want %v", err, errBroken)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestStufferBeginsOnce(t *testing.T) {
	for _, content := range []string{"", "abc"} {
		var b strings.Builder
		s := &stuffer{to: &b, begin: func() { b.WriteString("+OK\r\n") }}
		for _, c := range []byte(content) {
			_, _ = s.Write([]byte{c})
		}
		_, _ = s.Write(nil)
		_ = s.finish()
		if n := strings.Count(b.String(), "+OK"); n != 1 || !strings.HasPrefix(b.String(), "+OK\r\n") {
			t.Errorf("%q begins %d times", b.String(), n)
		}
	}
}

// writerTo is a content that writes itself.
type writerTo struct{ io.Reader }

func (w writerTo) WriteTo(to io.Writer) (int64, error) { return io.Copy(to, onlyReader(w)) }
func (w writerTo) Close() error                        { return nil }

type onlyReader struct{ io.Reader }

func TestCopyContent(t *testing.T) {
	wrapped := errors.Join(io.EOF) // is io.EOF to errors.Is, but not the end of a message
	tests := []struct {
		name    string
		content io.Reader
		want    error
	}{
		{"read", io.NopCloser(onlyReader{strings.NewReader(second)}), nil},
		{"read with io.EOF in the last piece", io.NopCloser(iotest.DataErrReader(strings.NewReader(second))), nil},
		{"read by octets", io.NopCloser(iotest.OneByteReader(strings.NewReader(second))), nil},
		{"written", writerTo{strings.NewReader(second)}, nil},
		{"written, and cut off", writerTo{io.MultiReader(strings.NewReader(second), iotest.ErrReader(errBroken))}, errBroken},
		{"cut off", &failingContent{second, errBroken}, errBroken},
		{"cut off by an unexpected EOF", &failingContent{second, io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF},
		{"cut off by a wrapped EOF", &failingContent{second, wrapped}, wrapped},
		{"stuck", &failingContent{second, nil}, io.ErrNoProgress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := copyContent(&b, tt.content); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if b.String() != second {
				t.Errorf("got %q, want %q", b.String(), second)
			}
		})
	}
}

func FuzzStuff(f *testing.F) {
	for _, tt := range stuffCases {
		if len(tt.content) < 100 {
			f.Add(tt.content, 1)
			f.Add(tt.content, 7)
		}
	}
	f.Fuzz(func(t *testing.T, content string, piece int) {
		piece = max(1, piece%64)
		response, octets := stuffInPieces(content, piece)
		got, ok := unstuff(response)
		want := canonical(content)
		if !ok || got != want {
			t.Fatalf("%q in pieces of %d is %q to the client, want %q", content, piece, got, want)
		}
		if octets != int64(len(want)) {
			t.Fatalf("%d octets counted, want %d", octets, len(want))
		}
		if bare := strings.ReplaceAll(response, "\r\n", ""); strings.ContainsAny(bare, "\r\n") {
			t.Fatalf("a bare CR or LF in %q", response)
		}
	})
}

// TestStuffingAtBorders has each kind of line end, and a dot behind it, at each place around the
// end of what is read at once. No content ends its response (CVE-2026-33604, of another server).
func TestStuffingAtBorders(t *testing.T) {
	for _, seam := range []string{"\r\n.\r\n", "\n.\n", "\r.\r", "\r\r\n.\r\n", "\n\r.\r\n", "\r\n..", "\r\r", "."} {
		for at := copySize - 6; at <= copySize+2; at++ {
			text := strings.Repeat("a", at) + seam + "b"
			var b strings.Builder
			s := &stuffer{to: &b}
			if err := copyContent(s, io.NopCloser(onlyReader{strings.NewReader(text)})); err != nil {
				t.Fatal(err)
			}
			if err := s.finish(); err != nil {
				t.Fatal(err)
			}
			if got, ok := unstuff(b.String()); !ok || got != canonical(text) {
				t.Errorf("%q at %d: the client sees …%q, and the end is %t", seam, at, got[max(0, len(got)-20):], ok)
			}
		}
	}
}
