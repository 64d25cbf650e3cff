//go:build linux

package growth

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

func itoa(n int) string { return strconv.Itoa(n) }

// lists of mailboxes that strangers have filled.
var lists = []pass{
	{"a Maildir of many messages", 300, func(t *testing.T, n int) {
		drop := filled(t, n)
		for _, err := range drop.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"removed from a Maildir, half of which is gone", 300, func(t *testing.T, n int) {
		drop := filled(t, n)
		var ids []backends.MessageID
		for e, err := range drop.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		folder := filepath.Join(root, "new")
		for _, id := range ids[:n/2] {
			if err := os.Remove(filepath.Join(folder, string(id))); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, folder)
		if _, err := drop.Remove(t.Context(), ids[:n/2], backends.DisposalRemove); err != nil {
			t.Fatal(err)
		}
	}},
	recognised("of different sizes", func(i int) int64 { return int64(i) }, func(i int) int64 { return int64(-i) }),
	recognised("of one size", func(int) int64 { return 1 }, func(int) int64 { return 1 }),
	recognised("of other sizes", func(i int) int64 { return int64(i) }, func(i int) int64 { return int64(1_000_000 + i) }),
}

// root is the mailbox that filled has filled.
var root string

// settle makes a folder's last change an old one: a folder that changes is read several times.
func settle(t *testing.T, folder string) {
	t.Helper()
	if err := os.Chtimes(folder, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
}

// filled opens a Maildir of so many messages.
func filled(t *testing.T, n int) backends.Maildrop {
	dir := t.TempDir()
	root = filepath.Join(dir, "mail", "b.example", "a")
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("%d.M1P1.host", 1_700_000_000+i)
		if err := os.WriteFile(filepath.Join(root, "new", name), []byte("Subject: a\n\na\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, filepath.Join(root, "new"))
	accounts := "accounts:\n  - address: a@b.example\n"
	if err := os.WriteFile(filepath.Join(dir, "mail", "accounts.yaml"), []byte(accounts), 0o600); err != nil {
		t.Fatal(err)
	}
	store := maildir.New()
	t.Cleanup(func() { _ = store.Close() })
	err := store.Configure(t.Context(), backends.Settings{BaseDir: dir, Hostname: "h.example", Domains: []string{"b.example"}, Raw: []byte(`{"root": "mail", "act_for": true}`)})
	if err != nil {
		t.Fatal(err)
	}
	drop, err := store.Open(t.Context(), backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialImpersonation, User: "a@b.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = drop.Close() })
	return drop
}

// recognised has messages with one fingerprint, which anybody can send, and as many imports.
func recognised(name string, imported, listed func(i int) int64) pass {
	return pass{"unique-ids of messages that look alike, " + name, 100, func(t *testing.T, n int) {
		x := index.New(index.Options{DB: databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: t.TempDir()})})
		key := folder.Key{Store: "s", Account: "a"}
		imports, candidates := make([]index.Import, n), make([]index.Candidate, n)
		alike, err := index.FingerprintOf(strings.NewReader("Subject: a\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			imports[i] = index.Import{UIDL: itoa(i), Digest: alike.Digest, Digested: true, Size: imported(i)}
			candidates[i] = index.Candidate{ID: itoa(i), Fingerprint: alike, Size: listed(i)}
		}
		if err := x.Import(t.Context(), key, imports); err != nil {
			t.Fatal(err)
		}
		folder, err := x.Open(t.Context(), key, folder.Key{}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := folder.Recognise(t.Context(), candidates); err != nil {
			t.Fatal(err)
		}
	}}
}

// sessions are whole conversations on sockets.
var sessions = []pass{
	retrieved("lines", "a\r\n"), retrieved("CR", "\r"), retrieved("LF", "\n"), retrieved("dots", ".\r\n"), retrieved("CR and dots", "\r."),
	received("lines", "a\r\n", 250), received("dots", ".a\r\n", 250), received("CR", "\r", 250), received("LF", "\n", 250), received("CR CR LF", "\r\r\n", 250),
	received("fields", "a:\r\n", 250), received("folded lines", " a\r\n", 250),
	{"received: recipients", 200, func(t *testing.T, n int) {
		talk(t, &smtp.Server{Backend: anybody{}, Hostname: "h.example", Limits: smtp.Limits{Recipients: -1}},
			"EHLO c\r\nMAIL FROM:<>\r\n"+strings.Repeat("RCPT TO:<a@b.example>\r\n", n)+"QUIT\r\n")
	}},
	sent("lines", "a\r\n"), sent("dots", ".\r\n"), sent("no line end", "a"),
	{"sent: recipients", 200, func(t *testing.T, n int) {
		var to []string
		for i := range n {
			to = append(to, itoa(i)+"@b.example")
		}
		send(t, to, "a\r\n")
	}},
}

// anybody takes everything.
type anybody struct{}

func (anybody) NewSession(context.Context, smtp.Conn) (smtp.Session, error) { return anybody{}, nil }
func (anybody) Mechanisms() []string                                        { return nil }
func (anybody) Authenticate(context.Context, string) (sasl.Exchange[sasl.Accepted], error) {
	return nil, &smtp.Error{Code: 504, Text: "no"}
}
func (anybody) Mail(context.Context, address.Path, smtp.MailOptions) error { return nil }
func (anybody) Rcpt(context.Context, address.Path, smtp.RcptOptions) error { return nil }
func (anybody) Reset()                                                     {}
func (anybody) Close()                                                     {}
func (anybody) Data(_ context.Context, _ string, body io.Reader) (string, error) {
	_, err := io.Copy(io.Discard, body)
	return "", err
}

func received(name, part string, code int) pass {
	return pass{"received: " + name, 4000, func(t *testing.T, n int) {
		server := &smtp.Server{Backend: anybody{}, Hostname: "h.example", BareNewlines: smtp.NormaliseBareNewlines, AllowEarlyTalkers: true}
		replies := talk(t, server, "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\nSubject: a\r\n"+strings.Repeat(part, n)+"\r\n.\r\nQUIT\r\n")
		if !strings.Contains(replies, "\r\n"+itoa(code)+" 2.0.0") {
			t.Fatal(replies)
		}
	}}
}

// talk says everything at once and gives what is answered.
func talk(t *testing.T, server *smtp.Server, text string) string {
	return conversation(t, server.Serve, server.Shutdown, text)
}

func conversation(t *testing.T, serve func(context.Context, net.Listener) error, shutdown func(context.Context) error, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(context.Background(), l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }()
	var replies bytes.Buffer
	if _, err := io.Copy(&replies, conn); err != nil {
		t.Fatal(err)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-served
	return replies.String()
}

// one is a POP3 server of one mailbox with one message.
type one string

func (o one) NewSession(context.Context, pop3.Conn) (pop3.Session, error) { return o, nil }
func (o one) Password(context.Context, string, []byte) (*pop3.Login, error) {
	return &pop3.Login{Maildrop: oneDrop{string(o)}}, nil
}
func (one) Mechanisms() []string { return nil }
func (one) Close()               {}
func (one) Authenticate(context.Context, string) (sasl.Exchange[pop3.Login], error) {
	return nil, &pop3.Error{Text: "no"}
}

type oneDrop struct{ text string }

func (oneDrop) Len() int                                   { return 1 }
func (d oneDrop) Size(context.Context, int) (int64, error) { return int64(len(d.text)), nil }
func (oneDrop) UIDL(int) string                            { return "a" }
func (oneDrop) Update(context.Context, []int) error        { return nil }
func (oneDrop) Close() error                               { return nil }
func (d oneDrop) Open(context.Context, int, int) (pop3.Content, error) {
	return oneMessage{strings.NewReader(d.text)}, nil // it writes itself, all at once
}

type oneMessage struct{ *strings.Reader }

func (oneMessage) Close() error { return nil }

func retrieved(name, part string) pass {
	return pass{"retrieved: " + name, 4000, func(t *testing.T, n int) {
		server := &pop3.Server{Backend: one(strings.Repeat(part, n)), InsecureAuth: true}
		conversation(t, server.Serve, server.Shutdown, "USER a\r\nPASS b\r\nRETR 1\r\nTOP 1 5\r\nQUIT\r\n")
	}}
}

func sent(name, part string) pass {
	return pass{"sent: " + name, 4000, func(t *testing.T, n int) { send(t, []string{"a@b.example"}, strings.Repeat(part, n)) }}
}

// send sends to a server that takes everything.
func send(t *testing.T, to []string, text string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go taker(l)
	client, err := smtpclient.Dial(t.Context(), "tcp", l.Addr().String(), smtpclient.Options{Hello: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Send(t.Context(), smtpclient.Envelope{Recipients: to}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

func taker(l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "220 h\r\n")
	data := false
	for in := bufio.NewReader(conn); ; {
		line, err := in.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
		case err != nil:
			return
		case data && string(line) != ".\r\n":
		case !data && bytes.HasPrefix(line, []byte("DATA")):
			data = true
			fmt.Fprint(conn, "354 go\r\n")
		default:
			data = false
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}
