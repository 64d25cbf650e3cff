package mapirpc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/mapirpc"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	double "github.com/dipylon/dipylon/test/exchange"
)

const (
	georgesDN = "/o=Sakes/ou=First Administrative Group/cn=Recipients/cn=george"
	chrisDN   = "/o=Sakes/ou=First Administrative Group/cn=Recipients/cn=chris"
)

func start(t *testing.T) (*double.Server, *double.RPC, mapirpc.Config) {
	t.Helper()
	s := double.Start(t)
	s.AddMailbox("george@sakes.example", "george-secret", georgesDN)
	s.AddMailbox("chris@sakes.example", "chris-secret", chrisDN)
	r := s.StartRPC()
	return s, r, mapirpc.Config{Host: r.Host, Mapper: r.Mapper, SignIn: mapirpc.NTLM(`SAKES\george`, "george-secret")}
}

func kindOf(err error) backends.Kind {
	if err == nil {
		return 0
	}
	return backends.AsFailure(err).Kind
}

// logOn logs on to a mailbox.
func logOn(ctx context.Context, s *mapirpc.Session, dn string) error {
	var b rop.Batch
	_, reply := rop.Enter(&b, 0, &rop.Logon{LogonFlags: rop.LogonPrivate, OpenFlags: rop.OpenHomeLogon | rop.OpenTakeOwnership, Essdn: dn})
	if err := (&rop.Session{Transport: s, Chain: true}).Do(ctx, &b); err != nil {
		return err
	}
	return reply.Err()
}

func TestSession(t *testing.T) {
	for _, port := range []string{"", "given"} {
		server, r, config := start(t)
		if port != "" {
			config.Port, config.Mapper = r.Port(true), "1"
		}
		s, err := mapirpc.Connect(t.Context(), config, georgesDN)
		if err != nil {
			t.Fatal(err)
		}
		if s.DisplayName != "george@sakes.example" || s.DNPrefix != "/o=Sakes" || s.Generation() != 1 || !s.Packs() {
			t.Errorf("%q, %q, %d, %v", s.DisplayName, s.DNPrefix, s.Generation(), s.Packs())
		}
		if err := logOn(t.Context(), s, georgesDN); err != nil {
			t.Error(err)
		}
		if err := logOn(t.Context(), s, chrisDN); !errors.Is(err, rop.AccessDenied) {
			t.Errorf("somebody else's mailbox: %v", err)
		}
		if targets := r.Targets(); len(targets) != 1 || targets[0] != "exchangeMDB/127.0.0.1" {
			t.Error(targets)
		}
		if err := s.Disconnect(t.Context()); err != nil {
			t.Error(err)
		}
		if contexts, objects := server.Left(); contexts != 0 || objects != 0 {
			t.Errorf("%d session contexts and %d objects are left", contexts, objects)
		}
		if _, err := s.Execute(t.Context(), 0, nil, 100); !errors.Is(err, rop.ErrLost) {
			t.Error(err)
		}
	}
}

