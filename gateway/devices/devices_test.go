//go:build linux

package devices

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }

var _ login.Devices = (*Registry)(nil)

// each runs a test on SQLite and on PostgreSQL. A call of open is another process on the same database.
func each(t *testing.T, f func(t *testing.T, open func() *Registry)) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		f(t, func() *Registry {
			db := databases.Open(t, o)
			return New(Options{Log: zerolog.Nop(), DB: db, Passwords: passwords.New(db), Counts: quota.New(db)})
		})
	})
}

func scanner() Device {
	return Device{Name: "scanner", Store: "sakes", Account: "office@sakes.example", Owner: "it@sakes.example", Proof: ByPassword}
}

func printer(name string, networks ...string) Device {
	d := scanner()
	d.Name, d.Proof = name, ByNetwork
	for _, n := range networks {
		d.Networks = append(d.Networks, netip.MustParsePrefix(n))
	}
	return d
}

func (r *Registry) mustAdd(t *testing.T, d Device) *Device {
	t.Helper()
	made, _, err := r.Add(t.Context(), d, "office-id")
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestKept: what is added is found by another process, has one password, and is switched off, on and removed.
func TestKept(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b, other := open(), open()
		full := scanner()
		full.Place, full.Protocols, full.Legacy = "2nd floor", []string{Submission, POP3, POP3}, true
		full.Networks = []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.7/120")}
		full.Sending = Sending{Sender: "Office@Sakes.example", Recipients: []string{"@Sakes.example", "x@far.example"}, PerMinute: 3, Size: 1 << 20}
		_, text, err := b.Add(t.Context(), full, "office-id")
		if err != nil || !strings.Contains(text, "-") {
			t.Fatal(text, err)
		}
		got, err := other.Get(t.Context(), "scanner")
		if err != nil {
			t.Fatal(err)
		}
		if got.Place != "2nd floor" || len(got.Protocols) != 2 || !got.Legacy || got.Networks[0].String() != "192.0.2.0/24" ||
			got.Sending.Sender != "Office@sakes.example" || got.Sending.Recipients[0] != "@sakes.example" || got.Sending.PerMinute != 3 || got.accountID != "office-id" {
			t.Errorf("found %+v", got)
		}
		found, err := other.o.Passwords.Find(t.Context(), "sakes", "office@sakes.example")
		if err != nil || len(found) != 1 || found[0].Device != "scanner" || !found[0].Legacy || found[0].Wordless {
			t.Errorf("its password: %+v, %v", found, err)
		}
		if revoked, err := b.o.Passwords.Revoke(t.Context(), got.Password); revoked || err != nil {
			t.Errorf("its password was revoked: %v", err)
		}
		session, err := other.Session(t.Context(), "scanner")
		if err != nil || session.Over(t.Context()) != nil {
			t.Fatal(err)
		}
		if err := b.SetDisabled(t.Context(), "scanner", true); err != nil {
			t.Fatal(err)
		}
		b.Settle(t.Context())
		if err := session.Over(t.Context()); err == nil || !strings.Contains(err.Error(), "switched off") {
			t.Errorf("the session of a device that is off: %v", err)
		}
		if err := b.SetDisabled(t.Context(), "scanner", false); err != nil {
			t.Fatal(err)
		}
		b.Settle(t.Context())
		if err := session.Over(t.Context()); err != nil {
			t.Errorf("on again: %v", err)
		}
		if err := b.Remove(t.Context(), "scanner"); err != nil {
			t.Fatal(err)
		}
		b.Settle(t.Context())
		if err := session.Over(t.Context()); err == nil || !strings.Contains(err.Error(), "removed") {
			t.Errorf("the session of a device that was removed: %v", err)
		}
		if found, _ := other.o.Passwords.Find(t.Context(), "sakes", "office@sakes.example"); len(found) > 0 {
			t.Error("its password is still there")
		}
		for _, err := range []error{b.Remove(t.Context(), "scanner"), b.SetDisabled(t.Context(), "", true)} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestNetworks: an address is the device's with the smallest network around it, and two devices cannot have the same one.
func TestNetworks(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b := open()
		b.mustAdd(t, printer("floor", "10.0.0.0/8", "2001:db8:0:1::/64"))
		b.mustAdd(t, printer("one", "10.1.2.3/32"))
		b.mustAdd(t, printer("room", "10.1.2.0/24"))
		for at, want := range map[string]string{
			"10.9.9.9": "floor", "10.1.2.3": "one", "::ffff:10.1.2.3": "one", "10.1.2.4": "room", "::ffff:10.1.2.4": "room",
			"2001:db8:0:1::5": "floor", "192.0.2.1": "", "2001:db8::1": "", "::10.1.2.3": "",
		} {
			got, err := b.Of(t.Context(), netip.MustParseAddr(at), nil)
			if err != nil || got == nil && want != "" || got != nil && (got.Device != want || !got.Wordless) {
				t.Errorf("%s is %+v (%v), not %q", at, got, err, want)
			}
		}
		_, _, err := b.Add(t.Context(), printer("two", "::ffff:10.1.2.0/120"), "")
		if err == nil || !strings.Contains(err.Error(), "the device room has the network 10.1.2.0/24 already") {
			t.Errorf("the same network: %v", err)
		}
		if _, _, err := b.Add(t.Context(), printer("room", "10.7.0.0/16"), ""); !errors.Is(err, ErrExists) {
			t.Errorf("the same name: %v", err)
		}
		if all, err := b.List(t.Context()); err != nil || len(all) != 3 {
			t.Errorf("%d devices (%v)", len(all), err)
		}
		if found, _ := b.o.Passwords.List(t.Context(), "", ""); len(found) > 0 {
			t.Errorf("there are passwords: %+v", found)
		}
	})
}

