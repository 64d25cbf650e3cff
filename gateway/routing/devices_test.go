//go:build linux

package routing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	netsmtp "net/smtp"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// acting is a store that lets the gateway act for alice.
type acting struct{ receiver }

func (a acting) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "fake", Credentials: []backends.CredentialKind{backends.CredentialImpersonation}}, nil
}

func (a acting) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if a.onLogin != nil {
		if err := a.onLogin(ctx); err != nil {
			return backends.Account{}, err
		}
	}
	if c.Kind != backends.CredentialImpersonation || c.User != "alice@sakes.example" {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "wrong")
	}
	return a.account, nil
}

// fleet is a gateway with a queue and devices, whose listener takes old ones.
type fleet struct {
	*queued
	registry *devices.Registry
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{queued: newQueued(t)}
	log := zerolog.Nop()
	kept := passwords.New(f.db)
	f.registry = devices.New(devices.Options{Log: log, DB: f.db, Passwords: kept, Counts: quota.New(f.db)})
	f.options.Router.Swap(f.table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Default: true}.In(storestest.In(acting{receiver{f.sakes}}))))
	f.options.Queue = f.spool
	f.options.Devices, f.options.Legacy, f.options.PlaintextLogin = f.registry, true, false
	f.options.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: log, Guard: login.NewGuard(login.GuardOptions{Log: log, Floor: time.Millisecond}), Table: f.options.Router.Table, Passwords: kept, Devices: f.registry,
	})
	return f
}

// add adds a device that needs no login at an address, and gives its password if the change makes it need one.
func (f *fleet) add(name, at string, change func(*devices.Device)) (password string) {
	f.t.Helper()
	d := devices.Device{
		Name: name, Place: "2nd floor", Store: "sakes", Account: "alice@sakes.example", Owner: "it@far.example", Proof: devices.ByNetwork, Legacy: true,
		Networks: []netip.Prefix{netip.MustParsePrefix(at)},
	}
	if change != nil {
		change(&d)
	}
	_, password, err := f.registry.Add(f.t.Context(), d, "alice-id")
	if err != nil {
		f.t.Fatal(err)
	}
	return password
}

// at is a session of a client at an address that has been asked whether it is known.
func (f *fleet) at(ip string) (smtp.Session, error) {
	f.t.Helper()
	c := conn()
	c.Remote = &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711}
	s, err := routing.NewSubmission(f.options).NewSession(f.t.Context(), c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(s.Close)
	known, err := s.(smtp.Recognizes).Recognize(f.t.Context())
	if err == nil && !known {
		err = errors.New("not known")
	}
	return s, err
}

