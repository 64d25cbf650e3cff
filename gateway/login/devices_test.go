package login_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

// fakeDevices has one device at a network, and one with a certificate.
type fakeDevices struct {
	network     netip.Prefix
	atNetwork   *login.AppPassword
	certificate *x509.Certificate
	byIt        *login.AppPassword
	fail        error

	mu      sync.Mutex
	refused []string
}

func (f *fakeDevices) Refused(device, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, device+": "+why)
}

func (f *fakeDevices) Of(_ context.Context, at netip.Addr, certificates []*x509.Certificate) (*login.AppPassword, error) {
	switch {
	case f.fail != nil:
		return nil, f.fail
	case f.Certified(certificates):
		return f.byIt, nil
	case f.network.Contains(at):
		return f.atNetwork, nil
	}
	return nil, nil
}

func (f *fakeDevices) Certified(certificates []*x509.Certificate) bool {
	return f.certificate != nil && len(certificates) > 0 && certificates[0].Equal(f.certificate)
}

func device(change func(*login.AppPassword)) *login.AppPassword {
	p := &login.AppPassword{
		ID: "dev01", Store: "sakes", Account: "alice@sakes.example", Owner: "alice-id", Device: "scanner", Wordless: true, Protocols: []string{"submission"}, Legacy: true,
	}
	if change != nil {
		change(p)
	}
	return p
}

// TestRecognize: a device is let in by its network, for its account, as long as it may, and nobody else is.
func TestRecognize(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*login.AppPassword)
		remote string
		tls    *tls.ConnectionState
		known  bool
		said   string // what the client is told; empty: it is let in
	}{
		{name: "on its network", remote: "192.0.2.7:4711", known: true},
		{name: "as IPv4-mapped IPv6", remote: "[::ffff:192.0.2.7]:4711", known: true},
		{name: "elsewhere", remote: "198.51.100.7:4711"},
		{name: "switched off", change: func(p *login.AppPassword) { p.Disabled = true }, remote: "192.0.2.7:4711", known: true, said: "is switched off"},
		{name: "expired", change: func(p *login.AppPassword) { p.Expires = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) }, remote: "192.0.2.7:4711", known: true, said: "has expired on 2026-11-01"},
		{name: "another protocol", change: func(p *login.AppPassword) { p.Protocols = []string{"pop3"} }, remote: "192.0.2.7:4711", known: true, said: "is good for pop3"},
		{name: "without TLS", change: func(p *login.AppPassword) { p.Legacy = false }, remote: "192.0.2.7:4711", known: true, said: "has to use TLS 1.2"},
		{name: "with an old TLS", change: func(p *login.AppPassword) { p.Legacy = false }, tls: &tls.ConnectionState{Version: tls.VersionTLS10}, remote: "192.0.2.7:4711", known: true, said: "has to use TLS 1.2"},
		{name: "with TLS", change: func(p *login.AppPassword) { p.Legacy = false }, tls: &tls.ConnectionState{Version: tls.VersionTLS12}, remote: "192.0.2.7:4711", known: true},
		{name: "another's account by now", change: func(p *login.AppPassword) { p.Owner = "bob-id" }, remote: "192.0.2.7:4711", known: true, said: "wrong"},
		{name: "of a store that has gone", change: func(p *login.AppPassword) { p.Store = "tea" }, remote: "192.0.2.7:4711", known: true, said: "wrong"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, impersonation)
			w.devices.network, w.devices.atNetwork = netip.MustParsePrefix("192.0.2.0/24"), device(c.change)
			client := newClient()
			client.peer.Address, client.peer.Protocol, client.state = c.remote, "submission", c.tls
			known, err := w.Recognize(t.Context(), client)
			if known != c.known {
				t.Fatalf("known: %v, %v", known, err)
			}
			failure := backends.AsFailure(err)
			switch {
			case c.said == "" && (err != nil || known != (client.account == "alice-id")):
				t.Errorf("let in as %q: %v", client.account, err)
			case c.said == "wrong" && backends.KindOf(err) != backends.BadCredentials:
				t.Errorf("got %v", err)
			case c.said != "" && c.said != "wrong" && (err == nil || !strings.Contains(failure.Reply().Text, c.said)):
				t.Errorf("got %v", err)
			}
			if len(w.passwords.used) > 0 {
				t.Errorf("the use was written down: %v", w.passwords.used)
			}
			if known && !strings.Contains(w.log.String(), `"device":"scanner"`) {
				t.Errorf("the log has %s", w.log)
			}
		})
	}
}

