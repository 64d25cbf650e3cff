package crlf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// canonical is the reference: one octet at a time, nothing clever.
func canonical(in string) string {
	var b strings.Builder
	for i := range len(in) {
		switch {
		case in[i] == '\n':
			b.WriteString("\r\n")
		case in[i] == '\r' && i+1 < len(in) && in[i+1] == '\n':
		case in[i] == '\r':
			b.WriteByte(' ')
		default:
			b.WriteByte(in[i])
		}
	}
	if in != "" && in[len(in)-1] != '\n' {
		b.WriteString("\r\n")
	}
	return b.String()
}

var cases = []struct{ name, in, want string }{
	{"nothing", "", ""},
	{"one LF", "\n", "\r\n"},
	{"one CRLF", "\r\n", "\r\n"},
	{"one CR", "\r", " \r\n"},
	{"no last line end", "a", "a\r\n"},
	{"LF lines", "a\nb\n\nc\n", "a\r\nb\r\n\r\nc\r\n"},
	{"CRLF lines", "a\r\nb\r\n", "a\r\nb\r\n"},
	{"mixed lines", "a\r\nb\nc\r\n", "a\r\nb\r\nc\r\n"},
	{"lone CR inside", "a\rb\n", "a b\r\n"},
	{"lone CR at the end", "a\r", "a \r\n"},
	{"two CR before LF", "a\r\r\n", "a \r\n"},
	{"LF CR", "a\n\rb\n", "a\r\n b\r\n"},
	{"dots are left alone", ".\n..\n", ".\r\n..\r\n"},
	{"eight bit and NUL", "\xff\x00\n", "\xff\x00\r\n"},
}

// ways are all the ways to get the canonical form of a string.
var ways = []struct {
	name string
	get  func(io.Reader) (string, error)
}{
	{"WriteTo", func(r io.Reader) (string, error) {
		var b strings.Builder
		_, err := NewReader(r).WriteTo(&b)
		return b.String(), err
	}},
	{"Read", func(r io.Reader) (string, error) {
		b, err := io.ReadAll(struct{ io.Reader }{NewReader(r)})
		return string(b), err
	}},
	{"Read one octet at a time", func(r io.Reader) (string, error) {
		b, err := io.ReadAll(iotest.OneByteReader(NewReader(r)))
		return string(b), err
	}},
	{"Read from a slow source", func(r io.Reader) (string, error) {
		b, err := io.ReadAll(NewReader(iotest.OneByteReader(r)))
		return string(b), err
	}},
	{"Read with data and EOF together", func(r io.Reader) (string, error) {
		b, err := io.ReadAll(NewReader(iotest.DataErrReader(r)))
		return string(b), err
	}},
	{"Read in odd pieces", func(r io.Reader) (string, error) {
		b, err := io.ReadAll(&pieces{r: NewReader(r)})
		return string(b), err
	}},
}

// pieces reads with buffers of changing sizes.
type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.n++
	return p.r.Read(b[:min(len(b), 1+p.n%7)])
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := canonical(c.in); got != c.want {
				t.Fatalf("the reference gives %q, want %q", got, c.want)
			}
			check(t, c.in)
		})
	}
}

func check(t *testing.T, in string) {
	t.Helper()
	want := canonical(in)
	for _, way := range ways {
		if got, err := way.get(strings.NewReader(in)); got != want || err != nil {
			t.Errorf("%s of %.60q: %.60q, %v; want %.60q", way.name, in, got, err, want)
		}
	}
	if n, err := Length(strings.NewReader(in)); n != int64(len(want)) || err != nil {
		t.Errorf("Length of %.60q: %d, %v; want %d", in, n, err, len(want))
	}
	if n, err := Length(iotest.OneByteReader(strings.NewReader(in))); n != int64(len(want)) || err != nil {
		t.Errorf("Length of %.60q in pieces: %d, %v; want %d", in, n, err, len(want))
	}
	if stored := store(t, want, len(want)+1); stored != strings.ReplaceAll(want, "\r\n", "\n") || canonical(stored) != want {
		t.Errorf("%.60q is stored as %.60q", want, stored)
	}
	if stored := store(t, want, 1); stored != strings.ReplaceAll(want, "\r\n", "\n") {
		t.Errorf("%.60q in pieces is stored as %.60q", want, stored)
	}
}