// TestCheck: what cannot be is told.
func TestCheck(t *testing.T) {
	now := time.Now()
	for want, change := range map[string]func(*Device){
		"is no name":                     func(d *Device) { d.Name = "Scanner 2" },
		"the place is one line":          func(d *Device) { d.Place = "a\nb" },
		"there is no protocol":           func(d *Device) { d.Protocols = []string{"imap"} },
		"name the device's owner":        func(d *Device) { d.Owner = "" },
		"is no mail address":             func(d *Device) { d.Owner = "it" },
		"needs a network":                func(d *Device) { d.Proof = ByNetwork },
		"no proof for POP3":              func(d *Device) { *d = printer("x", "10.0.0.0/8"); d.Protocols = []string{POP3} },
		"0.0.0.0/0 is too large":         func(d *Device) { *d = printer("x", "0.0.0.0/0") },
		"198.51.0.0/16 is too large":     func(d *Device) { *d = printer("x", "198.51.0.0/16") },
		"::/0 is too large":              func(d *Device) { *d = printer("x", "::/0") },
		"and of others":                  func(d *Device) { *d = printer("x", "::ffff:10.0.0.0/64") },
		"there is no proof":              func(d *Device) { d.Proof = "word" },
		"a certificate is for devices":   func(d *Device) { d.Certificate = &Certificate{} },
		"it cannot be the proof":         func(d *Device) { d.Proof, d.Certificate, d.Legacy = ByCertificate, &Certificate{}, true },
		"takes a fingerprint":            func(d *Device) { d.Proof, d.Certificate = ByCertificate, &Certificate{} },
		"64 hexadecimal digits":          func(d *Device) { d.Proof, d.Certificate = ByCertificate, &Certificate{Fingerprint: "12"} },
		"no certificate in PEM form":     func(d *Device) { d.Proof, d.Certificate = ByCertificate, &Certificate{Authority: "x", Name: "y"} },
		"and not by both":                func(d *Device) { d.Proof, d.Certificate = ByCertificate, &Certificate{Fingerprint: "12", Name: "y"} },
		"the sender \"x\" is no mail":    func(d *Device) { d.Sending.Sender = "x" },
		"the old From goes to":           func(d *Device) { d.Sending.KeepFrom = "cc" },
		"is neither an address nor":      func(d *Device) { d.Sending.Recipients = []string{"sakes.example"} },
		"is no domain":                   func(d *Device) { d.Sending.Senders = []string{"@"} },
		"a rate is":                      func(d *Device) { d.Sending.PerHour = -1 },
		"a size is not below":            func(d *Device) { d.Sending.Size = -1 },
		"\"latin\" is no name of a char": func(d *Device) { d.Sending.Charset = "latin" },
	} {
		d := scanner()
		change(&d)
		if err := d.Check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	for _, good := range []Device{scanner(), printer("x", "192.168.0.0/16"), printer("x", "198.51.100.0/24"), printer("x", "2001:db8::/64"), printer("x", "fd00::/8")} {
		if err := good.Check(now); err != nil {
			t.Error(err)
		}
	}
}

// authorityOf signs certificates.
type authorityOf struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authorityOf {
	t.Helper()
	a := authorityOf{}
	a.certificate, a.key = a.issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "CA"}})
	return a
}

