package notice_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/notice"
)

var (
	noon  = time.Date(2026, 11, 30, 12, 0, 0, 0, time.FixedZone("", 3600))
	later = noon.Add(24 * time.Hour)
)

const original = "From: Ada <ada@near.example>\r\nSubject: Plans\r\nMessage-ID: <1@near.example>\r\n\r\nsecret plans\r\n.\r\n"

func failed(to, code, diagnostic string) notice.Outcome {
	return notice.Outcome{
		Recipient: backends.Recipient{Address: to}, Action: backends.ActionFailed, Code: code,
		Server: "mx.far.example", Diagnostic: diagnostic, LastAttempt: noon,
	}
}

func report(outcomes ...notice.Outcome) notice.Report {
	return notice.Report{
		Hostname: "gate.example", Key: "key-1", Envelope: backends.Envelope{From: "ada@near.example"},
		Arrived: noon.Add(-time.Hour), Date: noon, Outcomes: outcomes, Original: strings.NewReader(original),
	}
}

// part is one part of a report, decoded.
type part struct {
	header textproto.MIMEHeader
	body   string
}

// parse reads a report as a program does that knows MIME.
func parse(t *testing.T, r notice.Report) (mail.Header, []part, string) {
	t.Helper()
	var b bytes.Buffer
	n, err := r.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d octets, %v", n, b.Len(), err)
	}
	text := b.String()
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("a line is not one: %q", line)
		}
	}
	m, err := mail.ReadMessage(&b)
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("it is %s %v, %v", kind, params, err)
	}
	var parts []part
	for reader := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := reader.NextRawPart()
		if err == io.EOF {
			return m.Header, parts, text
		}
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader = p
		if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(p)
		}
		octets, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{p.Header, string(octets)})
	}
}

// fields are the blocks of a delivery-status.
func fields(t *testing.T, p part) (blocks []textproto.MIMEHeader) {
	t.Helper()
	for in := textproto.NewReader(bufio.NewReader(strings.NewReader(p.body + "\r\n\r\n"))); ; {
		h, err := in.ReadMIMEHeader()
		if len(h) > 0 {
			blocks = append(blocks, h)
		}
		if errors.Is(err, io.EOF) {
			return blocks
		}
		if err != nil {
			t.Fatalf("%v in %q", err, p.body)
		}
	}
}

