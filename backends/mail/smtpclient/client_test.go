package smtpclient_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server takes one connection and follows a script: lines "C: x" are expected (a trailing * is
// a wildcard), lines "S: x" are said, "content" takes everything up to the dot, "hang" waits
// for the client to go, and the end of the script closes.
func server(t *testing.T, script string) (address string, content func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		in := bufio.NewReader(conn)
		for _, step := range strings.Split(strings.TrimSpace(script), "\n") {
			step = strings.TrimSpace(step)
			switch said, wanted := strings.CutPrefix(step, "C: "); {
			case wanted:
				line, err := in.ReadString('\n')
				if err != nil && step != "C: *" {
					t.Errorf("wanted %q, got %v", said, err)
					return
				}
				prefix, wild := strings.CutSuffix(said, "*")
				if line = strings.TrimRight(line, "\r\n"); wild && !strings.HasPrefix(line, prefix) || !wild && line != said {
					t.Errorf("the client said %q, not %q", line, said)
					return
				}
			case step == "content":
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						t.Errorf("in the content: %v", err)
						return
					}
					if line == ".\r\n" {
						break
					}
					got.WriteString(line)
				}
			case strings.HasPrefix(step, "octets "):
				var n int
				_, _ = fmt.Sscanf(step, "octets %d", &n)
				_, _ = io.CopyN(&got, in, int64(n))
			case step == "hang":
				_, _ = io.Copy(io.Discard, in)
			default:
				_, _ = io.WriteString(conn, strings.TrimPrefix(step, "S: ")+"\r\n")
			}
		}
	}()
	return l.Addr().String(), func() string { <-done; return got.String() }
}

const hello = `
	S: 220 store.example ready
	C: EHLO gate.example
	S: 250-store.example
	S: 250-PIPELINING
	S: 250-SIZE 1000
	S: 250 8BITMIME`

// four is an envelope with four recipients.
const four = `
	C: MAIL *
	C: RCPT *
	C: RCPT *
	C: RCPT *
	C: RCPT *`

