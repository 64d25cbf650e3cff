//go:build linux

package imap_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/test/peers"
)

// TestConformanceCourier holds the backend to the contract over a server that has neither UNSELECT nor
// MOVE, takes no APPEND to a folder that is open read-only, and names its folders with dots.
func TestConformanceCourier(t *testing.T) {
	t.Parallel()
	c := peers.StartCourier(t, fourUsers())
	settings := map[string]any{
		"address": c.IMAP, "tls": "none", "delivery": map[string]any{"append": true}, "trash": "INBOX.Trash",
		"master": map[string]any{"user": peers.FrontMaster, "password": peers.FrontMasterPassword},
	}
	target := target(given(t, settings), "ada", "bob", false)
	target.Folder, target.Large = "INBOX/Trash", 2<<20
	storetest.Run(t, target)
}

// TestConformanceMailutils is the same over a server that has no UIDPLUS, tells RFC822.SIZE of what it
// keeps with bare LF, and answers a part past the end without a value.
func TestConformanceMailutils(t *testing.T) {
	t.Parallel()
	m := peers.StartMailutils(t, fourUsers())
	settings := map[string]any{
		"address": m.IMAP, "tls": "none", "delivery": map[string]any{"append": true}, "trash": "Trash",
		"master": map[string]any{"user": peers.FrontMaster, "password": peers.FrontMasterPassword},
	}
	target := target(given(t, settings), "ada", "bob", false)
	target.Large, target.Many = 640<<10, 50 // this server reads a message from its start for each part: three of them
	target.Only = casesOfServer()
	target.New = func(context.Context) (backends.Store, error) { return &expunging{imap.New(), m.IMAP}, nil }
	target.Open = func(ctx context.Context) (backends.Store, error) {
		s := &expunging{imap.New(), m.IMAP}
		return s, s.Configure(ctx, target.Settings)
	}
	ran := 0
	err := storetest.Check(t.Context(), target, func(r storetest.Result) {
		ran++
		name := r.Group + "/" + r.Name
		switch {
		case r.Err == nil:
		case mailutilsAlone[name] != "":
			t.Logf("%s: %s: %v", name, mailutilsAlone[name], r.Err)
		default:
			t.Errorf("%s: %v", name, r.Err)
		}
	})
	if err != nil || ran < 70 {
		t.Errorf("%d cases ran (%v)", ran, err)
	}
	t.Run("deliveries at once", func(t *testing.T) { deliveriesAtOnce(t, configured(t, settings), "eva@peer.example") })
}

// casesOfServer are the suite's cases that the server has a part in. Each session of this one is a process
// that is started, so that those about settings and logins, which its front takes, are left to the others,
// and so are those that log in 500 times, or give up contents by the dozen.
func casesOfServer() *regexp.Regexp {
	names := slices.DeleteFunc(storetest.Names(), func(name string) bool {
		group, _, _ := strings.Cut(name, "/")
		return !slices.Contains([]string{"maildrop", "remove", "mark", "receiver", "concurrency", "close"}, group) ||
			name == "receiver/resolve-many" || name == "receiver/to-hostile-recipients" || name == "maildrop/cancelled-fetches"
	})
	for i, name := range names {
		names[i] = regexp.QuoteMeta(name)
	}
	return regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
}