func TestWanted(t *testing.T) {
	all := []backends.Action{backends.ActionDelivered, backends.ActionRelayed, backends.ActionExpanded, backends.ActionDelayed, backends.ActionFailed}
	for _, c := range []struct {
		from   string
		notify backends.Notify
		want   string
	}{
		{"ada@near.example", 0, "delayed failed"},
		{"ada@near.example", backends.NotifyNever, ""},
		{"ada@near.example", backends.NotifyFailure, "failed"},
		{"ada@near.example", backends.NotifyDelay, "delayed"},
		{"ada@near.example", backends.NotifySuccess, "delivered relayed expanded"},
		{"ada@near.example", backends.NotifySuccess | backends.NotifyFailure, "delivered relayed expanded failed"},
		{"", 0, ""},
		{"", backends.NotifyFailure, ""},
	} {
		outcomes := []notice.Outcome{{}}
		for _, action := range all {
			outcomes = append(outcomes, notice.Outcome{Recipient: backends.Recipient{Notify: c.notify}, Action: action})
		}
		var got []string
		for _, o := range notice.Wanted(backends.Envelope{From: c.from}, outcomes) {
			got = append(got, o.Action.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q, NOTIFY %d: %s, want %s", c.from, c.notify, got, c.want)
		}
	}
}

func TestFailed(t *testing.T) {
	r := report(failed("bob@far.example", "5.1.1", "smtp; 550 5.1.1 no such user"), failed("eve@far.example", "", ""))
	r.Envelope.ID, r.Outcomes[0].OriginalRecipient = "QQ314159", "rfc822;Bob@Far.Example"
	r.Outcomes[1].Server = ""
	header, parts, text := parse(t, r)
	for name, want := range map[string]string{
		"To": "<ada@near.example>", "From": "Mail Delivery <postmaster@gate.example>", "Auto-Submitted": "auto-replied",
		"Subject": "Your message was not delivered", "In-Reply-To": "<1@near.example>", "Date": "Mon, 30 Nov 2026 12:00:00 +0100",
		"Content-Transfer-Encoding": "",
	} {
		if header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, header.Get(name), want)
		}
	}
	if len(parts) != 3 || strings.Contains(text, "secret plans") {
		t.Fatalf("%d parts:\n%s", len(parts), text)
	}
	for _, want := range []string{
		"It will not be tried again.", "    bob@far.example\r\n        There is no such address. (5.1.1)\r\n        The server mx.far.example said: 550 5.1.1 no such user\r\n",
		"    eve@far.example\r\n        It was not accepted. (5.0.0)\r\n\r\n", "automatic message of gate.example",
	} {
		if !strings.Contains(parts[0].body, want) {
			t.Errorf("the words lack %q: %s", want, parts[0].body)
		}
	}
	blocks := fields(t, parts[1])
	if parts[1].header.Get("Content-Type") != "message/delivery-status" || len(blocks) != 3 {
		t.Fatalf("%v", parts[1])
	}
	for i, want := range []map[string]string{
		{"Original-Envelope-Id": "QQ314159", "Reporting-Mta": "dns; gate.example", "Arrival-Date": "Mon, 30 Nov 2026 11:00:00 +0100"},
		{
			"Original-Recipient": "rfc822;Bob@Far.Example", "Final-Recipient": "rfc822;bob@far.example", "Action": "failed", "Status": "5.1.1",
			"Remote-Mta": "dns; mx.far.example", "Diagnostic-Code": "smtp; 550 5.1.1 no such user", "Last-Attempt-Date": "Mon, 30 Nov 2026 12:00:00 +0100",
		},
		{"Final-Recipient": "rfc822;eve@far.example", "Status": "5.0.0", "Remote-Mta": "", "Diagnostic-Code": ""},
	} {
		for name, value := range want {
			if got := blocks[i].Get(name); got != value {
				t.Errorf("block %d: %s is %q, want %q", i, name, got, value)
			}
		}
	}
	head, _, _ := strings.Cut(original, "\r\n\r\n")
	if parts[2].header.Get("Content-Type") != "text/rfc822-headers" || parts[2].body != head+"\r\n\r\n" {
		t.Errorf("what comes back is %v", parts[2])
	}
	again, twice := report(r.Outcomes...), new(bytes.Buffer)
	again.Envelope = r.Envelope
	if _, err := again.WriteTo(twice); err != nil || twice.String() != text {
		t.Errorf("made again, it is another: %v\n%s", err, twice)
	}
}

// TestWhatComesBack: all of a message comes back where RET says FULL and it has failed, and its header
// otherwise.
func TestWhatComesBack(t *testing.T) {
	long := strings.NewReader(original + strings.Repeat("x\r\n", 4<<20))
	delayed := notice.Outcome{Recipient: backends.Recipient{Address: "b@far.example"}, Action: backends.ActionDelayed, Code: "4.4.1", RetryUntil: later}
	for name, c := range map[string]struct {
		change func(*notice.Report)
		kind   string
		body   string
		top    string // the encoding of all
	}{
		"FULL": {func(r *notice.Report) { r.Envelope.Return = backends.ReturnFull }, "message/rfc822", original, ""},
		"FULL, 8BITMIME": {func(r *notice.Report) {
			r.Envelope.Return, r.Envelope.Body = backends.ReturnFull, backends.Body8BitMIME
		}, "message/rfc822", original, "8bit"},
		"FULL, with LF": {func(r *notice.Report) {
			r.Envelope.Return, r.Original = backends.ReturnFull, strings.NewReader(strings.ReplaceAll(original, "\r\n", "\n"))
		}, "message/rfc822", original, ""},
		"HDRS":                  {func(r *notice.Report) { r.Envelope.Return = backends.ReturnHeaders }, "text/rfc822-headers", "", ""},
		"FULL, and it is long":  {func(r *notice.Report) { r.Envelope.Return, r.Original = backends.ReturnFull, long }, "text/rfc822-headers", "", ""},
		"FULL, of a delay":      {func(r *notice.Report) { r.Envelope.Return, r.Outcomes = backends.ReturnFull, []notice.Outcome{delayed} }, "text/rfc822-headers", "", ""},
		"a header in UTF-8":     {func(r *notice.Report) { r.Original = strings.NewReader("Subject: Pläne\r\n\r\nx\r\n") }, "text/rfc822-headers; charset=utf-8", "Subject: Pläne\r\n\r\n", ""},
		"no message":            {func(r *notice.Report) { r.Original = nil }, "", "", ""},
		"a message without any": {func(r *notice.Report) { r.Original = strings.NewReader("") }, "", "", ""},
		"no header":             {func(r *notice.Report) { r.Original = strings.NewReader("what is this?\r\nno header\r\n") }, "", "", ""},
	} {
		r := report(failed("bob@far.example", "5.1.1", ""))
		c.change(&r)
		header, parts, _ := parse(t, r)
		if c.kind == "" {
			if len(parts) != 2 {
				t.Errorf("%s: %d parts", name, len(parts))
			}
			continue
		}
		if len(parts) != 3 || parts[2].header.Get("Content-Type") != c.kind || c.body != "" && parts[2].body != c.body || header.Get("Content-Transfer-Encoding") != c.top {
			t.Errorf("%s: %v %v", name, header, parts[2:])
		}
	}
}

