package routing_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

var (
	_ smtp.Backend = (*routing.MX)(nil)
	_ smtp.Backend = (*routing.Submission)(nil)
)

func mailOptions() smtp.MailOptions { return smtp.MailOptions{ID: "t1"} }
func rcptOptions() smtp.RcptOptions { return smtp.RcptOptions{} }

func TestRcpt(t *testing.T) {
	const ok, denied, syntax, unknown = "250", "550 5.7.1", "553 5.1.3", "550 5.1.1"
	for _, test := range []struct{ name, to, want, resolved string }{
		{"local", "bob@sakes.example", ok, "bob@sakes.example"},
		{"local, domain in other letters", "Bob@SAKES.Example", ok, "Bob@sakes.example"},
		{"local in another store", "bob@tea.example", ok, "bob@tea.example"},
		{"quotes that are not needed", `"bob"@sakes.example`, ok, "bob@sakes.example"},
		{"unknown", "nobody@sakes.example", unknown, "nobody@sakes.example"},
		{"far", "bob@far.example", denied, ""},
		{"subdomain", "bob@x.sakes.example", denied, ""},
		{"superdomain", "bob@example", denied, ""},
		{"address literal", "bob@[192.0.2.1]", denied, ""},
		{"source route", "@sakes.example:bob@far.example", denied, ""},
		{"source route that ends here", "@far.example:bob@sakes.example", ok, "bob@sakes.example"},
		{"percent hack", "bob%far.example@sakes.example", ok, "bob%far.example@sakes.example"},
		{"bang path", "far.example!bob@sakes.example", ok, "far.example!bob@sakes.example"},
		{"at in quotes", `"bob@far.example"@sakes.example`, ok, `"bob@far.example"@sakes.example`},
		{"encapsulated", "IMCEASMTP-bob+40far+2Eexample@sakes.example", ok, "IMCEASMTP-bob+40far+2Eexample@sakes.example"},
		{"encapsulated, far", "IMCEASMTP-bob+40sakes+2Eexample@far.example", denied, ""},
		{"postmaster", "postmaster", ok, "postmaster@sakes.example"},
		{"postmaster in other letters", "PostMaster", ok, "postmaster@sakes.example"},
		{"postmaster of a domain", "postmaster@tea.example", ok, "postmaster@tea.example"},
		{"empty", "", syntax, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			if got := send(t, g.mx(), "carol@far.example", []string{test.to}, letter); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			var asked []string
			for _, q := range append(g.sakes.resolved, g.tea.resolved...) {
				asked = append(asked, backends.Addresses(q.Recipients)...)
			}
			if got := strings.Join(asked, " "); got != test.resolved {
				t.Errorf("the stores were asked about %q, want %q", got, test.resolved)
			}
			if test.want == ok && g.sakes.has(test.resolved)+g.tea.has(test.resolved) != 1 {
				t.Error("the copy is missing")
			}
		})
	}
}

func TestEmptyTableRelaysForNobody(t *testing.T) {
	g := newGateway(t)
	g.options.Router = &stores.Router{}
	for _, to := range []string{"bob@sakes.example", "postmaster"} {
		if got := send(t, g.mx(), "", []string{to}, letter); !strings.HasPrefix(got, "55") {
			t.Errorf("%s: %s", to, got)
		}
	}
}

func TestStoreWithoutReceiverIsNotLocal(t *testing.T) {
	g := newGateway(t)
	g.options.Router.Swap(g.table(stores.Config{Name: "x", Domains: []string{"sakes.example"}}.In(storestest.In(plain{g.sakes}))))
	if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != "550 5.7.1" {
		t.Errorf("got %s", got)
	}
}

