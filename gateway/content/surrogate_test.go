package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends/mail/header"
)

const (
	utf8Trace = "Received: from mail.corpus.example (mail.corpus.example [192.0.2.7])\r\n\tby gateway.example with UTF8SMTPS id abcdefgh;\r\n\tMon, 09 Nov 2026 08:01:02 +0100\r\n"
	utf8Sign  = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=corpus.example; s=s;\r\n\th=from:to:subject; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
)

// writerOnly is a message that writes itself, in pieces.
type writerOnly struct {
	io.ReadCloser
	text  string
	piece int
}

func (w *writerOnly) WriteTo(to io.Writer) (int64, error) {
	for rest := w.text; rest != ""; {
		n := min(w.piece, len(rest))
		if _, err := io.WriteString(to, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return int64(len(w.text)), nil
}

// shown gives the surrogate of a message in each way that it can come, and wants all to agree.
func shown(t *testing.T, message string) string {
	t.Helper()
	whole, err := io.ReadAll(Surrogate(t.Context(), io.NopCloser(strings.NewReader(message))))
	if err != nil {
		t.Fatal(err)
	}
	bit, err := io.ReadAll(Surrogate(t.Context(), io.NopCloser(iotest.OneByteReader(strings.NewReader(message)))))
	if err != nil || !bytes.Equal(bit, whole) {
		t.Errorf("octet by octet it is %q, %v", bit, err)
	}
	for _, piece := range []int{1, 2, 3, 7, 64, 1 << 20} {
		var b bytes.Buffer
		n, err := Surrogate(t.Context(), &writerOnly{text: message, piece: piece}).(io.WriterTo).WriteTo(&b)
		if err != nil || !bytes.Equal(b.Bytes(), whole) || n != int64(b.Len()) {
			t.Errorf("in pieces of %d it is %q (%d, %v), not %q", piece, b.Bytes(), n, err, whole)
		}
	}
	if len(whole) != len(message) {
		t.Errorf("%d octets became %d (I6):\n%s", len(message), len(whole), whole)
	}
	return string(whole)
}

func TestSurrogate(t *testing.T) {
	message := utf8Trace + utf8Sign + "From: Jörg Müller <jörg@bücher.example>, Ada <ada@bücher.example>\r\n" +
		"To: \"Grüße\" <bob@store.example>\r\nSubject: Grüße aus Köln\r\nX-Note: schön\r\n" +
		"Content-Type: text/plain; charset=utf-8; name=\"Öl.txt\"\r\nMessage-ID: <ü@corpus.example>\r\n\r\nGrüße im Text\r\n"
	got := shown(t, message)
	header, body, _ := strings.Cut(got, "\r\n\r\n")
	if !isASCII([]byte(header)) {
		t.Errorf("the header is\n%s", header)
	}
	if body != "Grüße im Text\r\n" {
		t.Errorf("the body is %q", body)
	}
	parsed, err := mail.ReadMessage(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	decoder := &mime.WordDecoder{}
	for field, want := range map[string]string{"Subject": "Grüße aus Köln", "X-Note": "schön"} {
		if text, err := decoder.DecodeHeader(parsed.Header.Get(field)); err != nil || text != want {
			t.Errorf("%s is %q, %v", field, text, err)
		}
	}
	to, err := parsed.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Name != "Grüße" || to[0].Address != "bob@store.example" {
		t.Errorf("To is %v, %v", to, err)
	}
	from, err := decoder.DecodeHeader(parsed.Header.Get("From"))
	if err != nil || from != "Jörg Müller Internationalized address jörg@bücher.example removed:;, \"Ada\" <ada@xn--bcher-kva.example>" {
		t.Errorf("From is %q, %v", from, err)
	}
	if _, parameters, err := mime.ParseMediaType(parsed.Header.Get("Content-Type")); err != nil || parameters["name"] != "Öl.txt" {
		t.Errorf("the parameters are %v, %v", parameters, err)
	}
	if parsed.Header.Get("Message-ID") != "" {
		t.Error("a Message-ID that cannot be written is there")
	}
	if parsed.Header.Get("DKIM-Signature") != "" {
		t.Error("a signature stays of a header that is another")
	}
	for line := range strings.Lines(header) {
		if len(line) > 78+2 {
			t.Errorf("the line is too long: %q", line)
		}
	}
}

// TestSurrogateOfMany: whatever the header, the surrogate has as many octets, its body is as it
// was, and what needs no surrogate is not touched.
func TestSurrogateOfMany(t *testing.T) {
	for _, c := range []struct {
		name, header string
		same         bool
	}{
		{"ASCII", "From: a@b.example\r\nSubject: plain\r\n\r\n", true},
		{"no field", "\r\n", true},
		{"nothing", "", true},
		{"latin1", "Subject: Gr\xfc\xdfe\r\n\r\n", true},
		{"UTF-8 in the body alone", "Subject: plain\r\n\r\nGrüße\r\n\r\nGrüße\r\n", true},
		{"no body, no empty line", "Subject: Grüße\r\n", false},
		{"one octet over", "Subject: ü\r\n\r\n", false},
		{"nothing to spare", "Subject: Grüße aus Köln, und viele davon\r\n\r\n", false},
		{"all to leave out", "Message-ID: <ü@b.example>\r\n\r\n", false},
		{"less to leave out than a filler takes", "Date: ü\r\n\r\n", false},
		{"to spare, too little for a filler", "Date: ü\r\nA: b\r\n\r\n", false},
		{"a name that is none", "Grüße: a\r\n\r\n", false},
		{"a line that is no field", "Subject: a\r\nGrüße\r\n\r\n", false},
		{"an address list that is none", "From: jörg@@, <\r\n\r\n", false},
		{"a group", "To: Gäste: a@b.example, c@d.example;\r\n\r\n", false},
		{"a type that is none", "Content-Type: tëxt\r\n\r\n", false},
		{"folded", utf8Trace + "Subject: Grüße\r\n aus\r\n\tKöln\r\n\r\n", false},
		{"a long subject", utf8Trace + utf8Sign + "Subject: " + strings.Repeat("Grüße ", 40) + "\r\n\r\n", false},
		{"long, with much to spare", strings.Repeat(utf8Trace, 20) + utf8Sign + "Subject: " + strings.Repeat("Grüße ", 40) + "\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := shown(t, c.header)
			if same := got == c.header; same != c.same {
				t.Errorf("it is %q", got)
			}
			if !c.same && !isASCII([]byte(got)) {
				t.Errorf("it is not ASCII: %q", got)
			}
		})
	}
}

// TestSurrogateIsBounded: a header without an end is not held for ever.
func TestSurrogateIsBounded(t *testing.T) {
	message := "Subject: ü\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\r\n", header.Most/900+10)
	if got := shown(t, message); got != message {
		t.Error("a header over the bound is changed")
	}
}

// TestSurrogateOfAPart (I3): a header whose reading fails is not given, in part neither.
func TestSurrogateOfAPart(t *testing.T) {
	broken := errors.New("broken")
	s := Surrogate(t.Context(), io.NopCloser(io.MultiReader(strings.NewReader("Subject: Grü"), iotest.ErrReader(broken))))
	if got, err := io.ReadAll(s); !errors.Is(err, broken) || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestSurrogateIsGivenUp: somebody waits who holds a mailbox's lock. When that ends, so does the
// work on a header, and nothing of the message is given (I3).
func TestSurrogateIsGivenUp(t *testing.T) {
	message := strings.Repeat("a:é\r\n", 3500) + "\r\nbody\r\n"
	gone := errors.New("the client has gone")
	for _, way := range []struct {
		name  string
		inner io.ReadCloser
	}{
		{"read", io.NopCloser(io.MultiReader(strings.NewReader(message)))},
		{"written", &writerOnly{text: message, piece: 1000}},
		{"written, and without a body", &writerOnly{text: strings.TrimSuffix(message, "\r\nbody\r\n"), piece: 1000}},
	} {
		t.Run(way.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			counted := &endsSoon{Context: ctx, left: 100, end: func() { cancel(gone) }}
			var b bytes.Buffer
			if n, err := io.Copy(&b, Surrogate(counted, way.inner)); !errors.Is(err, gone) || n > 0 || b.Len() > 0 {
				t.Errorf("%d octets are given, %v", n, err)
			}
			if counted.left < -10 {
				t.Errorf("it went on for %d fields", -counted.left)
			}
		})
	}
}

// endsSoon is a context that ends once it has been asked so often.
type endsSoon struct {
	context.Context
	left int
	end  func()
}

func (c *endsSoon) Err() error {
	if c.left--; c.left == 0 {
		c.end()
	}
	return c.Context.Err()
}

// TestSurrogateOfTooManyFields: a header of more fields than anybody writes is not taken apart.
func TestSurrogateOfTooManyFields(t *testing.T) {
	if got := shown(t, strings.Repeat("a:é\r\n", header.FieldsMost+1)+"\r\né\r\n"); got != strings.Repeat("a:??\r\n", header.FieldsMost+1)+"\r\né\r\n" {
		t.Errorf("it is %.100q", got)
	}
	if got := shown(t, "Subject: ü\r\n"+strings.Repeat("a:é\r\n", 3500)+"\r\n"); !isASCII([]byte(got)) {
		t.Errorf("it is %.100q", got)
	}
}

func FuzzSurrogate(f *testing.F) {
	f.Add([]byte(utf8Trace + "From: Jörg <jörg@bücher.example>\r\nSubject: Grüße\r\n\r\nbody\r\n"))
	f.Add([]byte("Content-Type: text/plain; name=\"Öl\"\r\nTo: ü:;\r\n\r\n"))
	f.Add([]byte("0ö:\r\n\r\n"))
	f.Add([]byte(utf8Trace + "To: =?utf-8?q?a=0D=0AX:_b?= <a@b.example>, \"\\\r\n b\" <é@d.example>\r\nContent-Type: a/b; x=é; p*=utf-8''a%0D%0AX:%20b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		got := shown(t, string(message))
		end := headerEnd(message, true)
		if end < 0 {
			return
		}
		if got[end:] != string(message[end:]) {
			t.Errorf("the body has changed: %q", got)
		}
		if front := got[:end]; front != string(message[:end]) {
			if !isASCII([]byte(front)) || !strings.HasSuffix(front, "\r\n") {
				t.Errorf("the header is %q", front)
			}
			sameFields(t, string(message[:end]), front)
		}
	})
}

// sameFields wants no field and no line end in a surrogate that was not in the header it stands for.
func sameFields(t *testing.T, original, surrogate string) {
	t.Helper()
	before, _, err := header.Read(strings.NewReader(original), int64(len(original)))
	if err != nil {
		if surrogate != string(masked([]byte(original))) {
			t.Errorf("%q, which cannot be read, became %q", original, surrogate)
		}
		return
	}
	after, _, err := header.Read(strings.NewReader(surrogate), int64(len(surrogate)))
	if err != nil {
		t.Errorf("%q became %q, which cannot be read: %v", original, surrogate, err)
		return
	}
	left := before.Fields
	for i, f := range after.Fields {
		at := slices.IndexFunc(left, func(b header.Field) bool { return b.Name == f.Name })
		if at >= 0 {
			left = left[at+1:]
		} else if last := i == len(after.Fields)-1; !last || f.Name+": " != fillerName {
			t.Errorf("%q of %q has a field %q that was not there", surrogate, original, f.Name)
		}
	}
	bare := func(s string) int {
		s = strings.ReplaceAll(s, "\r\n", "")
		return strings.Count(s, "\r") + strings.Count(s, "\n")
	}
	if bare(surrogate) > bare(original) {
		t.Errorf("%q of %q has a bare CR or LF that was not there", surrogate, original)
	}
}

// TestSurrogateAddsNoField: what is decoded and written again brings no line end of its own into
// the header, wherever it was hidden.
func TestSurrogateAddsNoField(t *testing.T) {
	for name, field := range map[string]string{
		"a name":                   "To: =?utf-8?q?a=0D=0AX-Forged:_b?= <a@b.example>, é <c@d.example>",
		"a name in base64":         "To: =?utf-8?b?YQ0KWC1Gb3JnZWQ6IGI=?= <a@b.example>, é <c@d.example>",
		"a name of a removed one":  "To: =?utf-8?q?a=0D=0AX-Forged:_b?= <é@b.example>",
		"a quoted name":            "To: \"é\\\r\n X-Forged: b\" <a@b.example>",
		"a comment":                "To: a@b.example (=?utf-8?q?a=0D=0AX-Forged:_b?= é)",
		"a group":                  "To: =?utf-8?q?a=0D=0AX-Forged:_b?= é:;",
		"a parameter":              "Content-Type: a/b; x=é; p*=utf-8''a%0D%0AX-Forged:%20b",
		"a parameter in pieces":    "Content-Disposition: a; x=é; p*0*=utf-8''a%0D; p*1*=%0AX-Forged:%20b",
		"a text with encoded ones": "Subject: é =?utf-8?q?a=0D=0AX-Forged:_b?=",
		"a local part":             "To: \"a\\\r\n X-Forged: b\"@é.example",
	} {
		t.Run(name, func(t *testing.T) {
			got := shown(t, utf8Trace+utf8Sign+field+"\r\nX-Last: x\r\n\r\n")
			for line := range strings.Lines(got) {
				if strings.HasPrefix(line, "X-Forged") {
					t.Errorf("it is %q", got)
				}
			}
			if !isASCII([]byte(got)) || strings.Count(got, "\n") != strings.Count(got, "\r\n") {
				t.Errorf("it is %q", got)
			}
		})
	}
}