func (f *fleet) known(ip string) smtp.Session {
	f.t.Helper()
	s, err := f.at(ip)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// TestDeviceForges: a device with a forced sender is that sender, in the envelope and in the header, whatever it writes; one
// without is refused as anybody is.
func TestDeviceForges(t *testing.T) {
	f := newFleet(t)
	f.add("forced", "192.0.2.1/32", func(d *devices.Device) { d.Sending.Sender = "alice@sakes.example" })
	f.add("listed", "192.0.2.2/32", func(d *devices.Device) { d.Sending.Senders = []string{"box@sakes.example"} })
	f.add("account", "192.0.2.3/32", nil)
	for _, c := range []struct{ at, from, header, want string }{
		{"192.0.2.1", "ceo@far.example", "From: ceo@far.example\r\nFrom: pope@far.example\r\nSender: ceo@far.example\r\nResent-From: ceo@far.example\r\n", "250"},
		{"192.0.2.1", "", "Subject: nothing\r\n", "250"},
		{"192.0.2.1", "alice@sakes.example", "From: x\r\n <ceo@far.example>\r\nResent-Sender: ceo@far.example\r\n", "250"},
		{"192.0.2.2", "ceo@far.example", "From: box@sakes.example\r\n", "550 5.7.1"},
		{"192.0.2.2", "alice@sakes.example", "From: box@sakes.example\r\n", "550 5.7.1"}, // its account's, and not the device's
		{"192.0.2.2", "box@sakes.example", "From: alice@sakes.example\r\n", "550 5.7.1"},
		{"192.0.2.2", "box@sakes.example", "From: box@sakes.example\r\nSender: ceo@far.example\r\n", "550 5.7.1"},
		{"192.0.2.2", "box@sakes.example", "From: box@sakes.example\r\nFrom: ceo@far.example\r\n", "550 5.6.0"},
		{"192.0.2.2", "box@sakes.example", "From: box@sakes.example,\r\n ceo@far.example\r\n", "550 5.7.1"},
		{"192.0.2.2", "box@sakes.example", "Resent-From: box@sakes.example\r\nFrom: ceo@far.example\r\n", "550 5.7.1"},
		{"192.0.2.2", "box@sakes.example", "Subject: nothing\r\n", "250"},
		{"192.0.2.3", "bob@sakes.example", "From: bob@sakes.example\r\n", "550 5.7.1"},
		{"192.0.2.3", "alice@sakes.example", "From: Scanner, 2nd floor <alice@sakes.example>\r\n", "250"},
	} {
		reply := send(t, f.known(c.at), c.from, []string{"zoe@far.example"}, c.header+"\r\nBody\r\n")
		if reply != c.want {
			t.Errorf("%s as %s with %q: %s, not %s", c.at, c.from, c.header, reply, c.want)
		}
		for _, d := range f.waiting("far.example") {
			own := map[string]string{"192.0.2.1": "alice@sakes.example", "192.0.2.2": "box@sakes.example", "192.0.2.3": "alice@sakes.example"}[c.at]
			text := contentOf(t, d)
			if d.Envelope.From != own || d.Origin.Owner != "it@far.example" || d.Origin.Place != "2nd floor" || strings.Count(text, "\r\nFrom: ") != 1 ||
				!strings.Contains(text, "<"+own+">\r\n") && !strings.Contains(text, "From: "+own+"\r\n") ||
				strings.Contains(text, "\r\nSender: ") || strings.Contains(strings.ToLower(text), "\r\nresent-") || !strings.HasSuffix(text, "\r\n\r\nBody\r\n") {
				t.Errorf("from %s left, of %+v: %s", d.Envelope.From, d.Origin, text)
			}
		}
	}
}

// TestDeviceIsWhoItSays: a client at a device's address that logs in as another one is that one; one whose login fails is
// nobody; and one without TLS is let in only as a device of the old kind.
func TestDeviceIsWhoItSays(t *testing.T) {
	f := newFleet(t)
	f.add("printer", "192.0.2.1/32", nil)
	f.add("modern", "192.0.2.2/32", func(d *devices.Device) { d.Legacy = false })
	old := f.add("old", "192.0.2.0/24", func(d *devices.Device) { d.Proof = devices.ByPassword })
	elsewhere := f.add("elsewhere", "198.51.100.0/24", func(d *devices.Device) { d.Proof = devices.ByPassword })
	person, text, err := passwords.New(f.db).Add(t.Context(), login.AppPassword{Store: "sakes", Account: "alice@sakes.example"})
	if err != nil || person.Device != "" {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, at, password, want, device string }{
		{"the password of another device there", "192.0.2.1", old, "", "old"},
		{"that of one elsewhere", "192.0.2.1", elsewhere, "535 5.7.8", ""},
		{"a wrong one", "192.0.2.1", old[:28] + "x", "535 5.7.8", ""},
		{"a person's, without TLS", "192.0.2.1", text, "538 5.7.11", ""},
		{"none, of a device that takes TLS", "192.0.2.2", "", "550 5.7.1", ""},
		{"none", "192.0.2.1", "", "", "printer"},
		{"none, as IPv4-mapped IPv6", "::ffff:192.0.2.1", "", "", "printer"},
		{"none, elsewhere", "203.0.113.1", "", "not a *smtp.Error: not known", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := f.at(c.at)
			if c.password != "" {
				err = authenticate(t, s, "PLAIN", "\x00alice@sakes.example\x00"+c.password)
			}
			if got := ""; err != nil {
				if got = code(err); got != c.want {
					t.Fatalf("%s, not %s: %v", got, c.want, err)
				}
			} else if c.want != "" {
				t.Fatal("let in")
			}
			if c.device == "" {
				if known, err := s.(smtp.Recognizes).Recognize(t.Context()); known || err == nil && c.password != "" {
					t.Errorf("it is known by its address: %v", err)
				}
				return
			}
			if reply := send(t, s, "alice@sakes.example", []string{"zoe@far.example"}, letter); reply != "250" {
				t.Fatal(reply)
			}
			if d := f.waiting("far.example"); len(d) != 1 || d[0].Origin.Device != c.device {
				t.Errorf("left: %+v", d)
			}
		})
	}
}

