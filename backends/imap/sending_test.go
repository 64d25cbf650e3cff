//go:build linux

package imap_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// relay is the mail server that Dovecot's submission server hands its mail to. It knows by the
// local part who is refused and who has to wait.
type relay struct {
	address string
	later   sync.Map                   // addresses that are put off, besides later@
	lmtp    atomic.Pointer[remote.Hop] // where the store's own recipients have their mail; nil: nobody is one

	mu    sync.Mutex
	taken []string // contents
}

// putOff puts an address off until undone.
func (r *relay) putOff(_ context.Context, address string) (undo func(), err error) {
	r.later.Store(address, nil)
	return func() { r.later.Delete(address) }, nil
}

func startRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return r
}

func (r *relay) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 relay.example")
	var to []string
	for {
		line, err := in.ReadString('\n')
		_, path, _ := strings.Cut(strings.TrimSpace(line), "<")
		path, _, _ = strings.Cut(path, ">")
		_, later := r.later.Load(path)
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case err != nil:
			return
		case verb == "EHLO":
			say("250-relay.example\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME")
		case strings.Contains(line, "<nobody@"):
			say("550 5.1.1 there is nobody")
		case verb == "RCPT" && later, strings.Contains(line, "<later@"):
			say("450 4.2.0 not now")
		case verb == "MAIL":
			to = nil
			say("250 2.1.0 ok")
		case verb == "RCPT":
			to = append(to, path)
			say("250 2.1.5 ok")
		case verb == "DATA":
			say("354 go on")
			if err := r.deliver(to, r.take(in)); err != nil {
				say("451 4.3.0 " + strings.ReplaceAll(err.Error(), "\n", " "))
			} else {
				say("250 2.0.0 taken")
			}
		case verb == "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// deliver gives the store's own recipients their mail.
func (r *relay) deliver(to []string, content string) error {
	lmtp := r.lmtp.Load()
	if lmtp == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	verdicts, err := lmtp.Deliver(ctx, backends.Delivery{Envelope: backends.Envelope{From: "ada@peer.example"}, Recipients: backends.To(to...), Size: int64(len(content))}, "", strings.NewReader(content), nil)
	for _, v := range verdicts {
		if v.Failure != nil {
			err = v.Failure
		}
	}
	return err
}

func (r *relay) take(in *bufio.Reader) string {
	var content strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			break
		}
		content.WriteString(strings.TrimPrefix(line, "."))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, content.String())
	return content.String()
}

// has counts the messages with a text.
func (r *relay) has(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, content := range r.taken {
		if strings.Contains(content, text) {
			n++
		}
	}
	return n
}

// dovecot is the configuration that has Dovecot use it.
func (r *relay) dovecot() string {
	host, port, _ := net.SplitHostPort(r.address)
	return fmt.Sprintf("submission_relay_host = %s\nsubmission_relay_port = %s\n", host, port)
}