func TestResolve(t *testing.T) {
	fail := func(kind backends.Kind) []backends.Verdict {
		return []backends.Verdict{{Recipient: "bob@sakes.example", Failure: backends.Fail(kind, "x")}}
	}
	for _, test := range []struct {
		name     string
		verdicts []backends.Verdict
		err      error
		want     string
	}{
		{"not found", fail(backends.NotFound), nil, "550 5.1.1"},
		{"full", fail(backends.OverQuota), nil, "452 4.2.2"},
		{"too large", fail(backends.TooLarge), nil, "552 5.3.4"},
		{"refused", fail(backends.Permanent), nil, "554 5.3.0"},
		{"later", fail(backends.Temporary), nil, "451 4.3.0"},
		{"outage", nil, backends.Fail(backends.Temporary, "down"), "451 4.3.0"},
		{"no verdict", nil, nil, "451 4.3.0"},
		{"two verdicts", make([]backends.Verdict, 2), nil, "451 4.3.0"},
		{"verdict on another", []backends.Verdict{{Recipient: "eve@sakes.example"}}, nil, "451 4.3.0"},
		{"expanded, and failed", []backends.Verdict{{Recipient: "bob@sakes.example", Action: backends.ActionExpanded, Failure: backends.Fail(backends.NotFound, "x")}}, nil, "451 4.3.0"},
		{"takes nothing", nil, backends.Fail(backends.Unsupported, "x"), "554 5.3.3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.sakes.onResolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
				return test.verdicts, test.err
			}
			if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestDelivery(t *testing.T) {
	g := newGateway(t)
	session, err := routing.NewMX(g.options).NewSession(t.Context(), smtp.Conn{ID: "s9", Remote: conn().Remote, TLS: func() *tls.ConnectionState { return &tls.ConnectionState{} }})
	if err != nil {
		t.Fatal(err)
	}
	if session.Mechanisms() != nil {
		t.Error("an MX offers logins")
	}
	if err := session.Mail(t.Context(), path(t, "carol@far.example"), smtp.MailOptions{ID: "t1", Size: 99, EightBit: true, UTF8: true}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"bob@sakes.example", "eve@tea.example", "dan@sakes.example", "bob@SAKES.example"} {
		if err := session.Rcpt(t.Context(), path(t, to), rcptOptions()); err != nil {
			t.Fatal(err)
		}
	}
	received := trace()
	text, err := session.Data(t.Context(), received, strings.NewReader(letter))
	if err != nil || !strings.HasPrefix(text, "Ok: ") {
		t.Fatal(text, err)
	}
	d := g.sakes.delivered[0]
	if len(g.sakes.delivered) != 1 || fmt.Sprint(backends.Addresses(d.Recipients)) != "[bob@sakes.example dan@sakes.example]" {
		t.Errorf("delivered %+v", g.sakes.delivered)
	}
	if d.Key != strings.TrimPrefix(text, "Ok: ") || len(d.Key) > 64 || d.Retry || d.From != "carol@far.example" ||
		d.Body != backends.Body8BitMIME || !d.SMTPUTF8 || d.Submitter != (backends.Submitter{}) || d.Size != int64(len(received+letter)) || d.Received.Location() != time.UTC {
		t.Errorf("envelope: %+v", d)
	}
	if d.Peer != (backends.Peer{Address: "192.0.2.7:4711", Protocol: "smtp", TLS: true, Session: "s9"}) || g.sakes.resolved[0].Peer != d.Peer || g.sakes.resolved[0].Size != 99 {
		t.Errorf("peer: %+v", d.Peer)
	}
	if got := g.sakes.copies["bob@sakes.example"]; len(got) != 1 || got[0] != received+letter {
		t.Errorf("bob has %q", got)
	}
	if g.sakes.has("dan@sakes.example") != 1 || g.tea.has("eve@tea.example") != 1 {
		t.Error("a copy is missing")
	}
}

func TestRecipientsInBatches(t *testing.T) {
	g := newGateway(t)
	g.sakes.limits.Recipients = 2
	var to []string
	for i := range 5 {
		to = append(to, fmt.Sprintf("u%d@sakes.example", i))
	}
	if got := send(t, g.mx(), "", to, letter); got != "250" {
		t.Fatal(got)
	}
	if len(g.sakes.delivered) != 3 || g.sakes.delivered[0].Key != g.sakes.delivered[2].Key {
		t.Errorf("delivered %+v", g.sakes.delivered)
	}
	for _, r := range to {
		if g.sakes.has(r) != 1 {
			t.Errorf("%s has %d copies", r, g.sakes.has(r))
		}
	}
}

func TestLargeMessages(t *testing.T) {
	for _, size := range []int{1000, 4096, 4097, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			g := newGateway(t)
			g.options.Buffers.MemoryMost = 4096
			message := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", size/17) + "\r\n"
			if got := send(t, g.mx(), "", []string{"bob@sakes.example", "eve@tea.example"}, message); got != "250" {
				t.Fatal(got)
			}
			for _, copies := range [][]string{g.sakes.copies["bob@sakes.example"], g.tea.copies["eve@tea.example"]} {
				if len(copies) != 1 || !strings.HasSuffix(copies[0], message) {
					t.Error("the content differs")
				}
			}
			if left, err := os.ReadDir(g.tempDir); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// fullDisk is a storage whose files have room for so many octets.
type fullDisk struct {
	buffer.Storage
	room int
	open int
}

// Create implements [buffer.Storage].
func (d *fullDisk) Create() (buffer.File, error) {
	if d.room == 0 {
		return nil, syscall.ENOSPC
	}
	f, err := d.Storage.Create()
	d.open++
	return &fullFile{f, d}, err
}

type fullFile struct {
	buffer.File
	disk *fullDisk
}

func (f *fullFile) Discard() error {
	f.disk.open--
	return f.File.Discard()
}

func (f *fullFile) Write(p []byte) (int, error) {
	if len(p) > f.disk.room {
		return 0, syscall.ENOSPC
	}
	f.disk.room -= len(p)
	return f.File.Write(p)
}

func TestDiskFull(t *testing.T) {
	for name, room := range map[string]int{"no file can be made": 0, "no room for the rest": 50_000} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			disk := &fullDisk{Storage: buffer.Temporary{Folder: t.TempDir()}, room: room}
			g.options.Buffers = buffer.Options{Storage: disk, MemoryMost: 1000}
			session := g.mx()
			if got := send(t, session, "", []string{"bob@sakes.example"}, letter+strings.Repeat("x\r\n", 50_000)); got != "452 4.3.1" {
				t.Errorf("got %s", got)
			}
			if got := send(t, session, "", []string{"bob@sakes.example"}, letter); got != "250" {
				t.Errorf("a small message: %s", got)
			}
			if len(g.sakes.delivered) != 1 || disk.open != 0 {
				t.Errorf("delivered %+v, %d files are open", g.sakes.delivered, disk.open)
			}
		})
	}
}

func TestBrokenBodyIsDeliveredToNobody(t *testing.T) {
	boom := &smtp.Error{Code: 550, Enhanced: "5.5.2", Text: "bare LF"}
	g := newGateway(t)
	session := g.mx()
	if err := session.Mail(t.Context(), address.Path{}, mailOptions()); err != nil {
		t.Fatal(err)
	}
	if err := session.Rcpt(t.Context(), path(t, "bob@sakes.example"), rcptOptions()); err != nil {
		t.Fatal(err)
	}
	for _, sent := range []string{"", "Sub", letter} {
		_, err := session.Data(t.Context(), trace(), io.MultiReader(strings.NewReader(sent), iotest.ErrReader(boom)))
		if err != error(boom) {
			t.Errorf("got %v", err)
		}
	}
	if len(g.sakes.delivered) != 0 {
		t.Error("a part was delivered")
	}
}

func TestDataWithoutRecipients(t *testing.T) {
	g := newGateway(t)
	session := g.mx()
	if _, err := session.Data(t.Context(), trace(), strings.NewReader("")); code(err) != "503 5.5.1" {
		t.Errorf("got %v", err)
	}
	if err := session.Rcpt(t.Context(), path(t, "bob@sakes.example"), rcptOptions()); code(err) != "503 5.5.1" {
		t.Errorf("got %v", err)
	}
}

// TestAnswers has bob and dan in one store and eve in another.
func TestAnswers(t *testing.T) {
	kind := func(k backends.Kind) *backends.Failure { return backends.Fail(k, "x") }
	for _, test := range []struct {
		name          string
		bob, dan, eve *backends.Failure
		want, text    string
		remembered    int
	}{
		{"all delivered", nil, nil, nil, "250", "Ok: ", 0},
		{"all refused: the first's reply", kind(backends.NotFound), kind(backends.TooLarge), kind(backends.Permanent), "550 5.1.1", "", 0},
		{"one refused", nil, kind(backends.NotFound), nil, "554 5.1.1", "refused for dan@sakes.example", 0},
		{"two refused", kind(backends.TooLarge), nil, kind(backends.NotFound), "554 5.3.4", "refused for bob@sakes.example, eve@tea.example", 0},
		{"one later", nil, nil, kind(backends.Temporary), "451 4.3.0", "", 1},
		{"one full", kind(backends.OverQuota), nil, nil, "452 4.2.2", "", 1},
		{"one later, the rest refused", kind(backends.NotFound), kind(backends.Temporary), kind(backends.Permanent), "451 4.3.0", "", 1},
		{"uncertain", nil, kind(backends.Uncertain), nil, "451 4.4.2", "", 1},
		{"the store turns the gateway away", kind(backends.BadCredentials), nil, nil, "451 4.3.5", "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.sakes.verdict = func(r string) *backends.Failure {
				if strings.HasPrefix(r, "bob") {
					return test.bob
				}
				return test.dan
			}
			g.tea.verdict = func(string) *backends.Failure { return test.eve }
			got, text := sendText(t, g.mx(), "carol@far.example", []string{"bob@sakes.example", "dan@sakes.example", "eve@tea.example"}, letter)
			if got != test.want || !strings.Contains(text, test.text) {
				t.Errorf("got %s %q, want %s", got, text, test.want)
			}
			if n := g.remembered(); n != test.remembered {
				t.Errorf("%d attempts are remembered", n)
			}
		})
	}
}

