package pop3

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// fillFunc is a filler.
type fillFunc func(p []byte) (int, error)

func (f fillFunc) fill(p []byte) (int, error) { return f(p) }

// cutLines gives what input makes of a stream that arrives in pieces: each line, or "!" for
// one that was too long, and the error at the end.
func cutLines(stream string, limit, piece int) (lines []string, end error) {
	var in input
	fill := func(p []byte) (int, error) {
		if stream == "" {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, errors.New("no room to read into")
		}
		n := copy(p, stream[:min(piece, len(stream))])
		stream = stream[n:]
		return n, nil
	}
	for {
		line, err := in.line(limit, true, fillFunc(fill))
		switch {
		case err == nil:
			lines = append(lines, string(line))
		case errors.Is(err, errLongLine):
			lines = append(lines, "!")
		default:
			return lines, err
		}
	}
}

func TestLines(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name, stream string
		want         []string
		end          error
	}{
		{"nothing", "", nil, io.EOF},
		{"a line", "NOOP\r\n", []string{"NOOP"}, io.EOF},
		{"LF alone", "NOOP\nSTAT\n", []string{"NOOP", "STAT"}, io.EOF},
		{"empty lines", "\r\n\n", []string{"", ""}, io.EOF},
		{"only one CR is the line's end", "a\r\r\n", []string{"a\r"}, io.EOF},
		{"a CR within", "a\rb\r\n", []string{"a\rb"}, io.EOF},
		{"no end", "NOOP\r\nSTA", []string{"NOOP"}, io.EOF},
		{"255 octets", x(253) + "\r\nNOOP\r\n", []string{x(253), "NOOP"}, io.EOF},
		{"255 octets with LF", x(254) + "\nNOOP\r\n", []string{x(254), "NOOP"}, io.EOF},
		{"256 octets", x(254) + "\r\nNOOP\r\n", []string{"!", "NOOP"}, io.EOF},
		{"many more", x(60000) + "\r\nNOOP\r\n", []string{"!", "NOOP"}, io.EOF},
		{"two long ones", x(300) + "\r\n" + x(3000) + "\nNOOP\n", []string{"!", "!", "NOOP"}, io.EOF},
		{"without an end", "NOOP\r\n" + x(70000), []string{"NOOP"}, errEndlessLine},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 254, 255, 256, 1 << 20} {
				got, end := cutLines(tt.stream, maxCommandLine, piece)
				if !slices.Equal(got, tt.want) || !errors.Is(end, tt.end) {
					t.Errorf("in pieces of %d: got %.50q and %v, want %.50q and %v", piece, got, end, tt.want, tt.end)
				}
			}
		})
	}
}

func TestInputGrowsForSASLOnly(t *testing.T) {
	long := strings.Repeat("A", 12288)
	stream := "NOOP\r\n" + long + "\r\nNOOP\r\n"
	in := input{}
	fill := func(p []byte) (int, error) {
		n := copy(p, stream)
		stream = stream[n:]
		return n, nil
	}
	for i, want := range []string{"NOOP", long, "NOOP"} {
		limit := maxCommandLine
		if i == 1 {
			limit = maxSASLLine
		}
		line, err := in.line(limit, true, fillFunc(fill))
		if string(line) != want || err != nil {
			t.Fatalf("line %d: got %d octets and %v", i, len(line), err)
		}
		in.shrink()
		if i != 0 && len(in.buf) != inputSize {
			t.Errorf("after line %d the buffer has %d octets, want %d", i, len(in.buf), inputSize)
		}
	}
}

func TestInputForgets(t *testing.T) {
	in := input{}
	in.makeRoom(maxCommandLine)
	in.add(copy(in.buf, "STLS\r\nUSER mallory\r\nPA"), nil)
	if _, ok, _ := in.take(maxCommandLine, true); !ok {
		t.Fatal("no first line")
	}
	in.forget()
	if in.pending() || strings.Contains(string(in.buf), "mallory") {
		t.Errorf("something is left: %q", in.buf)
	}
}