func (a authorityOf) issue(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	by, with := a.certificate, a.key
	if by == nil {
		by, with = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func (a authorityOf) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// TestCertificates: a certificate is the device's by its fingerprint, or by authority and name; one that has expired, that
// another authority has signed or that is for another use is not.
func TestCertificates(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b, a, stranger := open(), newAuthority(t), newAuthority(t)
		client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		own, _ := authorityOf{}.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "alone"}})
		old, _ := a.issue(t, &x509.Certificate{DNSNames: []string{"box.sakes.example"}, ExtKeyUsage: client, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Minute)})
		good, _ := a.issue(t, &x509.Certificate{DNSNames: []string{"Box.sakes.example"}, ExtKeyUsage: client})
		server, _ := a.issue(t, &x509.Certificate{DNSNames: []string{"box.sakes.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		another, _ := a.issue(t, &x509.Certificate{DNSNames: []string{"other.sakes.example"}, ExtKeyUsage: client})
		forged, _ := stranger.issue(t, &x509.Certificate{DNSNames: []string{"box.sakes.example"}, ExtKeyUsage: client})
		alone, box := scanner(), scanner()
		alone.Name, alone.Proof, alone.Certificate = "alone", ByCertificate, &Certificate{Fingerprint: strings.ToUpper(fingerprint(own))}
		box.Name, box.Proof, box.Certificate = "box", ByCertificate, &Certificate{Authority: a.pem(), Name: "box.sakes.example"}
		b.mustAdd(t, alone)
		b.mustAdd(t, box)
		b.mustAdd(t, printer("printer", "192.0.2.0/24"))
		at := netip.MustParseAddr("192.0.2.1")
		for name, c := range map[string]struct {
			shown *x509.Certificate
			want  string
		}{
			"by fingerprint": {own, "alone"}, "by authority": {good, "box"}, "expired": {old, "error"},
			"another use": {server, "printer"}, "another name": {another, "printer"}, "another authority": {forged, "printer"},
		} {
			got, err := b.Of(t.Context(), at, []*x509.Certificate{c.shown})
			switch {
			case c.want == "error":
				if err == nil || !strings.Contains(err.Error(), "has expired on") || backends.KindOf(err) != backends.Permanent {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
			case err != nil || got == nil || got.Device != c.want:
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		b.o.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
		if _, err := b.Of(t.Context(), at, []*x509.Certificate{own}); err == nil {
			t.Error("a certificate that is known by its fingerprint is good after its end")
		}
		b.Write(t.Context())
		if d, err := b.Get(t.Context(), "box"); err != nil || !strings.Contains(d.LastError, "has expired on") {
			t.Errorf("the last error is %q (%v)", d.LastError, err)
		}
	})
}

// TestTake: more than a minute's messages wait, more than a day's are refused, and what was not taken does not count.
func TestTake(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b := open()
		now := time.Now()
		b.o.Now = func() time.Time { return now }
		d := scanner()
		d.Sending.PerMinute, d.Sending.PerDay, d.Sending.RecipientsPerDay = 2, 5, 8
		b.mustAdd(t, d)
		s, err := b.Session(t.Context(), "scanner")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{0, 0, 30 * time.Second, time.Minute} {
			if wait, _, err := s.Take(t.Context(), 1); err != nil || wait != want {
				t.Errorf("message %d waits %s (%v)", i, wait, err)
			}
		}
		if _, _, err := s.Take(t.Context(), 5); backends.KindOf(err) != backends.Throttled || !strings.Contains(err.Error(), "8 recipients") {
			t.Errorf("more recipients than a day's: %v", err)
		}
		_, back, err := s.Take(t.Context(), 4)
		if err != nil {
			t.Fatalf("what was refused counts: %v", err)
		}
		if _, _, err := s.Take(t.Context(), 1); backends.KindOf(err) != backends.Throttled {
			t.Errorf("more messages than a day's: %v", err)
		}
		back(t.Context())
		if _, _, err := s.Take(t.Context(), 4); err != nil {
			t.Errorf("what was given back counts: %v", err)
		}
	})
}

// TestFaultIsNoPeak: a device that sends without end is told so before a day's messages wait.
func TestFaultIsNoPeak(t *testing.T) {
	var p paces
	now := time.Now()
	for i := range 100 {
		if _, ok := p.take("scanner", Sending{PerHour: 2}, now); !ok {
			if i < 48 || i > 51 {
				t.Errorf("refused after %d", i)
			}
			break
		} else if i == 99 {
			t.Error("never refused")
		}
	}
	if wait, ok := p.take("scanner", Sending{PerHour: 2}, now.Add(26*time.Hour)); !ok || wait != 0 {
		t.Errorf("a day later: %s, %v", wait, ok)
	}
}

// TestRefusedIsNotWaitedFor: a message that was not taken takes no other's turn, one that no day has room for is refused for
// good, and a device that was added again begins anew.
func TestRefusedIsNotWaitedFor(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b := open()
		now := time.Now()
		b.o.Now = func() time.Time { return now }
		d := scanner()
		d.Sending.PerMinute, d.Sending.PerHour, d.Sending.RecipientsPerDay = 2, 2, 8
		b.mustAdd(t, d)
		for range 100 {
			_, back, err := b.session(t).Take(t.Context(), 1)
			if err != nil {
				t.Fatalf("what was refused counts: %v", err)
			}
			back(t.Context())
		}
		if _, _, err := b.session(t).Take(t.Context(), 9); backends.KindOf(err) != backends.Permanent || !strings.Contains(err.Error(), "8 recipients") {
			t.Errorf("a message that never fits: %v", err)
		}
		for i, want := range []time.Duration{0, 0, 30 * time.Minute} {
			if wait, _, err := b.session(t).Take(t.Context(), 1); err != nil || wait != want {
				t.Errorf("message %d waits %s (%v)", i, wait, err)
			}
		}
		if err := b.Remove(t.Context(), "scanner"); err != nil {
			t.Fatal(err)
		}
		b.mustAdd(t, d)
		if wait, _, err := b.session(t).Take(t.Context(), 1); err != nil || wait != 0 {
			t.Errorf("after it was added again the first message waits %s (%v)", wait, err)
		}
	})
}