// TestLyingStore says what is not so (I10): nothing is acknowledged.
func TestLyingStore(t *testing.T) {
	type after func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error)
	for _, test := range []struct {
		name  string
		after after
	}{
		{"no verdicts", func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error) {
			return nil, nil
		}},
		{"too few", func(_ context.Context, _ backends.Delivery, v []backends.Verdict) ([]backends.Verdict, error) {
			return v[:1], nil
		}},
		{"too many", func(_ context.Context, _ backends.Delivery, v []backends.Verdict) ([]backends.Verdict, error) {
			return append(v, v...), nil
		}},
		{"in another order", func(_ context.Context, _ backends.Delivery, v []backends.Verdict) ([]backends.Verdict, error) {
			return []backends.Verdict{v[1], v[0]}, nil
		}},
		{"died after taking it", func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error) {
			return nil, errors.New("the plugin died")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.sakes.after = test.after
			to := []string{"bob@sakes.example", "dan@sakes.example"}
			if got := send(t, g.mx(), "", to, letter); !strings.HasPrefix(got, "451 ") {
				t.Fatalf("got %s", got)
			}
			g.sakes.after = nil
			if got := send(t, g.mx(), "", to, letter); got != "250" {
				t.Fatalf("again: %s", got)
			}
			if !g.sakes.delivered[1].Retry || g.sakes.delivered[1].Key != g.sakes.delivered[0].Key {
				t.Errorf("the second attempt: %+v", g.sakes.delivered[1])
			}
			if g.sakes.has(to[0]) != 1 || g.sakes.has(to[1]) != 1 {
				t.Errorf("copies: %v", g.sakes.copies)
			}
		})
	}
}