func TestParseNumber(t *testing.T) {
	tests := []struct {
		in string
		n  int
		ok bool
	}{
		{"0", 0, true},
		{"1", 1, true},
		{"007", 7, true},
		{"999", 999, true},
		{"1000", 999, true},
		{"18446744073709551617", 999, true},
		{strings.Repeat("9", 200), 999, true},
		{strings.Repeat("0", 200), 0, true},
		{"", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1 ", 0, false},
		{"1.0", 0, false},
		{"1e3", 0, false},
		{"１", 0, false},
		{"1_0", 0, false},
	}
	for _, tt := range tests {
		if n, ok := parseNumber(tt.in, 999); n != tt.n || ok != tt.ok {
			t.Errorf("parseNumber(%q) = %d, %v, want %d, %v", tt.in, n, ok, tt.n, tt.ok)
		}
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"plain", 10, "plain"},
		{" a\r\n.\r\n+OK ", 20, "a  .  +OK"},
		{"é€", 10, "??"},
		{"\x7f\x00\xff", 10, "?"},
		{"too long", 3, "too"},
		{"none", 0, ""},
		{"none", -4, ""},
	}
	for _, tt := range tests {
		if got := printable(tt.in, tt.n); got != tt.want {
			t.Errorf("printable(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestMarks(t *testing.T) {
	var m marks
	if m.has(1) || m.has(1000) || m.all() != nil {
		t.Error("no marks, and yet some")
	}
	for _, n := range []int{100, 1, 64, 63, 1} {
		m.set(n, 100)
	}
	if got := m.all(); !slices.Equal(got, []int{1, 63, 64, 100}) || m.count != 4 || !m.has(100) || m.has(2) {
		t.Errorf("got %v (%d)", got, m.count)
	}
}

func TestAddressKey(t *testing.T) {
	tests := map[string]string{
		"192.0.2.7:50123": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8::1]:1": "2001:db8::/64",
		"[2001:db8::ffff%eth0]:1": "2001:db8::/64", "pipe": "", "@": "",
	}
	for in, want := range tests {
		if got := addressKey(fakeAddr(in)); got != want {
			t.Errorf("addressKey(%q) = %q, want %q", in, got, want)
		}
	}
	if got := addressKey(nil); got != "" {
		t.Errorf("addressKey(nil) = %q", got)
	}
}

type fakeAddr string

func (a fakeAddr) Network() string { return "fake" }
func (a fakeAddr) String() string  { return string(a) }

func TestSettingsAreChecked(t *testing.T) {
	fake := newFake()
	for _, tt := range []struct {
		server *Server
		ok     bool
	}{
		{&Server{Backend: fake}, true},
		{&Server{}, false},
		{&Server{Backend: fake, ImplicitTLS: true}, false},
		{&Server{Backend: fake, Expire: "NEVER"}, true},
		{&Server{Backend: fake, Expire: "0 USER"}, true},
		{&Server{Backend: fake, Expire: "never"}, false},
		{&Server{Backend: fake, Expire: "-1"}, false},
		{&Server{Backend: fake, Expire: "1\r\nX"}, false},
		{&Server{Backend: fake, Expire: " USER"}, false},
	} {
		name := fmt.Sprintf("backend %v, expire %q", tt.server.Backend != nil, tt.server.Expire)
		if err := tt.server.check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "NOOP\r\n", "a\nb\r\n\r\n", "a\r\r\n", strings.Repeat("x", 300) + "\nNOOP\r\n", "\x00\r\n"} {
		f.Add(s, 1)
		f.Add(s, 100)
	}
	f.Fuzz(func(t *testing.T, stream string, piece int) {
		const limit = 16
		got, end := cutLines(stream, limit, max(1, piece%64))
		want, wantEnd := cutSlowly(stream, limit)
		if !slices.Equal(got, want) || !errors.Is(end, wantEnd) {
			t.Fatalf("%q in pieces of %d: got %q and %v, want %q and %v", stream, piece, got, end, want, wantEnd)
		}
		for _, line := range got {
			verb, rest := splitVerb([]byte(line))
			if len(verb) > maxVerb || strings.ContainsAny(verb, " ") || len(verb)+len(rest) > len(line) {
				t.Fatalf("%q is verb %q and rest %q", line, verb, rest)
			}
			a, more := splitArgs(rest)
			if fields := strings.FieldsFunc(string(rest), func(r rune) bool { return r == ' ' }); more != (len(fields) > 2) ||
				!slices.Equal(a.field[:a.n], fields[:a.n]) {
				t.Fatalf("%q has arguments %q, want %q", rest, a.field[:a.n], fields)
			}
		}
	})
}

// cutSlowly is what cutLines should give. It knows nothing of endless lines: the fuzzer's
// streams are shorter.
func cutSlowly(stream string, limit int) (lines []string, end error) {
	for {
		line, rest, found := strings.Cut(stream, "\n")
		if !found {
			return lines, io.EOF
		}
		if len(line)+1 > limit {
			line = "!"
		}
		lines = append(lines, strings.TrimSuffix(line, "\r"))
		stream = rest
	}
}

// TestBareLF: without the quirk a line ends in CR LF, and one that does not is no command, in a
// password's place neither.
func TestBareLF(t *testing.T) {
	for _, tt := range []struct {
		name, sent, want string
		quirks           Quirks
	}{
		{"by default", "NOOP\nNOOP\r\n", "+OK\r\n+OK\r\n", 0},
		{"without the quirk", "NOOP\nNOOP\r\n", "-ERR a line ends in CR LF, not in LF alone\r\n+OK\r\n", NoQuirks},
		{"as a whole line", "\nNOOP\r\n", "-ERR a line ends in CR LF, not in LF alone\r\n+OK\r\n", NoQuirks},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, newFake(), quirks(tt.quirks)).dialTCP().login()
			c.send(tt.sent)
			for want := range strings.Lines(tt.want) {
				c.expect(strings.TrimSuffix(want, "\r\n"))
			}
		})
	}
	t.Run("within SASL", func(t *testing.T) {
		c := start(t, newFake(), quirks(NoQuirks)).dialTCP()
		c.expect("+OK …")
		c.do("AUTH PLAIN", "+ ")
		c.send("AGJvYgBzZWNyZXQ=\n")
		c.expect("-ERR a line ends in CR LF, not in LF alone")
		c.do("NOOP", "-ERR command not valid in this state")
	})
}