// session is one of the scanner's.
func (r *Registry) session(t *testing.T) *Session {
	t.Helper()
	s, err := r.Session(t.Context(), "scanner")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRights: who it may write as and to.
func TestRights(t *testing.T) {
	box := func(text string) address.Mailbox {
		b, err := address.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s := Session{Device: &Device{Sending: Sending{Sender: "office@sakes.example", Recipients: []string{"@sakes.example", "x@far.example"}}}}
	for text, want := range map[string]bool{"Office@sakes.example": true, "ceo@sakes.example": false} {
		if may, known := s.MaySend(box(text)); may != want || !known {
			t.Errorf("as %s: %v %v", text, may, known)
		}
	}
	for text, want := range map[string]bool{"a@sakes.example": true, "X@far.example": true, "y@far.example": false, "a@sub.sakes.example": false} {
		if s.MayReach(box(text)) != want {
			t.Errorf("to %s: %v", text, !want)
		}
	}
	if _, known := (&Session{Device: &Device{}}).MaySend(box("a@b.example")); known {
		t.Error("without a list the account's rights count")
	}
}

// TestNotes: last use and last error are written together, and seldom.
func TestNotes(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b := open()
		b.mustAdd(t, scanner())
		b.Note("scanner", Use{From: "192.0.2.7"})
		b.Note("scanner", Use{Failed: "550 no such user\r\nX: \xff" + strings.Repeat("é", 300)})
		b.Note("gone", Use{From: "192.0.2.8"})
		if d, _ := b.Get(t.Context(), "scanner"); !d.LastUsed.IsZero() {
			t.Error("written at once")
		}
		b.Write(t.Context())
		d, err := b.Get(t.Context(), "scanner")
		if err != nil || d.LastUsed.IsZero() || d.LastFrom != "192.0.2.7" || !strings.HasPrefix(d.LastError, "550 no such user") || d.ErrorAt.IsZero() || len(d.LastError) > errorMost {
			t.Errorf("%+v, %v", d, err)
		}
	})
}
