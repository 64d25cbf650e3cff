package smtpclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestDots: no content ends itself, wherever a dot stands and whatever ends the line before it
// (RFC 5321 §4.5.2, §2.3.8).
func TestDots(t *testing.T) {
	tests := map[string]struct{ content, want string }{
		"first octet":                {".\r\nQUIT\r\n", ".\r\nQUIT\r\n"},
		"after CRLF":                 {"a\r\n.\r\nQUIT\r\n", "a\r\n.\r\nQUIT\r\n"},
		"after a bare CR":            {"a\r.\r\nQUIT\r\n", "a .\r\nQUIT\r\n"},
		"after a bare CR, bare ends": {"a\r.\rQUIT\r\n", "a . QUIT\r\n"},
		"after a bare LF":            {"a\n.\r\nQUIT\r\n", "a\r\n.\r\nQUIT\r\n"},
		"LF on both sides":           {"a\n.\nQUIT\r\n", "a\r\n.\r\nQUIT\r\n"},
		"CRLF and LF":                {"a\r\n.\nQUIT\r\n", "a\r\n.\r\nQUIT\r\n"},
		"CRLF and CR":                {"a\r\n.\rQUIT\r\n", "a\r\n. QUIT\r\n"},
		"CR CR LF":                   {"a\r\r\n.\r\r\nQUIT\r\n", "a \r\n. \r\nQUIT\r\n"},
		"last octet":                 {"a\r\n.", "a\r\n.\r\n"},
		"last octet, CR":             {"a\r\n.\r", "a\r\n. \r\n"},
		"two":                        {"..\r\n...\r\n", "..\r\n...\r\n"},
		"nothing":                    {"", ""},
	}
	for _, boundary := range []int{4 << 10, 64 << 10, 256 << 10} {
		for _, end := range []string{"\r\n", "\r", "\n"} {
			for before := -3; before <= 3; before++ {
				filler := strings.Repeat("x", boundary+before-len(end))
				content := filler + end + ".\r\nQUIT\r\n"
				want := filler + map[string]string{"\r\n": "\r\n", "\r": " ", "\n": "\r\n"}[end] + ".\r\nQUIT\r\n"
				tests[fmt.Sprintf("%q at %d%+d", end, boundary, before)] = struct{ content, want string }{content, want}
			}
		}
	}
	readers := map[string]func(io.Reader) io.Reader{"": func(r io.Reader) io.Reader { return r }, " octet by octet": iotest.OneByteReader}
	for _, lmtp := range []bool{false, true} {
		server := (&fakesmtp.Server{LMTP: lmtp}).Start(t)
		c := dial(t, server.Address, smtpclient.Options{LMTP: lmtp})
		for name, tt := range tests {
			for how, reader := range readers {
				if how != "" && len(tt.content) > 10<<10 {
					continue // slow, and the buffer is smaller
				}
				t.Run(fmt.Sprintf("%s%s, LMTP %v", name, how, lmtp), func(t *testing.T) {
					server.Forget()
					verdicts, err := send(t, c, smtpclient.Envelope{Recipients: []string{"a@s"}}, reader(strings.NewReader(tt.content)))
					if err != nil || verdicts[0].Failure != nil {
						t.Fatal(verdicts, err)
					}
					if len(server.Received()) != 1 || server.Received()[0].Content != tt.want {
						t.Errorf("%d messages were taken, or another content", len(server.Received()))
					}
				})
			}
		}
	}
}