// TestInternational: with SMTPUTF8 the parts are those of RFC 6533, and without it all is ASCII.
func TestInternational(t *testing.T) {
	for utf8, want := range map[bool]string{true: "utf-8;jörg@bücher.example", false: `utf-8;j\x{F6}rg@b\x{FC}cher.example`} {
		r := report(failed("jörg@bücher.example", "5.1.1", "smtp; 550 5.1.1 nein"))
		r.Envelope.SMTPUTF8, r.Language = utf8, "de"
		r.Original = strings.NewReader("Subject: Pläne\r\n\r\nx\r\n")
		header, parts, text := parse(t, r)
		if got := fields(t, parts[1])[1].Get("Final-Recipient"); got != want {
			t.Errorf("SMTPUTF8 %t: %s", utf8, got)
		}
		kinds := []string{parts[1].header.Get("Content-Type"), parts[2].header.Get("Content-Type"), header.Get("Content-Transfer-Encoding")}
		expect := []string{"message/delivery-status", "text/rfc822-headers; charset=utf-8", ""}
		if utf8 {
			expect = []string{"message/global-delivery-status", "message/global-headers", "8bit"}
		}
		if fmt.Sprint(kinds) != fmt.Sprint(expect) {
			t.Errorf("SMTPUTF8 %t: %q", utf8, kinds)
		}
		if ascii := strings.IndexFunc(text, func(c rune) bool { return c > 0x7f }) < 0; ascii == utf8 {
			t.Errorf("SMTPUTF8 %t: all ASCII: %t", utf8, ascii)
		}
		if subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil || subject != "Ihre Nachricht wurde nicht zugestellt" {
			t.Errorf("%q, %v", subject, err)
		}
		if !strings.Contains(parts[0].body, "jörg@bücher.example\r\n        Diese Adresse gibt es nicht. (5.1.1)") {
			t.Errorf("the words are %s", parts[0].body)
		}
	}
}

func TestDelayedAndDone(t *testing.T) {
	for action, want := range map[backends.Action]string{
		backends.ActionDelayed: "4.4.1", backends.ActionDelivered: "2.0.0", backends.ActionRelayed: "2.0.0", backends.ActionExpanded: "2.0.0",
	} {
		o := notice.Outcome{Recipient: backends.Recipient{Address: "b@far.example"}, Action: action, Code: "4.4.1", RetryUntil: later}
		_, parts, _ := parse(t, report(o))
		f := fields(t, parts[1])[1]
		if f.Get("Action") != action.String() || f.Get("Status") != want || (f.Get("Will-Retry-Until") != "") != (action == backends.ActionDelayed) {
			t.Errorf("%v", f)
		}
		if strings.Contains(parts[0].body, "It is tried until Tue, 1 Dec 2026") != (action == backends.ActionDelayed) {
			t.Errorf("%s: %s", action, parts[0].body)
		}
	}
	o := failed("b@far.example", "4.4.1", "") // was tried for too long
	_, parts, _ := parse(t, report(o))
	if got := fields(t, parts[1])[1].Get("Status"); got != "4.4.1" || !strings.Contains(parts[0].body, "The server does not answer. (4.4.1)") {
		t.Errorf("%s: %s", got, parts[0].body)
	}
}