// TestHangingStore gives up when the engine does, and knows afterwards who has a copy.
func TestHangingStore(t *testing.T) {
	g := newGateway(t)
	ctx, cancel := context.WithCancel(t.Context())
	g.sakes.after = func(ctx context.Context, _ backends.Delivery, _ []backends.Verdict) ([]backends.Verdict, error) {
		cancel() // the engine has waited long enough
		<-ctx.Done()
		return nil, ctx.Err()
	}
	session := g.mx()
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if err := errors.Join(session.Mail(ctx, address.Path{}, mailOptions()), session.Rcpt(ctx, path(t, to[0]), rcptOptions()), session.Rcpt(ctx, path(t, to[1]), rcptOptions())); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Data(ctx, trace(), strings.NewReader(letter)); code(err) != "451 4.3.0" {
		t.Errorf("got %v", err)
	}
	g.sakes.after = nil
	if got := send(t, g.mx(), "", to, letter); got != "250" {
		t.Errorf("again: %s", got)
	}
	if g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 || len(g.tea.delivered) != 1 {
		t.Error("not one copy each, by one delivery")
	}
}

// hasty is a store that confirms what it has not read.
type hasty struct {
	receiver
	octets int64
}

func (h hasty) Deliver(_ context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	_, err := io.CopyN(io.Discard, content, h.octets)
	return []backends.Verdict{{Recipient: d.Recipients[0].Address}}, err
}