// store writes content through a Writer, in pieces of a size.
func store(t *testing.T, content string, size int) string {
	t.Helper()
	var b strings.Builder
	w := NewWriter(&b)
	for len(content) > 0 {
		n := min(size, len(content))
		if m, err := io.WriteString(w, content[:n]); m != n || err != nil {
			t.Fatalf("Write: %d, %v", m, err)
		}
		content = content[n:]
	}
	if err := w.Flush(); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	return b.String()
}

// TestBufferBorders puts each kind of line end at each place around the end of the buffer.
func TestBufferBorders(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r", "\r\r\n", "\n\r", "x"} {
		for at := bufferSize - 3; at <= bufferSize+3; at++ {
			t.Run(fmt.Sprintf("%q at %d", end, at), func(t *testing.T) {
				in := strings.Repeat("a", at) + end + strings.Repeat("b\n", 40)
				want := canonical(in)
				for _, way := range ways[:2] {
					if got, err := way.get(strings.NewReader(in)); got != want || err != nil {
						t.Errorf("%s: %d octets, %v; want %d", way.name, len(got), err, len(want))
					}
				}
				if n, _ := Length(strings.NewReader(in)); n != int64(len(want)) {
					t.Errorf("Length: %d, want %d", n, len(want))
				}
			})
		}
	}
}

// TestCounterOfCanonical: octets that are known to be canonical are counted as if they were looked at,
// wherever they are cut, and beside others.
func TestCounterOfCanonical(t *testing.T) {
	for _, content := range []string{"", "a", "a\r\n", "a\r\nb\r\n", "a\r\nb", "a\r"} {
		for cut := range len(content) + 1 {
			for _, before := range []string{"", "x\n"} {
				var known, looked Counter
				for _, c := range []*Counter{&known, &looked} {
					_, _ = c.Write([]byte(before))
				}
				for _, piece := range []string{content[:cut], content[cut:]} {
					known.Canonical([]byte(piece))
					_, _ = looked.Write([]byte(piece))
				}
				if known != looked {
					t.Errorf("%q behind %q, cut at %d: %+v, want %+v", content, before, cut, known, looked)
				}
			}
		}
	}
}

func TestErrorsAreNotTheEnd(t *testing.T) {
	broken := errors.New("broken")
	source := func() io.Reader {
		return io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken))
	}
	for _, way := range ways {
		if got, err := way.get(source()); !errors.Is(err, broken) || got != "a\r\nb" {
			t.Errorf("%s: %q, %v", way.name, got, err)
		}
	}
	if _, err := Length(source()); !errors.Is(err, broken) {
		t.Errorf("Length: %v", err)
	}
	if _, err := io.ReadAll(NewReader(stuck{})); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that gives nothing: %v", err)
	}
	w := NewWriter(failing{broken})
	_, _ = w.Write([]byte("a\r\n"))
	if err := w.Flush(); !errors.Is(err, broken) {
		t.Errorf("Flush: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestRelease(t *testing.T) {
	r := NewReader(strings.NewReader("a\nb\n"))
	if _, err := r.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	r.Release()
	r.Release()
	if n, err := r.Read(make([]byte, 3)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after Release: %d, %v", n, err)
	}
	whole := NewReader(strings.NewReader("a"))
	if b, err := io.ReadAll(whole); string(b) != "a\r\n" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	whole.Release()
	if n, err := whole.Read(make([]byte, 3)); n != 0 || err != io.EOF {
		t.Errorf("after the end and Release: %d, %v", n, err)
	}
}

func TestTop(t *testing.T) {
	const message = "A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\n"
	const header = "A: b\r\nC: d\r\n\r\n"
	for _, c := range []struct {
		name, message string
		lines         int
		want          string
	}{
		{"the header alone", message, 0, header},
		{"one line", message, 1, header + "one\r\n"},
		{"an empty line is a line", message, 2, header + "one\r\n\r\n"},
		{"all lines", message, 3, message},
		{"more than there are", message, 1000, message},
		{"less than none", message, -1, header},
		{"no body", header, 5, header},
		{"no empty line", "A: b\r\nC: d\r\n", 5, "A: b\r\nC: d\r\n"},
		{"no header", "\r\none\r\ntwo\r\n", 1, "\r\none\r\n"},
		{"nothing", "", 1, ""},
		{"a folded line of spaces ends no header", "A: b\r\n \r\n\r\nx\r\n", 0, "A: b\r\n \r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{
				Top(strings.NewReader(c.message), c.lines),
				Top(iotest.OneByteReader(strings.NewReader(c.message)), c.lines),
				Top(iotest.DataErrReader(strings.NewReader(c.message)), c.lines),
			} {
				if got, err := io.ReadAll(r); string(got) != c.want || err != nil {
					t.Errorf("%q, %v; want %q", got, err, c.want)
				}
			}
		})
	}
}

