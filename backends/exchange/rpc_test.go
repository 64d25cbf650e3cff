package exchange_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	double "github.com/dipylon/dipylon/test/exchange"
)

// startRPC is start for a server that is spoken to by RPC.
func startRPC(t testing.TB, settings map[string]any) (*site, *double.RPC) {
	t.Helper()
	s := start(t, nil)
	r := s.StartRPC()
	mapper, err := strconv.Atoi(r.Mapper)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"protocol": "rpc", "rpc": map[string]any{"host": r.Host, "mapper": mapper}}
	for name, value := range settings {
		all[name] = value
	}
	if s.settings.Raw, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return s, r
}

func TestRPCConformance(t *testing.T) {
	t.Parallel()
	target := func(t *testing.T) storetest.Target {
		s, _ := startRPC(t, takes)
		made := s.target(t)
		made.BadSettings = map[string]string{
			"uri":                   `{"uri": "x"}`,
			"url":                   `{"protocol": "rpc", "url": "https://mail.sakes.example", "rpc": {"host": "mail.sakes.example"}}`,
			"rpc":                   `{"url": "https://mail.sakes.example", "rpc": {"host": "mail.sakes.example"}}`,
			"rpc.host":              `{"protocol": "rpc"}`,
			"rpc.port":              `{"protocol": "rpc", "rpc": {"host": "mail.sakes.example", "port": 65536}}`,
			"rpc.mapper":            `{"protocol": "rpc", "rpc": {"host": "mail.sakes.example", "mapper": 0}}`,
			"rpc.address_book.host": `{"protocol": "rpc", "rpc": {"host": "mail.sakes.example", "address_book": {"host": "gc:6004"}}}`,
			"rpc.address_book.port": `{"protocol": "rpc", "rpc": {"host": "mail.sakes.example", "address_book": {"port": -1}}}`,
			"authentication":        `{"protocol": "rpc", "authentication": "basic", "rpc": {"host": "mail.sakes.example"}}`,
		}
		return made
	}
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, target(t))
	})
	t.Run("as plugin", func(t *testing.T) {
		t.Parallel()
		some(t, asPlugin(t, target(t)), boundary)
	})
}

// TestRPCFaults has what befalls a server while a session reads.
func TestRPCFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(s *site, r *double.RPC)
		kind  backends.Kind
	}{
		{"forgotten", func(s *site, _ *double.RPC) { s.Forget() }, 0},
		{"restarted", func(_ *site, r *double.RPC) { r.Restart() }, 0},
		{"the connection is cut", func(_ *site, r *double.RPC) { r.Twist(0, func([]byte) []byte { return nil }) }, 0},
		{"changed on the way", func(_ *site, r *double.RPC) {
			r.Twist(1, func(pdu []byte) []byte { pdu[40] ^= 0x20; return pdu })
		}, 0},
		{"a length that lies", func(_ *site, r *double.RPC) {
			r.Twist(0, func(pdu []byte) []byte { pdu[8]--; return pdu })
		}, 0},
		{"busy", func(s *site, _ *double.RPC) { s.Busy(1) }, backends.Throttled},
		{"small buffers", func(s *site, _ *double.RPC) { s.Room(2000) }, 0},
		{"another password", func(s *site, r *double.RPC) { s.boxes[george].SetPassword("another"); r.Restart() }, backends.BadCredentials},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, r := startRPC(t, nil)
			for i := range 3 {
				if err := s.put(george, []byte(numbered(i))); err != nil {
					t.Fatal(err)
				}
			}
			store := s.store(t)
			m := open(t, store, "")
			ids, _ := list(t, m)
			if len(ids) != 3 {
				t.Fatal(len(ids))
			}
			test.fault(s, r)
			c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[1]})
			if err == nil {
				_ = c.Close()
			}
			if backends.KindOf(err) != test.kind {
				t.Fatal(err)
			}
			if test.kind == backends.BadCredentials {
				if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[0]}); backends.KindOf(err) != test.kind || s.Refusals(george) != 1 {
					t.Errorf("%v, and the password was tried %d times", err, s.Refusals(george))
				}
				return
			}
			if got := fetch(t, m, ids[2]); got != numbered(2) {
				t.Errorf("then %q", got)
			}
		})
	}
}

// TestRPCWrongPassword: a password that is wrong goes to the server once, and an outage is told as that.
func TestRPCWrongPassword(t *testing.T) {
	s, r := startRPC(t, nil)
	store := s.store(t)
	for range 3 {
		if _, err := store.Login(t.Context(), credential("wrong")); backends.KindOf(err) != backends.BadCredentials {
			t.Fatal(err)
		}
	}
	if n := s.Refusals(george); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
	if _, err := store.Login(t.Context(), credential("george-secret")); err != nil {
		t.Error(err)
	}
	for range 2 { // that to a port which is remembered, and the one to the endpoint mapper
		r.Twist(0, func([]byte) []byte { return nil })
	}
	if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.Temporary {
		t.Errorf("connections that are cut: %v", err)
	}
	if _, err := store.Login(t.Context(), backends.Credential{Kind: backends.CredentialToken, User: george, Secret: []byte("t")}); backends.KindOf(err) != backends.Unsupported {
		t.Errorf("a token: %v", err)
	}
}

// TestRPCLogins has the forms of login names, and ports that are given.
func TestRPCLogins(t *testing.T) {
	for _, domain := range []string{"", "SAKES"} {
		s, r := startRPC(t, nil)
		number := func(mailboxes bool) int {
			n, err := strconv.Atoi(r.Port(mailboxes))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		raw, err := json.Marshal(map[string]any{"protocol": "rpc", "domain": domain, "rpc": map[string]any{
			"host": "localhost", "port": number(true), "mapper": 1, "address_book": map[string]any{"host": r.Host, "port": number(false)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.settings.Raw = raw
		store := s.store(t)
		if err := store.Health(t.Context()); err != nil {
			t.Error(err)
		}
		_ = open(t, store, "")
		if targets := r.Targets(); !slices.Equal(targets, []string{"exchangeAB/127.0.0.1", "exchangeMDB/localhost"}) {
			t.Error(targets)
		}
	}
}

// TestRPCExamined has dipylon doctor go the way.
func TestRPCExamined(t *testing.T) {
	s, r := startRPC(t, nil)
	if err := s.put(george, []byte(bill)); err != nil {
		t.Fatal(err)
	}
	steps := func(password string) (names []string, cause string) {
		err := s.store(t).Examine(t.Context(), backends.ExamineRequest{Credential: credential(password)}, func(step backends.Step) {
			names = append(names, step.Name)
			if step.Outcome != backends.StepGood {
				cause = step.Cause
			}
		})
		if err != nil {
			t.Error(err)
		}
		return names, cause
	}
	names, cause := steps("george-secret")
	want := "RPC of the mailboxes at 127.0.0.1, RPC of the address book at 127.0.0.1, login, mailbox, session, folder, list, message"
	if strings.Join(names, ", ") != want || cause != "" {
		t.Errorf("%v, %q", names, cause)
	}
	if _, cause = steps("wrong"); cause != "wrong-password" {
		t.Errorf("%q", cause)
	}
	r.Unregister()
	if _, cause = steps("george-secret"); cause != "rpc-off" {
		t.Errorf("%q", cause)
	}
}
