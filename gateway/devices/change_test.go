//go:build linux

package devices

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestSet: what is changed counts for open sessions, which end where the login is another one; the password stays unless
// another one is asked for, and what cannot be changed so changes nothing.
func TestSet(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b := open()
		_, text, err := b.Add(t.Context(), scanner(), "office-id")
		if err != nil {
			t.Fatal(err)
		}
		b.mustAdd(t, printer("printer", "10.0.0.1/32"))
		b.Note("scanner", Use{From: "192.0.2.7"})
		before := b.is(t, "scanner")
		b.Write(t.Context()) // that it was used is no change

		for _, step := range []struct {
			name        string
			change      func(*Device)
			newPassword bool
			fails       string
			ends        bool // an open session does
			hash        bool // is another one
		}{
			{name: "where it stands", change: func(d *Device) { d.Place, d.Sending.PerMinute = "3rd floor", 7 }},
			{name: "its networks", change: func(d *Device) { d.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, ends: true},
			{name: "its protocols", change: func(d *Device) { d.Protocols = []string{POP3, Submission} }, ends: true},
			{name: "its password", change: func(*Device) {}, newPassword: true, ends: true, hash: true},
			{name: "another account alone", change: func(d *Device) { d.Account = "help@sakes.example" }, fails: ErrNeedsPassword.Error()},
			{name: "another account", change: func(d *Device) { d.Account = "help@sakes.example" }, newPassword: true, ends: true, hash: true},
			{name: "another's network", change: func(d *Device) {
				d.Proof, d.Protocols, d.Networks = ByNetwork, nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
			}, fails: "the device printer has the network 10.0.0.1/32 already"},
			{name: "nobody to tell", change: func(d *Device) { d.Owner = "" }, fails: "name the device's owner"},
			{name: "a network in the password's place", change: func(d *Device) {
				d.Proof, d.Protocols, d.Networks = ByNetwork, nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}
			}, ends: true, hash: true},
			{name: "its own network again", change: func(d *Device) { d.Place = "here" }},
			{name: "without a password", change: func(d *Device) { d.Proof = ByPassword }, fails: ErrNeedsPassword.Error()},
			{name: "a password in the network's place", change: func(d *Device) { d.Proof = ByPassword }, newPassword: true, ends: true, hash: true},
		} {
			was, session, hash := b.is(t, "scanner"), b.session(t), b.hash(t)
			after := *was
			step.change(&after)
			made, password, err := b.Set(t.Context(), *was, after, step.newPassword)
			if step.fails != "" {
				if err == nil || !strings.Contains(err.Error(), step.fails) || !b.is(t, "scanner").isStill(was) || b.hash(t) != hash {
					t.Errorf("%s: %v, now %+v", step.name, err, b.is(t, "scanner"))
				}
				continue
			}
			if err != nil || (password != "") != step.newPassword || password == text || !b.is(t, "scanner").isStill(made) {
				t.Fatalf("%s: %v, password %q, now %+v", step.name, err, password, b.is(t, "scanner"))
			}
			if err := session.Over(t.Context()); (err != nil) != step.ends || err != nil && !strings.Contains(err.Error(), "how the device scanner logs in was changed") {
				t.Errorf("%s: an open session: %v", step.name, err)
			}
			if !step.ends && session.Place != after.Place {
				t.Errorf("%s: an open session goes by %+v", step.name, session.Device)
			}
			if (b.hash(t) != hash) != step.hash {
				t.Errorf("%s: the password was changed: %v", step.name, !step.hash)
			}
		}
		if d := b.is(t, "scanner"); d.LastFrom != "192.0.2.7" || d.Created != before.Created {
			t.Errorf("what it did is forgotten: %+v", d)
		}
		if _, _, err := b.Set(t.Context(), *before, *before, false); !errors.Is(err, ErrChanged) {
			t.Errorf("by what it was long ago: %v", err)
		}
		gone := b.is(t, "scanner")
		if err := b.Remove(t.Context(), "scanner"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Set(t.Context(), *gone, *gone, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("one that has gone: %v", err)
		}
	})
}

// is a device as the database has it.
func (r *Registry) is(t *testing.T, name string) *Device {
	t.Helper()
	d, err := r.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hash is that of the scanner's password; empty: it has none.
func (r *Registry) hash(t *testing.T) string {
	t.Helper()
	d := r.is(t, "scanner")
	all, err := r.o.Passwords.Find(t.Context(), d.Store, d.Account)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.ID == d.Password && p.Device == "scanner" {
			return p.Hash
		}
	}
	return ""
}

// TestRename: a device with another name keeps its password, its open session and what it has sent today, and takes nobody's name.
func TestRename(t *testing.T) {
	each(t, func(t *testing.T, open func() *Registry) {
		b := open()
		d := scanner()
		d.Sending.PerDay = 2
		b.mustAdd(t, d)
		b.mustAdd(t, printer("printer", "10.0.0.1/32"))
		session, hash, before := b.session(t), b.hash(t), b.is(t, "scanner")
		take := func() error {
			_, _, err := session.Take(t.Context(), 1)
			return err
		}
		if err := take(); err != nil {
			t.Fatal(err)
		}
		after := *before
		after.Name = "printer"
		if _, _, err := b.Set(t.Context(), *before, after, false); !errors.Is(err, ErrExists) {
			t.Errorf("another one's name: %v", err)
		}
		after.Name = "plotter"
		if made, _, err := b.Set(t.Context(), *before, after, false); err != nil || made.Name != "plotter" || !b.is(t, "plotter").isStill(made) {
			t.Fatalf("%+v, %v", made, err)
		}
		if _, err := b.Get(t.Context(), "scanner"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the old name: %v", err)
		}
		all, err := b.o.Passwords.Find(t.Context(), d.Store, d.Account)
		if err != nil || len(all) != 1 || all[0].Hash != hash || all[0].Device != "plotter" || all[0].Label != "device plotter" {
			t.Errorf("its password: %+v, %v", all, err)
		}
		b.mustAdd(t, printer("scanner", "10.0.0.2/32")) // the old name is another one's now
		if err := session.Over(t.Context()); err != nil || session.Name != "plotter" {
			t.Errorf("an open session of %s: %v", session.Name, err)
		}
		if err := take(); err != nil {
			t.Error(err)
		}
		if err := take(); err == nil {
			t.Error("a device with another name has another day")
		}
		if err := b.Remove(t.Context(), "plotter"); err != nil {
			t.Fatal(err)
		}
		if err := session.Over(t.Context()); err == nil {
			t.Error("a device that was removed goes on")
		}
	})
}