func TestTopReadsNoFurther(t *testing.T) {
	src := io.MultiReader(strings.NewReader("A: b\r\n\r\nx\r\n"), iotest.ErrReader(errors.New("read too far")))
	if got, err := io.ReadAll(Top(src, 1)); string(got) != "A: b\r\n\r\nx\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	broken := errors.New("broken")
	src = io.MultiReader(strings.NewReader("A: b\r\n\r\nx\r\n"), iotest.ErrReader(broken))
	if _, err := io.ReadAll(Top(src, 2)); !errors.Is(err, broken) {
		t.Errorf("a top that is not complete: %v", err)
	}
}

func FuzzCanonicalForm(f *testing.F) {
	for _, c := range cases {
		f.Add(c.in, uint32(0))
	}
	f.Add("Subject: x\n\nbody\r\nbody\rbody", uint32(bufferSize-10))
	f.Fuzz(func(t *testing.T, in string, before uint32) {
		check(t, strings.Repeat("line\n", int(before%(2*bufferSize))/5)+in)
	})
}

func FuzzTop(f *testing.F) {
	f.Add("A: b\n\nx\ny\n", 1)
	f.Add("\n\n\n", 2)
	f.Fuzz(func(t *testing.T, in string, lines int) {
		message := canonical(in)
		want := topOf(message, max(lines, 0))
		for _, r := range []io.Reader{strings.NewReader(message), iotest.OneByteReader(strings.NewReader(message))} {
			if got, err := io.ReadAll(Top(r, lines)); string(got) != want || err != nil {
				t.Errorf("top %d of %q: %q, %v; want %q", lines, message, got, err, want)
			}
		}
	})
}

// topOf is the reference for Top.
func topOf(message string, lines int) string {
	all := strings.SplitAfter(message, "\r\n")
	for i, line := range all {
		if line == "\r\n" {
			return strings.Join(all[:min(len(all)-i-1, lines)+i+1], "")
		}
	}
	return message
}

// text is mail-like: lines of 0 to 78 octets.
func text(size int, eol string) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		for range 60 + random.IntN(19) {
			b.WriteByte(byte(' ' + 1 + random.IntN(90)))
		}
		b.WriteString(eol)
	}
	return b.Bytes()
}

func BenchmarkReader(b *testing.B) {
	for _, c := range []struct{ name, eol string }{{"LF", "\n"}, {"CRLF", "\r\n"}} {
		in := text(1<<20, c.eol)
		b.Run(c.name+"/WriteTo", func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				_, _ = NewReader(bytes.NewReader(in)).WriteTo(io.Discard)
			}
		})
		b.Run(c.name+"/Length", func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				_, _ = Length(bytes.NewReader(in))
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	in := text(1<<20, "\r\n")
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		w := NewWriter(io.Discard)
		_, _ = w.Write(in)
		_ = w.Flush()
	}
}