// TestDeviceThatIsNotLetIn: who looks after a device sees why it is not let in, whatever it proves itself by; of who has not
// proved to be the device, and of a store that is away, there is nothing to see.
func TestDeviceThatIsNotLetIn(t *testing.T) {
	f := newFleet(t)
	f.add("modern", "192.0.2.1/32", func(d *devices.Device) { d.Legacy = false })
	password := f.add("elsewhere", "198.51.100.0/24", func(d *devices.Device) { d.Proof = devices.ByPassword })
	f.add("other", "192.0.2.3/32", nil)
	if _, err := f.at("192.0.2.1"); code(err) != "550 5.7.1" {
		t.Fatal(err)
	}
	f.sakes.onLogin = func(context.Context) error { return backends.Fail(backends.Temporary, "down") }
	if _, err := f.at("192.0.2.3"); code(err)[:1] != "4" {
		t.Fatal(err)
	}
	f.sakes.onLogin = nil
	for _, secret := range []string{password, "wrong"} {
		s, _ := f.at("203.0.113.1")
		if err := authenticate(t, s, "PLAIN", "\x00alice@sakes.example\x00"+secret); err == nil {
			t.Fatal("let in")
		}
		f.registry.Write(t.Context())
		d, err := f.registry.Get(t.Context(), "elsewhere")
		if err != nil || !strings.Contains(d.LastError, "not good from this address") {
			t.Errorf("elsewhere: %q, %v", d.LastError, err)
		}
	}
	for name, want := range map[string]string{"modern": "the device modern may not log in: it has to use TLS 1.2 or a newer one", "other": ""} {
		if d, err := f.registry.Get(t.Context(), name); err != nil || d.LastError != want {
			t.Errorf("%s: %q, %v", name, d.LastError, err)
		}
	}
}

// TestDeviceWaits: what is above a device's rate is taken, and waits; what is above its day is refused; and while the store
// does not answer, its mail is taken as well.
func TestDeviceWaits(t *testing.T) {
	f := newFleet(t)
	f.add("slow", "192.0.2.1/32", func(d *devices.Device) {
		d.Sending.Sender, d.Sending.PerMinute, d.Sending.PerDay = "alice@sakes.example", 1, 3
	})
	s := f.known("192.0.2.1")
	for range 2 {
		if reply := send(t, s, "", []string{"bob@sakes.example", "zoe@far.example"}, letter+time.Now().String()+"\r\n"); reply != "250" {
			t.Fatal(reply)
		}
	}
	if f.sakes.has("bob@sakes.example") != 1 || len(f.waiting("far.example")) != 1 || len(f.waiting(route.StoreDestination("sakes"))) != 0 {
		t.Errorf("bob has %d copies, and the rest does not wait", f.sakes.has("bob@sakes.example"))
	}
	f.sakes.onLogin = func(context.Context) error { return backends.Fail(backends.Temporary, "down") }
	f.sakes.onResolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
		return nil, backends.Fail(backends.Temporary, "down")
	}
	s = f.known("192.0.2.1")
	if reply := send(t, s, "", []string{"never-seen@sakes.example"}, letter); reply != "250" {
		t.Errorf("while the store is down: %s", reply)
	}
	if reply, text := sendText(t, s, "", []string{"zoe@far.example"}, letter+"again\r\n"); reply != "451 4.7.1" || !strings.Contains(text, "3 messages in 24 hours") {
		t.Errorf("the fourth of three: %s %s", reply, text)
	}
}