func dial(t *testing.T, address string, o smtpclient.Options) *smtpclient.Client {
	t.Helper()
	o.Hello = "gate.example"
	o.Timeouts = smtpclient.Within(time.Minute)
	c, err := smtpclient.Dial(t.Context(), "tcp", address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send sends, and gives what a backend makes of it.
func send(t *testing.T, c *smtpclient.Client, e smtpclient.Envelope, content io.Reader) ([]backends.Verdict, error) {
	t.Helper()
	outcomes, err := c.Send(t.Context(), e, content)
	return remote.Verdicts("upstream.example", outcomes), remote.SendFailure("send", err)
}

// ask asks, and gives what a backend makes of it.
func ask(t *testing.T, c *smtpclient.Client, e smtpclient.Envelope) ([]backends.Verdict, error) {
	t.Helper()
	outcomes, err := c.Ask(t.Context(), e)
	return remote.Verdicts("upstream.example", outcomes), remote.SendFailure("ask", err)
}

func kinds(verdicts []backends.Verdict) string {
	var all []string
	for _, v := range verdicts {
		s := v.Recipient + " taken"
		if v.Failure != nil {
			s = v.Recipient + " " + v.Failure.Kind.String() + " " + v.Failure.Reply().Code
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func TestVerdicts(t *testing.T) {
	for name, tt := range map[string]struct {
		lmtp    bool
		script  string
		want    string
		content string
	}{
		"two taken, one unknown, one full": {
			script: hello + `
				C: MAIL FROM:<ada@gate.example> SIZE=30
				C: RCPT TO:<a@s>
				C: RCPT TO:<b@s>
				C: RCPT TO:<c@s>
				C: RCPT TO:<d@s>
				S: 250 2.1.0 ok
				S: 250 2.1.5 ok
				S: 550 5.1.1 nobody
				S: 452 4.2.2 full
				S: 250 2.1.5 ok
				C: DATA
				S: 354 go
				content
				S: 250 2.0.0 stored
				C: QUIT
				S: 221 bye`,
			want:    "a@s taken, b@s not found 5.1.1, c@s over quota 4.2.2, d@s taken",
			content: "Subject: x\r\n\r\n..dot\r\n",
		},
		"LMTP answers for each": {
			lmtp: true,
			script: strings.Replace(hello, "EHLO", "LHLO", 1) + four + `
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 550 no
				S: 250 ok
				C: DATA
				S: 354 go
				content
				S: 250 2.0.0 stored
				S: 552 5.2.2 full
				S: 451 4.3.0 later
				C: QUIT
				S: 221 bye`,
			want:    "a@s taken, b@s over quota 4.2.2, c@s not found 5.1.1, d@s temporary 4.3.0",
			content: "Subject: x\r\n\r\n..dot\r\n",
		},
		"MAIL refused stands for all": {
			script: hello + four + `
				S: 552 5.3.4 too large
				S: 503 5.5.1 MAIL first
				S: 503 5.5.1 MAIL first
				S: 503 5.5.1 MAIL first
				S: 503 5.5.1 MAIL first
				C: RSET
				S: 250 ok
				C: QUIT
				S: 221 bye`,
			want: "a@s too large 5.3.4, b@s too large 5.3.4, c@s too large 5.3.4, d@s too large 5.3.4",
		},
		"the connection is lost after the dot": {
			script: hello + four + `
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 550 5.1.1 no
				C: DATA
				S: 354 go
				content`,
			want:    "a@s uncertain 4.4.2, b@s uncertain 4.4.2, c@s uncertain 4.4.2, d@s not found 5.1.1",
			content: "Subject: x\r\n\r\n..dot\r\n",
		},
		"chunks": {
			script: strings.Replace(hello, "8BITMIME", "CHUNKING", 1) + four + `
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 250 ok
				C: BDAT 20 LAST
				octets 20
				S: 554 5.6.0 no
				C: QUIT
				S: 221 bye`,
			want:    "a@s permanent 5.6.0, b@s permanent 5.6.0, c@s permanent 5.6.0, d@s permanent 5.6.0",
			content: "Subject: x\r\n\r\n.dot\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, content := server(t, tt.script)
			c := dial(t, address, smtpclient.Options{LMTP: tt.lmtp})
			verdicts, err := send(t, c, smtpclient.Envelope{
				ReversePath: "ada@gate.example", Recipients: []string{"a@s", "b@s", "c@s", "d@s"}, Size: 30,
			}, strings.NewReader("Subject: x\r\n\r\n.dot\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			if diff := cmp.Diff(tt.want, kinds(verdicts)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.content, content()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A message whose content breaks off is taken back by going before its end.
func TestContentThatFails(t *testing.T) {
	for _, extension := range []string{"8BITMIME", "CHUNKING"} {
		t.Run(extension, func(t *testing.T) {
			start := "C: DATA\nS: 354 go\nhang"
			if extension == "CHUNKING" {
				start = "hang"
			}
			address, _ := server(t, strings.Replace(hello, "8BITMIME", extension, 1)+"\nC: MAIL *\nC: RCPT *\nS: 250 ok\nS: 250 ok\n"+start)
			c := dial(t, address, smtpclient.Options{})
			broken := errors.New("the spool is gone")
			_, err := c.Send(t.Context(), smtpclient.Envelope{Recipients: []string{"a@s"}},
				io.MultiReader(strings.NewReader("Subject: x\r\n"), failing{broken}))
			if !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			if c.Alive() {
				t.Error("the connection would be used again")
			}
		})
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestContextEndsAWait(t *testing.T) {
	address, _ := server(t, hello+"\nC: MAIL *\nC: RCPT *\nhang")
	c := dial(t, address, smtpclient.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Send(ctx, smtpclient.Envelope{Recipients: []string{"a@s"}}, strings.NewReader(""))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestHostileReplies(t *testing.T) {
	for name, script := range map[string]string{
		"a line without end": "S: 220 " + strings.Repeat("x", 10<<10) + "\nhang",
		"lines without end":  strings.Repeat("S: 220-x\n", 300) + "hang",
		"codes that differ":  "S: 220-x\nS: 250 x\nhang",
		"no code":            "S: hello\nhang",
		"nothing":            "hang",
		"not 220":            "S: 554 go away\nhang",
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := server(t, script)
			timeouts := smtpclient.Within(time.Minute)
			if name == "nothing" {
				timeouts.Greeting = 200 * time.Millisecond
			}
			c, err := smtpclient.Dial(t.Context(), "tcp", address, smtpclient.Options{Hello: "x", Timeouts: timeouts})
			if err == nil {
				_ = c.Close()
				t.Fatal("taken")
			}
			if waited := errors.Is(err, os.ErrDeadlineExceeded); waited != (name == "nothing") {
				t.Errorf("it has waited for the end: %v", err)
			}
		})
	}
}

// An address that would smuggle a command is never sent.
func TestNoLineEndsInCommands(t *testing.T) {
	address, _ := server(t, hello+"\nC: *")
	c := dial(t, address, smtpclient.Options{})
	if _, err := c.Send(t.Context(), smtpclient.Envelope{ReversePath: "x>\r\nRCPT TO:<b@s", Recipients: []string{"a@s"}}, strings.NewReader("")); err == nil {
		t.Error("sent")
	}
}