// testSending: what the store's transport answers is the verdict of each recipient, and one copy
// is in the folder that is marked \Sent, however often it was tried.
func testSending(t *testing.T, d *peers.Dovecot, r *relay, with func(map[string]any) map[string]any, key []byte) {
	submission := map[string]any{"address": d.Submission, "tls": "starttls", "sent": `\Sent`}
	s := configured(t, with(map[string]any{"submission": submission, "master": map[string]any{"user": "keeper", "password": "keeper-secret"}}))
	send := func(c backends.Credential, id string) ([]backends.Verdict, error) {
		content := "From: ada@peer.example\r\nSubject: " + id + "\r\nMessage-ID: <" + id + "@peer.example>\r\n\r\n.dots\r\n"
		return s.Send(t.Context(), c, backends.Delivery{
			Key: "sending-" + id, Envelope: backends.Envelope{From: "ada@peer.example"}, Size: int64(len(content)),
			Recipients: backends.To("friend@else.example", "nobody@else.example", "later@else.example"),
		}, strings.NewReader(content))
	}
	token := backends.Credential{Kind: backends.CredentialToken, User: "ada@peer.example", Secret: []byte(jwt(t, key, "ada@peer.example", time.Now().Add(time.Hour)))}
	impersonation := backends.Credential{Kind: backends.CredentialImpersonation, User: "ada@peer.example"}
	for n, c := range []backends.Credential{password, password, token, impersonation} {
		verdicts, err := send(c, "one")
		if err != nil {
			t.Fatalf("with a %s: %v", c.Kind, err)
		}
		if got, want := told(verdicts), "friend@else.example taken, nobody@else.example not found 5.1.1, later@else.example temporary 4.2.0"; got != want {
			t.Errorf("with a %s the verdicts are %s, not %s", c.Kind, got, want)
		}
		if got := r.has("Subject: one\r\n"); got != n+1 {
			t.Errorf("the transport has %d messages after %d were sent", got, n+1)
		}
	}
	n := 0
	harness.Eventually(t, time.Minute, "a copy in the Sent folder", func() bool { n = sentCopies(t, s, "one"); return n > 0 })
	if n != 1 {
		t.Errorf("the Sent folder has %d copies", n)
	}
	wrong := password
	wrong.Secret = []byte("wrong")
	if _, err := send(wrong, "two"); backends.KindOf(err) != backends.BadCredentials {
		t.Errorf("with a wrong password: %v", err)
	}
	if r.has("Subject: two") != 0 || sentCopies(t, s, "two") != 0 {
		t.Error("what was not sent is there")
	}
}

func told(verdicts []backends.Verdict) string {
	var all []string
	for _, v := range verdicts {
		outcome := "taken"
		if v.Failure != nil {
			outcome = v.Failure.Kind.String() + " " + v.Failure.Reply().Code
		}
		all = append(all, v.Recipient+" "+outcome)
	}
	return strings.Join(all, ", ")
}

// sentCopies counts the messages with a subject in ada's Sent folder.
func sentCopies(t *testing.T, s *imap.Store, subject string) (n int) {
	t.Helper()
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: password, Folder: "Sent"})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	for _, e := range list(t, drop) {
		content, err := fetch(t, drop, e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(content, "Subject: "+subject+"\r\n") && strings.HasSuffix(content, "\r\n\r\n.dots\r\n") && e.Seen {
			n++
		}
	}
	return n
}

// testRecreated: a mailbox that is deleted and made anew in mid-session has the same UIDs for
// other messages. None of those is served or removed in its place.
func testRecreated(t *testing.T, d *peers.Dovecot, with func(map[string]any) map[string]any) {
	s := configured(t, with(map[string]any{
		"master":   map[string]any{"user": "keeper", "password": "keeper-secret"},
		"delivery": map[string]any{"append": true, "folder": "Moving"},
	}))
	put := func(content string) {
		t.Helper()
		d.Doveadm("mailbox", "create", "-u", "bob@peer.example", "Moving")
		delivery := backends.Delivery{Key: "moving-" + content[9:12], Recipients: backends.To("bob@peer.example")}
		if verdicts, err := s.Deliver(t.Context(), delivery, strings.NewReader(content)); err != nil || verdicts[0].Failure != nil {
			t.Fatal(told(verdicts), err)
		}
	}
	open := func() backends.Maildrop {
		t.Helper()
		bob := backends.Credential{Kind: backends.CredentialPassword, User: "bob@peer.example", Secret: []byte("bob-secret")}
		drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: bob, Folder: "Moving"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = drop.Close() })
		return drop
	}
	put(one)
	before := open()
	id := list(t, before)[0].ID
	d.Doveadm("mailbox", "delete", "-u", "bob@peer.example", "Moving")
	put(two)
	if got, err := fetch(t, before, id); err == nil && strings.Contains(got, "two") {
		t.Errorf("the session gets %q for the message that was deleted", got)
	}
	_, _ = before.Remove(t.Context(), []backends.MessageID{id}, backends.DisposalRemove)
	after := open()
	entries := list(t, after)
	if len(entries) != 1 || entries[0].ID == id {
		t.Fatalf("the new mailbox has %+v, and the message of the old one had the id %s", entries, id)
	}
	if got, err := fetch(t, after, entries[0].ID); err != nil || !strings.HasSuffix(got, two) {
		t.Errorf("the message in the new mailbox is %q (%v)", got, err)
	}
}