// TestDevicesDoNotWait: any number of clients at a device's address are let in at once, whatever failed there before.
func TestDevicesDoNotWait(t *testing.T) {
	w := newWorld(t, impersonation)
	w.devices.network, w.devices.atNetwork = netip.MustParsePrefix("192.0.2.0/24"), device(nil)
	entered := make(chan error, 100)
	var inside sync.WaitGroup // until all are there, none is done
	inside.Add(100)
	for range 100 {
		go func() {
			client := &slowClient{fakeClient: newClient(), inside: &inside}
			client.peer.Protocol = "submission"
			_, err := w.Recognize(t.Context(), client)
			entered <- err
		}()
	}
	for range 100 {
		if err := <-entered; err != nil {
			t.Fatal(err)
		}
	}
}

// slowClient enters once all others do.
type slowClient struct {
	*fakeClient
	inside *sync.WaitGroup
}

func (c *slowClient) Enter(context.Context, login.Entry) error {
	c.inside.Done()
	c.inside.Wait()
	return nil
}

// TestDeviceIsLearned: of whose account the store has said nothing before, that is noted, once.
func TestDeviceIsLearned(t *testing.T) {
	w := newWorld(t, impersonation)
	w.devices.network, w.devices.atNetwork = netip.MustParsePrefix("192.0.2.0/24"), device(func(p *login.AppPassword) { p.Owner, p.Account = "", "alice" })
	client := newClient()
	client.peer.Protocol = "submission"
	if _, err := w.Recognize(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if len(w.passwords.owners) != 1 || w.passwords.owners[0] != "alice-id" || w.devices.atNetwork.Owner != "" {
		t.Errorf("noted: %v", w.passwords.owners)
	}
}

// TestDeviceByPassword: a device's password is an application password, and the entry says whose device it is.
func TestDeviceByPassword(t *testing.T) {
	w := newWorld(t, impersonation)
	text := w.add(func(p *login.AppPassword) { p.Device, p.Owner, p.Legacy = "scanner", "alice-id", true })
	client := newClient()
	if err := w.Password(t.Context(), client, "alice@sakes.example", []byte(text)); err != nil {
		t.Fatal(err)
	}
	if e := client.entries[0]; e.Device != "scanner" || !e.Legacy || e.Known == nil || e.Known.ID != "alice-id" || e.Known.Address != "alice@sakes.example" {
		t.Errorf("entered with %+v", e)
	}
	w.passwords.all[0].Disabled = true
	if err := w.Password(t.Context(), client, "alice@sakes.example", []byte(text)); err == nil || !strings.Contains(backends.AsFailure(err).Reply().Text, "scanner may not log in: it is switched off") {
		t.Errorf("a device that is off: %v", err)
	}
	if err := w.Password(t.Context(), client, "alice@sakes.example", []byte(text[:len(text)-1]+"x")); backends.KindOf(err) != backends.BadCredentials {
		t.Errorf("whoever has not its password is told: %v", err)
	}
}

// TestDeviceByCertificate: EXTERNAL is offered to a device's certificate, whoever has signed it, for its account alone.
func TestDeviceByCertificate(t *testing.T) {
	a := newAuthority(t)
	w := newWorld(t, impersonation)
	own := a.issue(&x509.Certificate{DNSNames: []string{"scanner.sakes.example"}}).Leaf
	w.devices.certificate, w.devices.byIt = own, device(func(p *login.AppPassword) { p.Protocols = nil })
	for identity, good := range map[string]bool{"": true, "Alice@sakes.example": true, "bob@sakes.example": false} {
		client, _ := a.handshake(tls.VersionTLS13)
		client.state.PeerCertificates = []*x509.Certificate{own}
		if !slices.Contains(w.Mechanisms(client), "EXTERNAL") {
			t.Fatal("not offered")
		}
		if err := w.converse(client, "EXTERNAL", script([]byte(identity))); (err == nil) != good || good != (client.account == "alice-id") {
			t.Errorf("as %q: %v", identity, err)
		}
	}
	w.devices.fail = errors.New("the database is away")
	client, _ := a.handshake(tls.VersionTLS13)
	if known, err := w.Recognize(t.Context(), client); known || err == nil {
		t.Errorf("without a database: %v, %v", known, err)
	}
}