// TestLongReplies: what a server says is bounded, in octets and in lines, also where the reply
// of many lines is one that is wanted.
func TestLongReplies(t *testing.T) {
	for name, reply := range map[string]string{
		"EHLO":         strings.Repeat("S: 250-SIZE\n", 10000),
		"long lines":   "S: 250-" + strings.Repeat("x", 5<<10) + "\n",
		"without text": strings.Repeat("S: 250-\n", 10000),
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := server(t, "S: 220 x\nC: EHLO gate.example\n"+reply+"hang")
			_, err := smtpclient.Dial(t.Context(), "tcp", address, smtpclient.Options{Hello: "gate.example", Timeouts: smtpclient.Within(time.Minute)})
			if err == nil || !strings.Contains(err.Error(), "too") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNothingIsSmuggled: no value ends the command that it stands in.
func TestNothingIsSmuggled(t *testing.T) {
	hostile := []string{
		"a@s\r\nRCPT TO:<b@s", "a@s\nDATA", "a@s\rDATA", "a@s>\r\nDATA\r\n", "a@s> SIZE=1", "a@s>", "<a@s", "a@s\x00", "a b@s", "a@s b", `"a@s`, `"a"b@s`, `"a\"@s`,
		"a@s,b@s", "a@b@s", "@b:a@s", "a@", "@s", "a", "a@s\x7f", "a@s\x85\xff",
	}
	for _, address := range hostile {
		t.Run(fmt.Sprintf("%q", address), func(t *testing.T) {
			server := (&fakesmtp.Server{Offers: []string{"SMTPUTF8"}}).Start(t)
			c := dial(t, server.Address, smtpclient.Options{})
			verdicts, err := send(t, c, smtpclient.Envelope{ReversePath: "x@s", Recipients: []string{address, "good@s"}}, strings.NewReader(letter))
			if err != nil || verdicts[1].Failure != nil || verdicts[0].Failure == nil || verdicts[0].Failure.Temporary() {
				t.Fatal(verdicts, err)
			}
			_, err = send(t, c, smtpclient.Envelope{ReversePath: address, Recipients: []string{"good@s"}}, strings.NewReader(letter))
			if f := backends.AsFailure(err); f == nil || f.Temporary() {
				t.Errorf("as a reverse-path: %v", err)
			}
			if len(server.Received()) != 1 {
				t.Errorf("%d messages", len(server.Received()))
			}
			for _, command := range server.Commands() {
				if strings.Contains(command, "b@s") && address != "good@s" || strings.HasPrefix(command, "DATA") != (command == "DATA") {
					t.Errorf("the server was told %q", command)
				}
			}
		})
	}
	for _, address := range []string{`"a>b"@s`, `"a b"@s`, `"a\"b"@s`, `"@"@s`, "a..b@s", ".a@s", "a.@s", "a+b@s", "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]"} {
		t.Run("legal "+address, func(t *testing.T) {
			server := (&fakesmtp.Server{}).Start(t)
			c := dial(t, server.Address, smtpclient.Options{})
			verdicts, err := send(t, c, smtpclient.Envelope{ReversePath: address, Recipients: []string{address}}, strings.NewReader(letter))
			if err != nil || verdicts[0].Failure != nil || server.Copies(letter)[address] != 1 {
				t.Error(verdicts, err, server.Received())
			}
		})
	}
}

// TestAddressesInUTF8: RFC 6531 §3.2.
func TestAddressesInUTF8(t *testing.T) {
	const refused = "permanent 5.6.7"
	for name, tt := range map[string]struct {
		offers  string
		from    string
		to      []string
		want    []string // the paths that were told, or the failures
		mail    string
		failure string // of the call
	}{
		"a local part, without SMTPUTF8":      {"", "a@s", []string{"jörg@s", "b@s"}, []string{refused, "b@s"}, "MAIL FROM:<a@s>", ""},
		"only such":                           {"", "a@s", []string{"jörg@s"}, []string{refused}, "", ""},
		"a domain, without SMTPUTF8":          {"", "a@s", []string{"b@bücher.example"}, []string{"b@xn--bcher-kva.example"}, "MAIL FROM:<a@s>", ""},
		"a domain that is none":               {"", "a@s", []string{"b@bü_.example"}, []string{"not found 5.1.2"}, "", ""},
		"a sender, without SMTPUTF8":          {"", "jörg@s", []string{"b@s"}, nil, "", refused},
		"a sender's domain, without SMTPUTF8": {"", "a@bücher.example", []string{"b@s"}, []string{"b@s"}, "MAIL FROM:<a@xn--bcher-kva.example>", ""},
		"with SMTPUTF8":                       {"SMTPUTF8", "a@s", []string{"jörg@s"}, []string{"jörg@s"}, "MAIL FROM:<a@s> SMTPUTF8", ""},
		"a sender, with SMTPUTF8":             {"SMTPUTF8", "jörg@s", []string{"b@s"}, []string{"b@s"}, "MAIL FROM:<jörg@s> SMTPUTF8", ""},
		"ASCII, with SMTPUTF8":                {"SMTPUTF8", "a@s", []string{"b@s"}, []string{"b@s"}, "MAIL FROM:<a@s>", ""},
	} {
		for _, lmtp := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, LMTP %v", name, lmtp), func(t *testing.T) {
				server := (&fakesmtp.Server{LMTP: lmtp, Offers: strings.Fields(tt.offers)}).Start(t)
				c := dial(t, server.Address, smtpclient.Options{LMTP: lmtp})
				e := smtpclient.Envelope{ReversePath: tt.from, Recipients: tt.to}
				for how, call := range map[string]func() ([]backends.Verdict, error){
					"asked": func() ([]backends.Verdict, error) { return ask(t, c, e) },
					"sent":  func() ([]backends.Verdict, error) { return send(t, c, e, strings.NewReader(letter)) },
				} {
					verdicts, err := call()
					if got := told(backends.AsFailure(err)); got != tt.failure {
						t.Fatalf("%s: the call gives %q, want %q", how, got, tt.failure)
					}
					for i, v := range verdicts {
						if got := told(v.Failure); strings.Contains(tt.want[i], "@") != (got == "") || got != "" && got != tt.want[i] {
							t.Errorf("%s: %s: %q, want %q", how, v.Recipient, got, tt.want[i])
						}
					}
				}
				copies := server.Copies(letter)
				for _, want := range tt.want {
					if strings.Contains(want, "@") && copies[want] != 1 {
						t.Errorf("no copy for %s in %v", want, copies)
					}
				}
				if all := strings.Join(server.Commands(), "\n"); tt.mail != "" && !strings.Contains(all, tt.mail+"\n") {
					t.Errorf("%s is not in %q", tt.mail, all)
				}
			})
		}
	}
}