// deliveriesAtOnce is what holds instead of the suite's case, over a server that refuses some of the
// APPENDs while others work on the mailbox: a refusal is told as one that may pass, whatever was told
// as delivered is there once, and who comes back, as a mail server does, loses and doubles nothing.
func deliveriesAtOnce(t *testing.T, s *imap.Store, address string) {
	subject := func(i int) string { return fmt.Sprintf("Subject: at once %d.\r\n", i) }
	deliver := func(i int, again bool) *backends.Failure {
		d := backends.Delivery{Key: fmt.Sprint("at-once-", i), Retry: again, Recipients: backends.To(address)}
		verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(subject(i)+"\r\nx\r\n"))
		if err != nil {
			return backends.AsFailure(err)
		}
		return verdicts[0].Failure
	}
	open := func() (backends.Maildrop, error) {
		impersonation := backends.Credential{Kind: backends.CredentialImpersonation, User: address}
		return s.Open(t.Context(), backends.OpenRequest{Credential: impersonation})
	}
	var refused [32]*backends.Failure
	var writers, reader sync.WaitGroup
	for i := range refused {
		writers.Go(func() { refused[i] = deliver(i, false) })
	}
	over := make(chan struct{})
	reader.Go(func() { // what it reads meanwhile is the server's affair: see mailutilsAlone
		for {
			select {
			case <-over:
				return
			default:
			}
			d, err := open()
			if err != nil {
				continue
			}
			for range d.List(t.Context()) {
			}
			_ = d.Close()
		}
	})
	writers.Wait()
	close(over)
	reader.Wait()
	copies := func() (of [len(refused)]int) {
		d, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, e := range list(t, d) {
			text, err := fetch(t, d, e.ID)
			if err != nil {
				t.Fatal(err)
			}
			for i := range of {
				if strings.Contains(text, subject(i)) {
					of[i]++
				}
			}
		}
		return of
	}
	for i, n := range copies() {
		f := refused[i]
		if f != nil {
			t.Logf("message %d: %v", i, f)
		}
		if n > 1 || f == nil && n == 0 || f != nil && !f.Temporary() {
			t.Errorf("message %d is there %d times after %v", i, n, f)
		}
	}
	for i, f := range refused {
		if f == nil {
			continue
		}
		if f := deliver(i, true); f != nil {
			t.Errorf("message %d cannot be delivered when nobody else is there: %v", i, f)
		}
	}
	for i, n := range copies() {
		if n != 1 {
			t.Errorf("message %d is there %d times in the end", i, n)
		}
	}
}

// mailutilsAlone are the cases that this server cannot pass whoever asks it.
var mailutilsAlone = map[string]string{
	"remove/disposals-described":         "it has no UIDPLUS, so that nothing can be moved; that is known from the first login on, and described before",
	"maildrop/removed-by-another":        "it goes on giving what another session has removed",
	"remove/seen-at-once":                "a session does not see what another one has removed",
	"remove/then-fetch":                  "it goes on giving what another session has removed",
	"remove/gone-already":                "it takes a UID that is gone for another message's",
	"receiver/content-nul":               "it ends a line at a NUL",
	"receiver/content-odd-fields":        "it writes header fields anew",
	"concurrency/deliveries-and-readers": "while others work on a mailbox it refuses an APPEND, or renews UIDVALIDITY: see deliveriesAtOnce",
	"concurrency/sessions":               "it lists a message, as empty, before it has written it",
	"receiver/odd-keys":                  "its SEARCH finds no value with such characters",
}

// expunging is the store in front of a server without UIDPLUS, where messages can only be marked. The
// suite has to empty mailboxes: the test, whose server it is, says EXPUNGE behind each session that has
// removed. Until a session has left the mailbox the server keeps its flags to itself, and loses them where
// another session works on the mailbox meanwhile.
type expunging struct {
	*imap.Store
	address string
}

func (s *expunging) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	d, err := s.Store.Open(ctx, request)
	if err != nil {
		return nil, err
	}
	return &expungingDrop{Maildrop: d, address: s.address, request: request}, nil
}

type expungingDrop struct {
	backends.Maildrop
	address string
	request backends.OpenRequest
	removed atomic.Bool
}

func (d *expungingDrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	return d.Maildrop.(backends.Marker).MarkSeen(ctx, ids)
}

func (d *expungingDrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if disposal != backends.DisposalRemove {
		return d.Maildrop.Remove(ctx, ids, disposal)
	}
	d.removed.Store(true)
	return d.Maildrop.Remove(ctx, ids, backends.DisposalMark)
}

func (d *expungingDrop) Close() error {
	err := d.Maildrop.Close()
	if err != nil || !d.removed.Swap(false) {
		return err
	}
	return d.expunge(d.request.Credential.User, string(d.request.Credential.Secret))
}

// expunge says so without a library: the server answers "EXPUNGED", which none reads.
func (d *expungingDrop) expunge(user, password string) error {
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	for _, command := range []string{"LOGIN " + user + " " + password, "SELECT INBOX", "EXPUNGE"} {
		if _, err := io.WriteString(conn, "a "+command+"\r\n"); err != nil {
			return err
		}
		for line := ""; !strings.HasPrefix(line, "a "); {
			if line, err = in.ReadString('\n'); err != nil {
				return err
			}
		}
	}
	return nil
}