func TestHastyStoreIsNotBelieved(t *testing.T) {
	g := newGateway(t)
	for octets, want := range map[int64]string{0: "451 4.3.0", 100: "451 4.3.0", int64(len(trace() + letter)): "250"} {
		g.options.Router.Swap(g.table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(hasty{receiver{g.sakes}, octets}))))
		if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != want {
			t.Errorf("after %d octets: %s, want %s", octets, got, want)
		}
	}
}

func TestPanickingStore(t *testing.T) {
	g := newGateway(t)
	g.sakes.after = func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error) {
		panic("a bug")
	}
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if got := send(t, g.mx(), "", to, letter); got != "451 4.4.2" {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(g.log.String(), "a bug") {
		t.Error("nothing in the log")
	}
	g.sakes.after = nil
	if got := send(t, g.mx(), "", to, letter); got != "250" || g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 {
		t.Errorf("again: %s", got)
	}
}

func TestStoresAreServedAtOnce(t *testing.T) {
	g := newGateway(t)
	var both sync.WaitGroup
	both.Add(2)
	meet := func(context.Context, backends.Delivery) error { both.Done(); both.Wait(); return nil }
	g.sakes.before, g.tea.before = meet, meet
	if got := send(t, g.mx(), "", []string{"bob@sakes.example", "eve@tea.example"}, letter); got != "250" {
		t.Error(got)
	}
}

func TestManySessions(t *testing.T) {
	g := newGateway(t)
	g.options.Buffers.MemoryMost = 64
	mx := routing.NewMX(g.options)
	received, message := trace(), letter+strings.Repeat("x\r\n", 5000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			session, err := mx.NewSession(t.Context(), conn())
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			for range 25 {
				if err := errors.Join(session.Mail(t.Context(), address.Path{}, mailOptions()), session.Rcpt(t.Context(), path(t, "bob@sakes.example"), rcptOptions()), session.Rcpt(t.Context(), path(t, "eve@tea.example"), rcptOptions())); err != nil {
					t.Error(err)
				}
				if _, err := session.Data(t.Context(), received, strings.NewReader(message)); err != nil {
					t.Error(err)
				}
				session.Reset()
			}
		})
	}
	wg.Wait()
	// The same octets 200 times are 200 messages.
	if g.sakes.has("bob@sakes.example") != 200 || g.tea.has("eve@tea.example") != 200 {
		t.Errorf("%d and %d copies", g.sakes.has("bob@sakes.example"), g.tea.has("eve@tea.example"))
	}
}

// TestTrack: the log has where a message went and what the next server has said, as one short line each.
func TestTrack(t *testing.T) {
	g := newGateway(t)
	g.sakes.after = func(_ context.Context, _ backends.Delivery, v []backends.Verdict) ([]backends.Verdict, error) {
		v[0].Action, v[0].Destination = backends.ActionRelayed, "dns; mx.far.example\r\nfake: line"
		v[0].RemoteDiagnostic = "smtp; 250 \x1b[2J" + strings.Repeat("x", 10_000)
		return v, nil
	}
	if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != "250" {
		t.Fatal(got)
	}
	log := g.log.String()
	want := `"action":"relayed","destination":"dns; mx.far.example fake: line","diagnostic":"smtp; 250 [2J` + strings.Repeat("x", 180)
	if !strings.Contains(log, want) || strings.Contains(log, strings.Repeat("x", 200)) {
		t.Errorf("the log is %.2000s", log)
	}
}
