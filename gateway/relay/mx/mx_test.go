package mx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/test/fakedns"
)

const zones = `
	sakes.example.      MX 10 mx1.sakes.example.
	sakes.example.      MX 20 mx2.sakes.example.
	sakes.example.      MX 5  MX0.Sakes.example.
	mx0.sakes.example.  A 192.0.2.10
	mx1.sakes.example.  A 192.0.2.1
	mx1.sakes.example.  A 192.0.2.2
	mx1.sakes.example.  AAAA 2001:db8::1
	mx2.sakes.example.  A 192.0.2.3
	implicit.example.   A 192.0.2.4
	implicit.example.   AAAA 2001:db8::4
	nomail.example.     MX 0 .
	muddled.example.    MX 0 .
	muddled.example.    MX 10 mx2.sakes.example.
	text.example.       TXT "no mail here"
	alias.example.      CNAME sakes.example.
	toalias.example.    MX 10 www.sakes.example.
	www.sakes.example.  CNAME mx2.sakes.example.
	circle.example.     CNAME round.example.
	round.example.      CNAME circle.example.
	nowhere.example.    MX 10 gone.sakes.example.
	half.example.       MX 10 gone.sakes.example.
	half.example.       MX 20 mx2.sakes.example.
	odd.example.        MX 10 odd.sakes.example.
	odd.sakes.example.  A 0.0.0.0
	odd.sakes.example.  A 224.0.0.1
	bad.example.        MX 10 down.sakes.example.
	down.sakes.example. TXT "x"
	equal.example.      MX 10 mx0.sakes.example.
	equal.example.      MX 10 mx2.sakes.example.
	equal.example.      MX 10 implicit.example.
`

func nobody(mx.Host) bool { return false }

func named(names ...string) func(mx.Host) bool {
	return func(h mx.Host) bool { return slices.Contains(names, h.Name) }
}

// resolver asks the server, and no longer than a test has patience.
func resolver(s *fakedns.Server) *mx.Resolver {
	return &mx.Resolver{Servers: []string{s.Address}, Timeout: time.Minute, Rounds: 1}
}

func text(hosts []mx.Host) string {
	var all []string
	for _, h := range hosts {
		addresses := slices.Clone(h.Addresses)
		slices.SortFunc(addresses, netip.Addr.Compare)
		all = append(all, fmt.Sprint(h.Preference, " ", h.Name, " ", addresses))
	}
	return strings.Join(all, "; ")
}

func TestHosts(t *testing.T) {
	t.Parallel()
	server := (&fakedns.Server{Records: zones}).Start(t)
	const mx2 = "mx2.sakes.example [192.0.2.3]"
	const all = "5 mx0.sakes.example [192.0.2.10]; 10 mx1.sakes.example [192.0.2.1 192.0.2.2 2001:db8::1]; 20 " + mx2
	for _, c := range []struct {
		domain string
		ours   func(mx.Host) bool
		want   string
		kind   mx.Kind
		code   string
	}{
		{"sakes.example", nobody, all, 0, ""},
		{"SAKES.example", nobody, all, 0, ""},
		{"implicit.example", nobody, "0 implicit.example [192.0.2.4 2001:db8::4]", 0, ""},
		{"alias.example", nobody, all, 0, ""},
		{"toalias.example", nobody, "10 www.sakes.example [192.0.2.3]", 0, ""},
		{"muddled.example", nobody, "10 " + mx2, 0, ""},
		{"half.example", nobody, "20 " + mx2, 0, ""},
		{"sakes.example", named("mx2.sakes.example"), "5 mx0.sakes.example [192.0.2.10]; 10 mx1.sakes.example [192.0.2.1 192.0.2.2 2001:db8::1]", 0, ""},
		{"sakes.example", named("mx1.sakes.example"), "5 mx0.sakes.example [192.0.2.10]", 0, ""},
		{"sakes.example", func(h mx.Host) bool { return slices.Contains(h.Addresses, netip.MustParseAddr("192.0.2.2")) }, "5 mx0.sakes.example [192.0.2.10]", 0, ""},
		{"sakes.example", named("mx0.sakes.example"), "", mx.Loop, "5.4.6"},
		{"implicit.example", named("implicit.example"), "", mx.Loop, "5.4.6"},
		{"equal.example", named("mx2.sakes.example"), "", mx.Loop, "5.4.6"},
		{"far.example", nobody, "", mx.NoDomain, "5.1.2"},
		{"nomail.example", nobody, "", mx.NoMail, "5.1.10"},
		{"text.example", nobody, "", mx.NoHost, "5.4.4"},
		{"nowhere.example", nobody, "", mx.NoHost, "5.4.4"},
		{"odd.example", nobody, "", mx.NoHost, "5.4.4"},
		{"circle.example", nobody, "", mx.Failed, "4.4.3"},
	} {
		hosts, err := resolver(server).Hosts(t.Context(), c.domain, c.ours)
		if got := text(hosts); got != c.want {
			t.Errorf("%s: got %s, want %s", c.domain, got, c.want)
		}
		var e *mx.Error
		switch {
		case c.kind == 0 && err != nil:
			t.Errorf("%s: %v", c.domain, err)
		case c.kind != 0 && (!errors.As(err, &e) || e.Kind != c.kind || e.Code() != c.code || e.Temporary() != (c.code[0] == '4')):
			t.Errorf("%s: %v (%+v)", c.domain, err, e)
		}
	}
}