// TestAddressBookBound: a reply is held in memory, and may be as large as what was asked for can be.
func TestAddressBookBound(t *testing.T) {
	s, _, config := start(t)
	s.AddMailbox("long@sakes.example", "secret", "/o=Sakes/cn="+strings.Repeat("x", 200<<10))
	a, err := mapirpc.Bind(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	columns := []mapi.Tag{mapi.PidTagEmailAddress}
	if _, err := a.Resolve(t.Context(), []string{"=SMTP:long@sakes.example"}, columns); kindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "a reply of more than 131072 octets") {
		t.Error(err)
	}
	if err := a.Revive(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := []string{"=SMTP:long@sakes.example", "a", "b", "c", "d", "e", "f"} // so much may well come of so many
	if found, err := a.Resolve(t.Context(), names, columns); err != nil || found[0].Outcome != mapihttp.Resolved {
		t.Error(err)
	}
}

func TestAddressBook(t *testing.T) {
	_, _, config := start(t)
	config.SignIn = mapirpc.NTLM("george@sakes.example", "george-secret")
	a, err := mapirpc.Bind(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	columns := []mapi.Tag{mapi.PidTagEmailAddress, mapi.PidTagSmtpAddress, mapi.PidTagAddressBookProxyAddresses, mapi.PidTagEntryId, mapi.PidTagBody}
	check := func(values []mapi.Value, dn string) {
		t.Helper()
		if len(values) != len(columns) || values[0] != mapi.String(dn) || values[4] != mapi.ErrorCode(rop.NotFound) {
			t.Fatal(values)
		}
		proxies, _ := values[2].(mapi.Multiple[mapi.String])
		entry, _ := values[3].(mapi.Binary)
		if len(proxies) != 2 || proxies[1] != "X400:c=X;o=Sakes" || string(entry) != "\x78\x56\x34\x12" {
			t.Error(values)
		}
	}
	found, err := a.Resolve(t.Context(), []string{"=SMTP:george@sakes.example", "nobody", "=SMTP:chris@sakes.example"}, columns)
	if err != nil || found[1].Outcome != mapihttp.NotResolved {
		t.Fatal(found, err)
	}
	check(found[0].Values, georgesDN)
	check(found[2].Values, chrisDN)
	ids, err := a.IDs(t.Context(), []string{chrisDN, "/o=nowhere", georgesDN})
	if err != nil || ids[1] != mapihttp.NotResolved {
		t.Fatal(ids, err)
	}
	rows, err := a.Rows(t.Context(), []mapihttp.EntryID{ids[0], ids[2]}, columns)
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	check(rows[0], chrisDN)
	check(rows[1], georgesDN)
	values, err := a.Properties(t.Context(), ids[0], columns)
	if err != nil {
		t.Fatal(err)
	}
	check(values, chrisDN)
	if _, err := a.Properties(t.Context(), 99, columns); !errors.Is(err, rop.NotFound) {
		t.Error(err)
	}
	// A request and a reply of many fragments.
	many := make([]string, mapihttp.NamesMost)
	for i := range many {
		many[i] = "=SMTP:george@sakes.example"
	}
	if found, err = a.Resolve(t.Context(), many, columns); err != nil || len(found) != len(many) {
		t.Fatal(len(found), err)
	}
	check(found[999].Values, georgesDN)
	if _, err = a.Resolve(t.Context(), append(many, "x"), columns); kindOf(err) != backends.Permanent {
		t.Error(err)
	}
	if err := a.Unbind(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRefused has what a server may refuse when it is connected to.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *double.Server, r *double.RPC, c *mapirpc.Config)
		kind   backends.Kind
	}{
		{"a wrong password", func(_ *double.Server, _ *double.RPC, c *mapirpc.Config) {
			c.SignIn = mapirpc.NTLM(`SAKES\george`, "wrong")
		}, backends.BadCredentials},
		{"nobody", func(_ *double.Server, _ *double.RPC, c *mapirpc.Config) {
			c.SignIn = mapirpc.NTLM(`SAKES\nobody`, "wrong")
		}, backends.BadCredentials},
		{"somebody else's name", func(_ *double.Server, _ *double.RPC, c *mapirpc.Config) {
			c.SignIn = mapirpc.NTLM(`SAKES\chris`, "chris-secret")
		}, backends.Permanent},
		{"no mapper", func(_ *double.Server, _ *double.RPC, c *mapirpc.Config) { c.Mapper = "1" }, backends.Temporary},
		{"no mapper but something else", func(_ *double.Server, r *double.RPC, c *mapirpc.Config) { c.Mapper = r.Port(true) }, backends.Temporary},
		{"another service's port", func(_ *double.Server, r *double.RPC, c *mapirpc.Config) { c.Port = r.Port(false) }, backends.Unsupported},
		{"busy", func(s *double.Server, _ *double.RPC, _ *mapirpc.Config) { s.Busy(1) }, backends.Throttled},
		{"in the clear", func(_ *double.Server, r *double.RPC, _ *mapirpc.Config) { r.InTheClear() }, backends.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, r, config := start(t)
			server.Tolerate()
			test.change(server, r, &config)
			s, err := mapirpc.Connect(t.Context(), config, georgesDN)
			if kindOf(err) != test.kind {
				t.Errorf("%v, %v", s, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the password is in the error")
			}
			if n := server.Refusals("george@sakes.example"); test.name == "a wrong password" && n != 1 {
				t.Errorf("the password was tried %d times", n)
			}
		})
	}
}

// TestFaults has what may become of an Execute, and whether the session context is lost by it.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(s *double.Server, r *double.RPC)
		kind  backends.Kind
		lost  bool
	}{
		{"busy", func(s *double.Server, _ *double.RPC) { s.Busy(1) }, backends.Throttled, false},
		{"forgotten", func(s *double.Server, _ *double.RPC) { s.Forget() }, backends.Temporary, true},
		{"restarted", func(_ *double.Server, r *double.RPC) { r.Restart() }, backends.Uncertain, true},
		{"cut", func(_ *double.Server, r *double.RPC) { r.Twist(0, func([]byte) []byte { return nil }) }, backends.Uncertain, true},
		{"half of a reply", func(_ *double.Server, r *double.RPC) {
			r.Twist(0, func(pdu []byte) []byte { return pdu[:len(pdu)/2] })
		}, backends.Uncertain, true},
		{"a length that lies", func(_ *double.Server, r *double.RPC) {
			r.Twist(0, func(pdu []byte) []byte { pdu[9] = 0xFF; return pdu })
		}, backends.Uncertain, true},
		{"changed on the way", func(_ *double.Server, r *double.RPC) {
			r.Twist(0, func(pdu []byte) []byte { pdu[30] ^= 1; return pdu })
		}, backends.Uncertain, true},
		{"an unknown fault", func(_ *double.Server, r *double.RPC) {
			r.Twist(0, func(pdu []byte) []byte {
				return append([]byte{5, 0, 3, 3, 0x10, 0, 0, 0, 32, 0, 0, 0}, append(pdu[12:16:16], "\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x07\x80\x00\x00\x00\x00"...)...)
			})
		}, backends.Uncertain, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, r, config := start(t)
			if test.name == "half of a reply" {
				config.Timeout = 300 * time.Millisecond
			}
			s, err := mapirpc.Connect(t.Context(), config, georgesDN)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := logOn(t.Context(), s, georgesDN); err != nil {
				t.Fatal(err)
			}
			test.fault(server, r)
			err = logOn(t.Context(), s, georgesDN)
			if kindOf(err) != test.kind || errors.Is(err, rop.ErrLost) != test.lost {
				t.Errorf("%v", err)
			}
			if err := s.Revive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := logOn(t.Context(), s, georgesDN); err != nil {
				t.Errorf("then %v", err)
			}
			if anew := s.Generation() > 1; anew != test.lost {
				t.Errorf("generation %d", s.Generation())
			}
		})
	}
}

