package convert

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// inFiles returns what keeps octets in files.
func inFiles(t *testing.T) func(io.Reader) (io.ReaderAt, int64, error) {
	return func(r io.Reader) (io.ReaderAt, int64, error) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			return nil, 0, err
		}
		t.Cleanup(func() { _ = f.Close() })
		n, err := io.Copy(f, r)
		return f, n, err
	}
}

func read(t *testing.T, from Format, octets string) *mapi.Message {
	t.Helper()
	m, problems, err := Reader{Keep: inFiles(t)}.Read(from, strings.NewReader(octets), int64(len(octets)))
	if err != nil || len(problems) > 0 {
		t.Fatalf("reading %s: %v, %v", from, err, problems)
	}
	return m
}

func written(t *testing.T, to Format, m *mapi.Message) string {
	t.Helper()
	var out bytes.Buffer
	if err := (Writer{}).Write(to, &out, m); err != nil {
		t.Fatalf("writing %s: %v", to, err)
	}
	return out.String()
}

const letter = "From: Ada <ada@sakes.example>\r\nTo: Ben <ben@sakes.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"X-Odd: kept\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain\r\n\r\nthe text\r\n" +
	"--c\r\nContent-Type: text/html\r\n\r\n<p>the text</p>\r\n--c--\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\nthe inner text\r\n" +
	"--b\r\nContent-Type: application/octet-stream; name=file\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n--b--\r\n"

// TestRoundTrips: a message that goes through a format is the same Internet mail afterwards.
func TestRoundTrips(t *testing.T) {
	want := written(t, EML, read(t, EML, letter))
	for _, through := range []Format{EML, TNEF, FastTransfer, Dump} {
		octets := written(t, through, read(t, EML, letter))
		if got, ok := Detect([]byte(octets)[:min(len(octets), HeadSize)]); !ok || got != through {
			t.Errorf("%s is detected as %q", through, got)
		}
		if got := written(t, EML, read(t, through, octets)); got != want {
			t.Errorf("through %s:\n%s\nwant:\n%s", through, got, want)
		}
	}
}

// TestFromMSG: what Outlook has saved becomes Internet mail.
func TestFromMSG(t *testing.T) {
	octets, err := os.ReadFile("../msg/testdata/letter.msg")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := Detect(octets[:HeadSize]); got != MSG || !ok {
		t.Errorf("it is detected as %q", got)
	}
	mail := written(t, EML, read(t, MSG, string(octets)))
	for _, want := range []string{"To: \"Ada\" <ada@sakes.example>\r\n", "Content-Type: message/rfc822", "I am attached.", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("0123456789", 5)))[:60]} {
		if !strings.Contains(mail, want) {
			t.Errorf("%q is not in\n%s", want, mail)
		}
	}
	if err := (Writer{}).Write(MSG, io.Discard, &mapi.Message{}); !errors.Is(err, ErrWriteMSG) {
		t.Errorf("writing .msg: %v", err)
	}
}