// TestHostile: what others have said ends no line, and begins no field or part.
func TestHostile(t *testing.T) {
	evil := "x\r\nSubject: evil\r\n\r\n--=_\nAction: delivered\x00\x1b[2J\u0085"
	r := report(failed("bob@far.example", "5.1.1", "smtp; 550 "+evil+strings.Repeat(" word", 300)))
	r.Envelope.ID, r.Outcomes[0].OriginalRecipient, r.Outcomes[0].Server = evil, "rfc822;"+evil, evil
	r.Original = strings.NewReader("Message-ID: <a>\r\n b@c>\r\nSubject: x\r\n\r\nx\r\n")
	header, parts, _ := parse(t, r)
	if len(parts) != 3 || header.Get("Subject") != "Your message was not delivered" || header.Get("In-Reply-To") != "" {
		t.Errorf("%v, %d parts", header, len(parts))
	}
	if n := strings.Count(parts[0].body, "\n"); n != 7 || strings.ContainsAny(parts[0].body, "\x00\x1b") {
		t.Errorf("the words have %d lines: %q", n, parts[0].body)
	}
	blocks := fields(t, parts[1])
	if len(blocks) != 2 || len(blocks[1]["Action"]) != 1 || blocks[1].Get("Action") != "failed" || blocks[1].Get("Subject") != "" {
		t.Errorf("%q", blocks)
	}
}

// TestFails: what cannot be read or written is told.
func TestFails(t *testing.T) {
	broken := errors.New("broken")
	r := report(failed("bob@far.example", "5.1.1", ""))
	if _, err := r.WriteTo(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("writing: %v", err)
	}
	var unread *notice.OriginalError
	r.Original = seeker{io.MultiReader(strings.NewReader("Subject: x\r\n"), failing{broken})}
	if _, err := r.WriteTo(io.Discard); !errors.Is(err, broken) || !errors.As(err, &unread) {
		t.Errorf("reading: %v", err)
	}
	r.Envelope.Return = backends.ReturnFull
	r.Original = seeker{io.MultiReader(strings.NewReader(original), strings.NewReader(original), failing{broken})}
	if _, err := r.WriteTo(io.Discard); !errors.As(err, &unread) {
		t.Errorf("reading all of it: %v", err)
	}
	r.Original = strings.NewReader(original)
	if _, err := r.WriteTo(failing{broken}); errors.As(err, &unread) {
		t.Errorf("writing: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Read([]byte) (int, error)  { return 0, f.err }

type seeker struct{ io.Reader }

func (seeker) Seek(int64, int) (int64, error) { return 0, nil }

// TestPython: a MIME library that nobody here wrote reads the report, and its delivery-status.
func TestPython(t *testing.T) {
	r := report(failed("bob@far.example", "5.1.1", "smtp; 550 5.1.1 no such user"), failed("eve@far.example", "5.2.2", "smtp; 552 5.2.2 full"))
	r.Envelope.Return = backends.ReturnFull
	python := exec.Command("python3", "-c", `
import email, email.policy, sys
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
print(m.get_content_type(), m.get_param("report-type"), len(m.defects))
text, status, message = m.iter_parts()
print(text.get_content_type(), "no such address" in text.get_content())
for block in status.get_payload(): print(dict(block.items()).get("Final-Recipient"), block["Status"])
print(message.get_content()["Subject"], sum(len(p.defects) for p in m.walk()))
`)
	var in bytes.Buffer
	if _, err := r.WriteTo(&in); err != nil {
		t.Fatal(err)
	}
	python.Stdin = &in
	out, err := python.CombinedOutput()
	want := "multipart/report delivery-status 0\ntext/plain True\nNone None\nrfc822;bob@far.example 5.1.1\nrfc822;eve@far.example 5.2.2\nPlans 0\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, out, want)
	}
}

// TestManyRecipients: with more than 32,766 recipients Exchange's Internet Mail Service told nobody that they had failed
// (Q272672). Here each is named, in reports of a size that servers take, and the message comes back once.
func TestManyRecipients(t *testing.T) {
	const recipients = 32_767
	outcomes := make([]notice.Outcome, recipients)
	for i := range outcomes {
		outcomes[i] = failed(fmt.Sprintf("u%d@far.example", i), "5.1.1", "")
	}
	r := report(notice.Wanted(backends.Envelope{From: "ada@near.example"}, outcomes)...)
	r.Envelope.Return = backends.ReturnFull
	told, whole, keys := 0, 0, make(map[string]bool)
	for _, part := range r.Split() {
		var b bytes.Buffer
		if _, err := part.WriteTo(&b); err != nil || b.Len() > 1<<20 {
			t.Fatalf("%d octets, %v", b.Len(), err)
		}
		told += bytes.Count(b.Bytes(), []byte("\r\nAction: failed\r\n"))
		whole += bytes.Count(b.Bytes(), []byte("secret plans"))
		keys[part.Key] = len(part.Key) <= 64
	}
	if told != recipients || whole != 1 || len(keys) != recipients/1000+1 || !keys["key-1"] || !keys["key-1-33"] {
		t.Errorf("the sender is told of %d, the message comes back %d times, under %v", told, whole, keys)
	}
}

// TestTooLarge: a report that its way would not take has the header of the message in the place of the whole of it, or
// nothing of it; and what was refused for its size comes back to nobody.
func TestTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		most int64
		has  string
		kind string
	}{
		"any size":             {"5.1.1", 0, original, "message/rfc822"},
		"large enough":         {"5.1.1", 1 << 20, original, "message/rfc822"},
		"the header":           {"5.1.1", 50_000, "Subject: Plans\r\n", "text/rfc822-headers"},
		"nothing":              {"5.1.1", 100, "", ""},
		"refused for its size": {"5.3.4", 0, "Subject: Plans\r\n", "text/rfc822-headers"},
	} {
		r := report(failed("bob@far.example", c.code, ""))
		r.Envelope.Return, r.SizeMost = backends.ReturnFull, c.most
		r.Original = strings.NewReader(original + strings.Repeat("x\r\n", 30_000))
		body, envelope, err := r.Fill(buffer.InFolder(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body.Reader())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), c.has) || c.kind != "" && !strings.Contains(string(text), c.kind) || envelope.From != "" || !strings.Contains(string(text), "Action: failed") {
			t.Errorf("%s: %s", name, text[:min(len(text), 3000)])
		}
		if c.kind == "" && strings.Contains(string(text), "Plans") {
			t.Errorf("%s: it has the header", name)
		}
		if err := body.Discard(); err != nil {
			t.Error(err)
		}
	}
}