// TestHanging ends a call that hangs, and the session goes on.
func TestHanging(t *testing.T) {
	_, r, config := start(t)
	s, err := mapirpc.Connect(t.Context(), config, georgesDN)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r.Twist(0, func(pdu []byte) []byte { cancel(); return pdu[:20] })
	if err := logOn(ctx, s, georgesDN); !errors.Is(err, context.Canceled) || kindOf(err) != backends.Uncertain {
		t.Error(err)
	}
	if err := s.Revive(t.Context()); err != nil || s.Generation() != 2 {
		t.Fatal(err, s.Generation())
	}
	if err := logOn(t.Context(), s, georgesDN); err != nil {
		t.Error(err)
	}
}

// TestPorts: the endpoint mapper is asked once, and again when the services are at other ports.
func TestPorts(t *testing.T) {
	server, r, config := start(t)
	config.Ports = &mapirpc.Ports{}
	connect := func(want int) {
		t.Helper()
		for range 3 {
			s, err := mapirpc.Connect(t.Context(), config, georgesDN)
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
		}
		if n := r.Mapped(); n != want {
			t.Errorf("the endpoint mapper was asked %d times, want %d", n, want)
		}
	}
	connect(1)
	r.Restart()
	connect(2)
	config.SignIn = mapirpc.NTLM(`SAKES\george`, "wrong")
	if _, err := mapirpc.Connect(t.Context(), config, georgesDN); kindOf(err) != backends.BadCredentials || server.Refusals("george@sakes.example") != 1 {
		t.Errorf("%v, and the password was tried %d times", err, server.Refusals("george@sakes.example"))
	}
	if _, err := mapirpc.Bind(t.Context(), config); kindOf(err) != backends.BadCredentials || r.Mapped() != 3 {
		t.Errorf("%v, and the endpoint mapper was asked %d times", err, r.Mapped())
	}
}