// TestTurns: hosts of one preference, and the addresses of one host, do not always come in the same order;
// families take turns.
func TestTurns(t *testing.T) {
	t.Parallel()
	server := (&fakedns.Server{Records: zones}).Start(t)
	first := make(map[string]bool)
	for range 200 {
		hosts, err := resolver(server).Hosts(t.Context(), "equal.example", nobody)
		if err != nil {
			t.Fatal(err)
		}
		if first[hosts[0].Name] = true; len(first) == 3 {
			break
		}
	}
	if len(first) != 3 {
		t.Errorf("first are only %v", first)
	}
	hosts, err := resolver(server).Hosts(t.Context(), "sakes.example", nobody)
	if err != nil {
		t.Fatal(err)
	}
	if a := hosts[1].Addresses; !a[0].Is6() || !a[1].Is4() {
		t.Errorf("the families do not take turns: %v", a)
	}
}

// TestFaults: what keeps the resolver from knowing is told apart, and is no word about the domain.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		domain, at string
		fault      fakedns.Fault
		kind       mx.Kind // 0: the hosts are found even so
	}{
		"SERVFAIL":                      {"sakes.example", "sakes.example. MX", fakedns.ServFail, mx.Failed},
		"REFUSED":                       {"sakes.example", "sakes.example. MX", fakedns.Refused, mx.Failed},
		"a lame delegation":             {"sakes.example", "sakes.example. MX", fakedns.Lame, mx.Failed},
		"no answer":                     {"sakes.example", "sakes.example. MX", fakedns.Silent, mx.Silent},
		"what is no message":            {"sakes.example", "sakes.example. MX", fakedns.Garbage, mx.Malformed},
		"a forgery":                     {"sakes.example", "sakes.example. MX", fakedns.Forged, mx.Silent},
		"an answer that is too long":    {"sakes.example", "sakes.example. MX", fakedns.Truncated, 0},
		"no A of the only host":         {"toalias.example", "www.sakes.example. A", fakedns.ServFail, mx.Failed},
		"no AAAA of the only host":      {"half.example", "mx2.sakes.example. AAAA", fakedns.ServFail, 0},
		"no address of one host of two": {"half.example", "gone.sakes.example.", fakedns.ServFail, 0},
		"nor of the other":              {"bad.example", "down.sakes.example. AAAA", fakedns.ServFail, mx.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := (&fakedns.Server{Records: zones}).Start(t)
			server.Fail(c.at, c.fault, fakedns.Always)
			r := resolver(server)
			if c.kind == mx.Silent {
				r.Timeout = 100 * time.Millisecond
			}
			hosts, err := r.Hosts(t.Context(), c.domain, nobody)
			var e *mx.Error
			switch {
			case c.kind == 0 && (err != nil || len(hosts) == 0):
				t.Errorf("%v, %v", hosts, err)
			case c.kind != 0 && (!errors.As(err, &e) || e.Kind != c.kind || !e.Temporary()):
				t.Errorf("%v, %v", hosts, err)
			}
		})
	}
}