// TestDevice: the owner of a device is told of failures and delays, whatever the device has asked for, in words that name the
// device, the recipient, the cause and what to do.
func TestDevice(t *testing.T) {
	device := notice.Device{Name: "scanner", Place: "2nd floor\r\nX: y", Owner: "it@near.example"}
	var wanted []string
	for _, a := range []backends.Action{backends.ActionDelivered, backends.ActionRelayed, backends.ActionDelayed, backends.ActionFailed} {
		for _, o := range device.Wanted([]notice.Outcome{{Recipient: backends.Recipient{Notify: backends.NotifyNever | backends.NotifySuccess}, Action: a}}) {
			wanted = append(wanted, o.Action.String())
		}
	}
	if strings.Join(wanted, " ") != "delayed failed" {
		t.Errorf("told of %s", wanted)
	}
	if (notice.Device{Name: "x"}).Wants(backends.ActionFailed) {
		t.Error("somebody is told who is nobody")
	}
	for language, words := range map[string][]string{
		"en": {"Mail of the device scanner was not delivered", "that the device scanner (2nd floor  X: y) has sent", "There is no such address. (5.1.1)", "What to do: correct the recipient's address", "dipylon device show scanner"},
		"de": {"Mail des Geräts scanner wurde nicht zugestellt", "das Gerät scanner (2nd floor  X: y) gesendet hat", "Diese Adresse gibt es nicht. (5.1.1)", "Was zu tun ist: die Adresse", "dipylon device show scanner"},
	} {
		for code, advice := range map[string]string{"5.1.1": words[3], "5.2.3": ": ", "5.7.1": ": ", "5.4.7": ": ", "5.6.3": ": ", "5.9.9": ": "} {
			r := report(failed("far@far.example", code, "smtp; 550 no"))
			r.Device, r.Language = device, language
			header, parts, _ := parse(t, r)
			subject, _ := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
			if header.Get("To") != "<it@near.example>" || subject != words[0] || header.Get("X") != "" {
				t.Errorf("%s: to %s, %q", language, header.Get("To"), subject)
			}
			text := strings.Join(strings.Fields(parts[0].body), " ")
			for _, want := range []string{words[1], "far@far.example", advice, words[4]} {
				if !strings.Contains(text, strings.Join(strings.Fields(want), " ")) {
					t.Errorf("%s, %s: %q is not in %q", language, code, want, text)
				}
			}
			if code == "5.1.1" && !strings.Contains(text, words[2]) {
				t.Errorf("%q is not in %q", words[2], text)
			}
		}
	}
}
