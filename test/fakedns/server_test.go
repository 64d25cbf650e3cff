package fakedns_test

import (
	"errors"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/test/fakedns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const table = `
	sakes.example.       MX    20 mx2.sakes.example.
	sakes.example.       MX    10 mx1.sakes.example.
	sakes.example.       TXT   "v=spf1 -all"
	mx1.sakes.example.   A     192.0.2.1
	mx1.sakes.example.   AAAA  2001:db8::1
	mx2.sakes.example.   A     192.0.2.2
	null.example.        MX    0 .
	alias.example.       CNAME sakes.example.
	out.sakes.example.   CNAME null.example.
	dangling.example.    CNAME nowhere.example.
	round.example.       CNAME about.example.
	about.example.       CNAME round.example.
	a.below.example.     A     192.0.2.3
	_25._tcp.mx1.sakes.example. TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
`

// dig asks with dig, of Debian's package bind9-dnsutils, once and for at most a second.
func dig(t *testing.T, s *fakedns.Server, words ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "dig", append([]string{"-r", "@" + host, "-p", port, "+tries=1", "+timeout=1", "+nocookie"}, words...)...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

// TestDig has a client that nobody here wrote read each kind of answer.
func TestDig(t *testing.T) {
	s := (&fakedns.Server{Records: table + long(), Secure: []string{"sakes.example."}}).Start(t)
	for name, f := range map[string]fakedns.Fault{
		"servfail.example.": fakedns.ServFail, "refused.example.": fakedns.Refused, "silent.example.": fakedns.Silent,
		"cut.example.": fakedns.Truncated, "lame.example.": fakedns.Lame, "garbage.example.": fakedns.Garbage, "forged.example.": fakedns.Forged,
		"mx2.sakes.example. AAAA": fakedns.ServFail,
	} {
		s.Fail(name, f, fakedns.Always)
	}
	for _, c := range []struct {
		asked string
		says  []string // regular expressions
	}{
		{"sakes.example MX", []string{"status: NOERROR", "flags: qr rd ra ad;", "ANSWER: 2,", `MX\s+10 mx1\.sakes\.example\.`, `MX\s+20 mx2\.sakes\.example\.`}},
		{"SAKES.Example MX", []string{"status: NOERROR", "ANSWER: 2,"}},
		{"+noad sakes.example MX", []string{"status: NOERROR", "flags: qr rd ra;"}},
		{"+noad +dnssec sakes.example MX", []string{"flags: qr rd ra ad;", "flags: do;"}},
		{"mx1.sakes.example AAAA", []string{"ANSWER: 1,", `AAAA\s+2001:db8::1`}},
		{"_25._tcp.mx1.sakes.example TLSA", []string{"ANSWER: 1,", `TLSA\s+3 1 1 0{56} 0{8}`}},
		{"null.example MX", []string{"ANSWER: 1,", `MX\s+0 \.\n`, "flags: qr rd ra;"}},
		{"alias.example MX", []string{"ANSWER: 3,", `CNAME\s+sakes\.example\.`}},
		{"out.sakes.example MX", []string{"ANSWER: 2,", "flags: qr rd ra;"}},
		{"mx1.sakes.example MX", []string{"status: NOERROR", "ANSWER: 0, AUTHORITY: 1", `SOA\s+ns\.`}},
		{"below.example MX", []string{"status: NOERROR", "ANSWER: 0, AUTHORITY: 1"}},
		{"nowhere.example MX", []string{"status: NXDOMAIN", "ANSWER: 0, AUTHORITY: 1", `SOA\s+ns\.`}},
		{"dangling.example MX", []string{"status: NXDOMAIN", "ANSWER: 1, AUTHORITY: 1"}},
		{"round.example MX", []string{"status: SERVFAIL", "ANSWER: 0,"}},
		{"servfail.example MX", []string{"status: SERVFAIL"}},
		{"mx2.sakes.example AAAA", []string{"status: SERVFAIL", "flags: qr rd ra;"}},
		{"mx2.sakes.example A", []string{"status: NOERROR", "ANSWER: 1,"}},
		{"refused.example MX", []string{"status: REFUSED"}},
		{"silent.example MX", []string{"timed out", "no servers could be reached"}},
		{"+ignore cut.example MX", []string{"flags: qr tc rd ra;", "ANSWER: 0,"}},
		{"lame.example MX", []string{"status: NOERROR", "flags: qr rd;", "ANSWER: 0, AUTHORITY: 1", `\.\s+60\s+IN\s+NS\s+a\.root-servers`}},
		{"garbage.example MX", []string{"(?i)garbage|malformed|end of input|bad packet|FORMERR|no servers could be reached"}},
		{"forged.example MX", []string{"ID mismatch"}},
		{"+ignore +noedns long.example TXT", []string{"flags: qr tc rd ra;"}},
		{"+noedns long.example TXT", []string{"retrying in TCP mode", "status: NOERROR", "ANSWER: 40,", `\(TCP\)`}},
	} {
		t.Run(c.asked, func(t *testing.T) {
			t.Parallel()
			got := dig(t, s, strings.Fields(c.asked)...)
			for _, want := range c.says {
				if !regexp.MustCompile(want).MatchString(got) {
					t.Errorf("%q is not in what dig says:\n%s", want, got)
				}
			}
		})
	}
}

// long are records that do not fit into a packet.
func long() string {
	var b strings.Builder
	for i := range 40 {
		b.WriteString("long.example. TXT \"" + strconv.Itoa(i) + strings.Repeat("x", 100) + "\"\n")
	}
	return b.String()
}

// TestHost has another one.
func TestHost(t *testing.T) {
	s := (&fakedns.Server{Records: table}).Start(t)
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "host", "-W", "2", "-p", port, "-t", "MX", "alias.example.", "127.0.0.1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sakes.example mail is handled by 10 mx1.sakes.example.") {
		t.Errorf("host says %v:\n%s", err, out)
	}
}

// TestResolver asks as a relay will, also after a fault has ended and records have changed.
func TestResolver(t *testing.T) {
	s := (&fakedns.Server{Records: table}).Start(t)
	resolver := s.Resolver()
	s.Fail("mx1.sakes.example.", fakedns.Truncated, 1)
	if found, err := resolver.LookupNetIP(t.Context(), "ip4", "mx1.sakes.example."); err != nil || len(found) != 1 || found[0].Unmap().String() != "192.0.2.1" {
		t.Errorf("over TCP: %v, %v", found, err)
	}
	if want := []string{"mx1.sakes.example. A udp", "mx1.sakes.example. A tcp"}; !slices.Equal(s.Queries(), want) {
		t.Errorf("asked %q, want %q", s.Queries(), want)
	}
	mx := func() (string, error) {
		found, err := resolver.LookupMX(t.Context(), "sakes.example.")
		var hosts []string
		for _, one := range found {
			hosts = append(hosts, one.Host)
		}
		return strings.Join(hosts, " "), err
	}
	s.Fail("sakes.example. MX", fakedns.ServFail, 100)
	dnsError := (*net.DNSError)(nil)
	if _, err := mx(); !errors.As(err, &dnsError) || !dnsError.IsTemporary || dnsError.IsNotFound {
		t.Errorf("SERVFAIL is %v", err)
	}
	s.Fail("sakes.example. MX", fakedns.None, fakedns.Always)
	if got, err := mx(); err != nil || got != "mx1.sakes.example. mx2.sakes.example." {
		t.Errorf("got %q, %v", got, err)
	}
	s.Update(t, "sakes.example. MX 5 new.sakes.example.")
	if got, err := mx(); err != nil || got != "new.sakes.example." {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := resolver.LookupMX(t.Context(), "alias.example."); !errors.As(err, &dnsError) || !dnsError.IsNotFound {
		t.Errorf("what is no longer there is %v", err)
	}
}