// TestNextServer: a resolver that fails is passed over, and asked again in the next round.
func TestNextServer(t *testing.T) {
	t.Parallel()
	bad, good := (&fakedns.Server{Records: zones}).Start(t), (&fakedns.Server{Records: zones}).Start(t)
	bad.Fail("sakes.example. MX", fakedns.ServFail, fakedns.Always)
	r := &mx.Resolver{Servers: []string{gone(t), bad.Address, good.Address}, Timeout: time.Minute, Rounds: 1}
	if hosts, err := r.Hosts(t.Context(), "sakes.example", nobody); err != nil || len(hosts) != 3 {
		t.Errorf("%v, %v", hosts, err)
	}
	bad.Fail("implicit.example. MX", fakedns.ServFail, 1)
	r = &mx.Resolver{Servers: []string{bad.Address}, Timeout: time.Minute, Rounds: 2}
	if hosts, err := r.Hosts(t.Context(), "implicit.example", nobody); err != nil || len(hosts) != 1 {
		t.Errorf("the second round: %v, %v", hosts, err)
	}
	bad.Fail("implicit.example. MX", fakedns.ServFail, 1)
	if hosts, err := (&mx.Resolver{Servers: []string{bad.Address}}).Hosts(t.Context(), "implicit.example", nil); err != nil || len(hosts) != 1 {
		t.Errorf("by default: %v, %v", hosts, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var e *mx.Error
	if _, err := r.Hosts(ctx, "sakes.example", nobody); !errors.As(err, &e) || !errors.Is(err, context.Canceled) || !e.Temporary() {
		t.Errorf("cancelled: %v", err)
	}
}

// gone is an address where nobody listens.
func gone(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// TestAuthentic: what a resolver of this machine has validated is told as such, if all of it is.
func TestAuthentic(t *testing.T) {
	t.Parallel()
	server := (&fakedns.Server{Records: zones, Secure: []string{"sakes.example."}}).Start(t)
	for domain, want := range map[string]bool{"sakes.example": true, "half.example": false, "implicit.example": false} {
		hosts, err := resolver(server).Hosts(t.Context(), domain, nobody)
		if err != nil || hosts[0].Authentic != want {
			t.Errorf("%s: %+v, %v", domain, hosts, err)
		}
	}
}

// TestManyHosts: a domain with more hosts than anybody tries costs no more than some.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	var records strings.Builder
	for i := range 60 {
		fmt.Fprintf(&records, "many.example. MX %d h%d.many.example.\nh%d.many.example. A 192.0.2.%d\n", 60-i, i, i, i+1)
	}
	for i := range 40 {
		fmt.Fprintf(&records, "wide.example. A 198.51.100.%d\n", i+1)
	}
	server := (&fakedns.Server{Records: records.String()}).Start(t)
	hosts, err := resolver(server).Hosts(t.Context(), "many.example", nobody)
	if err != nil || len(hosts) != 20 || hosts[0].Preference != 1 || hosts[19].Preference != 20 {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
	if hosts, err = resolver(server).Hosts(t.Context(), "wide.example", nobody); err != nil || len(hosts[0].Addresses) != 16 {
		t.Errorf("%v, %v", hosts, err)
	}
}

// TestSystem: the machine's resolv.conf is read; a hosts file is not.
func TestSystem(t *testing.T) {
	if _, err := os.Stat("/etc/resolv.conf"); err != nil {
		t.Fatal(err)
	}
	r, err := mx.System()
	if err != nil || len(r.Servers) == 0 || r.Timeout <= 0 || r.Rounds <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := mx.FromFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is read")
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.53\nnameserver 2001:db8::53\noptions timeout:3 attempts:4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = mx.FromFile(file); err != nil || !slices.Equal(r.Servers, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) || r.Timeout != 3*time.Second || r.Rounds != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}