// TestDeviceOwnerIsTold: of a recipient that a store has refused although others have the message, the owner is told, whatever
// the device asks for, and the device's own address gets nothing.
func TestDeviceOwnerIsTold(t *testing.T) {
	f := newFleet(t)
	f.add("printer", "192.0.2.1/32", func(d *devices.Device) { d.Sending.Sender, d.Sending.Size = "alice@sakes.example", 2000 })
	f.sakes.verdict = func(recipient string) *backends.Failure {
		if recipient == "full@sakes.example" {
			return backends.Fail(backends.Permanent, "full").WithCode("5.2.2")
		}
		return nil
	}
	s := f.known("192.0.2.1")
	if size := s.(smtp.SizeLimited).MessageSize(t.Context()); size != 2000 {
		t.Errorf("it may send %d octets", size)
	}
	if err := s.Mail(t.Context(), path(t, "printer@printer.local"), smtp.MailOptions{ID: "t1"}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"bob@sakes.example", "full@sakes.example"} {
		if err := s.Rcpt(t.Context(), path(t, to), smtp.RcptOptions{Notify: smtp.Notify(backends.NotifyNever)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Data(t.Context(), trace(), strings.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	all := f.waiting("far.example")
	if len(all) != 1 || all[0].Recipients[0].Address != "it@far.example" || all[0].Envelope.From != "" || all[0].Origin.Device != "" {
		t.Fatalf("there waits %+v", all)
	}
	text := contentOf(t, all[0])
	for _, want := range []string{"To: <it@far.example>", "the device printer (2nd floor)", "full@sakes.example", "The mailbox is full", "What to do: "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in it:\n%s", want, text)
		}
	}
	if f.sakes.has("alice@sakes.example") > 0 {
		t.Error("the sender was told")
	}
}

// TestDeviceThroughTheEngine: a device needs no login and is off at once; mail that is smuggled in another's body, or by a
// header that ends in bare LF, stays in its body.
func TestDeviceThroughTheEngine(t *testing.T) {
	f := newFleet(t)
	address := serve(t, smtp.Submission, routing.NewSubmission(f.options))
	client, err := textproto.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ask := func(command, want string) {
		t.Helper()
		if command != "" {
			if err := client.PrintfLine("%s", command); err != nil {
				t.Fatal(err)
			}
		}
		reply, text, err := client.ReadResponse(0)
		if got := fmt.Sprint(reply, " ", text); err != nil || !strings.HasPrefix(got, want) {
			t.Fatalf("%s: %q, %v, not %q", command, got, err, want)
		}
	}
	ask("", "220 mail.sakes.example")
	ask("EHLO printer", "250 mail.sakes.example")
	ask("MAIL FROM:<x@y.example>", "530 5.7.0 Authentication required")
	f.add("printer", "127.0.0.0/8", func(d *devices.Device) { d.Sending.Sender = "alice@sakes.example" })
	ask("MAIL FROM:<x@y.example>", "250 2.1.0")
	ask("RCPT TO:<zoe@far.example>", "250 2.1.5")
	ask("DATA", "354 Start")
	ask("Subject: one\r\n\r\nBody\n.\nMAIL FROM:<ceo@far.example>\nRCPT TO:<zoe@far.example>\nDATA\r\n.\r\r\n\r\n..\r\n.", "550 5.5.2")
	ask("MAIL FROM:<x@y.example>", "250 2.1.0")
	ask("RCPT TO:<zoe@far.example>", "250 2.1.5")
	ask("DATA", "354 Start")
	ask("From: x@y.example\r\nSubject: two\r\n\r\n..MAIL FROM:<ceo@far.example>\r\n.", "250 2.0.0 Ok")
	if all := f.waiting("far.example"); len(all) != 1 || !strings.HasSuffix(contentOf(t, all[0]), "\r\n\r\n.MAIL FROM:<ceo@far.example>\r\n") {
		t.Errorf("there waits %+v", all)
	}
	if err := f.registry.SetDisabled(t.Context(), "printer", true); err != nil {
		t.Fatal(err)
	}
	ask("MAIL FROM:<x@y.example>", "421 4.7.1 the device printer is switched off")
	if _, err := client.ReadLine(); !errors.Is(err, io.EOF) {
		t.Errorf("the session goes on: %v", err)
	}
}

// TestManyDevices: 500 devices that submit at once are all served, each as itself.
func TestManyDevices(t *testing.T) {
	const many = 500
	f := newFleet(t)
	ip := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}) }
	atOnce(t, many, func(i int) error {
		_, _, err := f.registry.Add(t.Context(), devices.Device{
			Name: fmt.Sprintf("d%03d", i), Store: "sakes", Account: "alice@sakes.example", Owner: "it@far.example", Proof: devices.ByNetwork, Legacy: true,
			Networks: []netip.Prefix{netip.PrefixFrom(ip(i), 32)}, Sending: devices.Sending{Sender: "alice@sakes.example", PerMinute: 1},
		}, "alice-id")
		return err
	})
	address := serve(t, smtp.Submission, routing.NewSubmission(f.options))
	atOnce(t, many, func(i int) error {
		return submitFrom(t.Context(), ip(i).AsSlice(), address, fmt.Sprintf("Subject: %d\r\n\r\nBody\r\n", i))
	})
	seen := make(map[string]bool)
	for len(seen) < many {
		all := f.waiting("far.example")
		if len(all) == 0 {
			t.Fatalf("%d of %d messages wait", len(seen), many)
		}
		for _, d := range all {
			if want := fmt.Sprintf("Subject: %d\r\n", number(d.Origin.Device)); seen[d.Origin.Device] || !strings.Contains(contentOf(t, d), want) {
				t.Errorf("of device %s there is another one's mail, or twice", d.Origin.Device)
			}
			seen[d.Origin.Device] = true
		}
	}
}

// atOnce does something many times at the same time.
func atOnce(t *testing.T, many int, do func(i int) error) {
	t.Helper()
	var work sync.WaitGroup
	failed := make(chan error, many)
	for i := range many {
		work.Go(func() {
			if err := do(i); err != nil {
				failed <- fmt.Errorf("number %d: %w", i, err)
			}
		})
	}
	work.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}

func number(device string) (n int) {
	_, _ = fmt.Sscanf(device, "d%d", &n)
	return n
}

// submitFrom sends a message from an address of this machine, without a login.
func submitFrom(ctx context.Context, from net.IP, address, message string) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: time.Minute}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	client, err := netsmtp.NewClient(c, "127.0.0.1")
	if err != nil {
		return errors.Join(err, c.Close())
	}
	defer client.Close() //nolint:errcheck // it was said
	if err := client.Mail("scanner@printer.local"); err != nil {
		return err
	}
	if err := client.Rcpt("zoe@far.example"); err != nil {
		return err
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, message); err != nil {
		return err
	}
	return w.Close()
}