func told(f *backends.Failure) string {
	if f == nil {
		return ""
	}
	return f.Kind.String() + " " + f.Reply().Code
}

// TestContextThatIsOver: a context that ends between two waits ends the second one, too.
func TestContextThatIsOver(t *testing.T) {
	address, _ := server(t, hello+"\nhang")
	c := dial(t, address, smtpclient.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	content := readerFunc(func([]byte) (int, error) { return 0, io.EOF })
	cancel(gone)
	done := make(chan error, 1)
	go func() {
		_, err := c.Send(ctx, smtpclient.Envelope{Recipients: []string{"a@s"}}, content)
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits on")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestServerThatIsOurselves: mail would come back.
func TestServerThatIsOurselves(t *testing.T) {
	for name, script := range map[string]string{
		"in the greeting":  "S: 220 Gate.Example. ESMTP\nhang",
		"in EHLO's answer": "S: 220 ready\nC: EHLO *\nS: 250 gate.example hello\nhang",
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := server(t, script)
			_, err := smtpclient.Dial(t.Context(), "tcp", address, smtpclient.Options{Hello: "gate.example", NotHello: true, Timeouts: smtpclient.Within(time.Minute)})
			if loop := (*smtpclient.LoopError)(nil); !errors.As(err, &loop) {
				t.Errorf("got %v", err)
			}
		})
	}
	server := (&fakesmtp.Server{}).Start(t)
	c, err := smtpclient.Dial(t.Context(), "tcp", server.Address, smtpclient.Options{Hello: "gate.example", NotHello: true, Timeouts: smtpclient.Within(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