func TestFormats(t *testing.T) {
	for name, want := range map[string]Format{
		"a/winmail.dat": TNEF, "WINMAIL.DAT": TNEF, "x.eml": EML, "x.tnef": TNEF, "x.fx": FastTransfer, "x.json": Dump, "x.MSG": MSG, "x.doc": "", "eml": "", "-": "",
	} {
		if got, ok := FormatOfFile(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for head, want := range map[string]Format{
		"": "", "?": "", "\x00\x00\x00\x00": "", "Subject: x\r\n": EML, "From a@b Mon\nSubject: x": EML, "\r\n Received: from": EML, "{\"properties\": []}": Dump,
		"\x03\x00\x0c\x40": FastTransfer, "\x1f\x00\x37\x00\x08\x00\x00\x00": FastTransfer, "%PDF-1.7": "", "no colon here": "",
	} {
		if got, ok := Detect([]byte(head)); got != want || ok != (want != "") {
			t.Errorf("%q: %q", head, got)
		}
	}
	if _, err := ParseFormat("doc"); !errors.Is(err, errFormat) {
		t.Errorf("doc: %v", err)
	}
}

// TestStreams: one of several messages is converted, and the others are told of; none is an error.
func TestStreams(t *testing.T) {
	one := written(t, FastTransfer, read(t, EML, letter))
	m, _, err := Reader{Keep: inFiles(t)}.Read(FastTransfer, strings.NewReader(one+one), int64(2*len(one)))
	if m == nil || !errors.Is(err, ErrMore) {
		t.Errorf("two messages: %v", err)
	}
	if m, _, err := (Reader{}).Read(FastTransfer, strings.NewReader(""), 0); m != nil || !errors.Is(err, ErrEmpty) {
		t.Errorf("no message: %v", err)
	}
}

// TestLargeMessages: an attachment goes through without being in memory, and a dump, which would have it there, is refused.
func TestLargeMessages(t *testing.T) {
	const size = 4 << 20
	name := filepath.Join(t.TempDir(), "large.eml")
	head := strings.Replace(letter, "AAECAwQ=\r\n", "", 1)
	head, end, _ := strings.Cut(head, "\r\n--b--")
	line := strings.Repeat("QUFB", 18) + "\r\n"
	if err := os.WriteFile(name, []byte(head+"\r\n"+strings.Repeat(line, size/54)+"--b--"+end), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	keep := inFiles(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m, _, err := Reader{Keep: keep}.Read(EML, f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []Format{TNEF, FastTransfer} {
		out, w := io.Pipe()
		go func() { _ = w.CloseWithError(Writer{}.Write(to, w, m)) }() // keep has the error
		file, n, err := keep(out)
		if err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
		again, _, err := Reader{Keep: keep}.Read(to, file, n)
		if err != nil {
			t.Fatalf("from %s: %v", to, err)
		}
		if got := again.Attachments[1].Data.Size; got != size/54*54 {
			t.Errorf("through %s: %d octets", to, got)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size {
		t.Errorf("%d octets of memory for messages of %d", took, size)
	}
	m.Attachments[1].Data.Size = DumpMost + 1
	if err := (Writer{}).Write(Dump, io.Discard, m); !errors.Is(err, ErrDump) {
		t.Errorf("a large dump: %v", err)
	}
	if _, _, err := (Reader{}).Read(Dump, f, DumpMost+1); !errors.Is(err, ErrDump) {
		t.Errorf("reading a large dump: %v", err)
	}
}

func TestLost(t *testing.T) {
	m, other := read(t, EML, letter), read(t, EML, letter)
	if lost := Lost(m, other); len(lost) > 0 {
		t.Errorf("of a message itself: %q", lost)
	}
	other.Delete(mapi.PidTagSubject)
	other.Attachments[0].Embedded.Delete(mapi.PidTagBody)
	other.Set(mapi.PidTagBody, mapi.String8{Octets: "another type"})
	want := []string{"0x0037001f PidTagSubject", "attachment 1, in the message, 0x1000001f PidTagBody"}
	if lost := Lost(m, other); !slices.Equal(lost, want) {
		t.Errorf("%q, want %q", lost, want)
	}
}

// TestAsItCame: Internet mail that was given a skeleton is the mail that it was, through other formats.
func TestAsItCame(t *testing.T) {
	const odd = "subject:   odd \r\nX-B: 1\r\nX-A: 2\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\n\r\ntext\r\n--x--\r\nepilogue\r\n"
	keep := inFiles(t)
	m, _, err := Reader{Keep: keep, Skeleton: true}.Read(EML, strings.NewReader(odd), int64(len(odd)))
	if err != nil {
		t.Fatal(err)
	}
	for _, through := range []Format{TNEF, FastTransfer, Dump} {
		var stream, mail bytes.Buffer
		if err := (Writer{}).Write(through, &stream, m); err != nil {
			t.Fatal(err)
		}
		again, _, err := Reader{Keep: keep}.Read(through, bytes.NewReader(stream.Bytes()), int64(stream.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := (Writer{}).Write(EML, &mail, again); err != nil || mail.String() != odd {
			t.Errorf("through %s: %q, %v", through, mail.String(), err)
		}
	}
}
