package mx

import (
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestRead: a resolver's answer is followed from alias to alias, and no further than that; what it adds of
// other names is nobody's.
func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		rcode  int
		found  int
		kind   Kind
	}{
		"its own":                 {"a.example. MX 1 m.example.\na.example. MX 2 n.example.", dns.RcodeSuccess, 2, 0},
		"an alias's":              {"a.example. CNAME b.example.\nb.example. CNAME c.example.\nc.example. MX 1 m.example.", dns.RcodeSuccess, 1, 0},
		"in another order":        {"b.example. MX 1 m.example.\nA.example. CNAME B.example.", dns.RcodeSuccess, 1, 0},
		"none":                    {"", dns.RcodeSuccess, 0, 0},
		"an alias without any":    {"a.example. CNAME b.example.", dns.RcodeSuccess, 0, 0},
		"an alias of nothing":     {"a.example. CNAME b.example.", dns.RcodeNameError, 0, NoDomain},
		"of another name":         {"x.example. MX 1 m.example.", dns.RcodeSuccess, 0, 0},
		"of another class":        {"a.example. CH MX 1 m.example.", dns.RcodeSuccess, 0, 0},
		"a circle":                {"a.example. CNAME b.example.\nb.example. CNAME a.example.", dns.RcodeSuccess, 0, Malformed},
		"an alias of itself":      {"a.example. CNAME a.example.", dns.RcodeSuccess, 0, Malformed},
		"too many, one by one":    {chain(aliasMost + 1), dns.RcodeSuccess, 0, Malformed},
		"as many as there may be": {chain(aliasMost - 1), dns.RcodeSuccess, 1, 0},
	} {
		query, answer := new(dns.Msg), new(dns.Msg)
		query.SetQuestion("a.example.", dns.TypeMX)
		answer.SetRcode(query, c.rcode)
		for line := range strings.Lines(c.answer) {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(name, err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
		f, err := read("192.0.2.1:53", query, answer)
		var e *Error
		if len(f.records) != c.found || (err != nil) != (c.kind != 0) || errors.As(err, &e) && e.Kind != c.kind {
			t.Errorf("%s: %d records, %v", name, len(f.records), err)
		}
	}
}

// chain is so many aliases, and a record at their end.
func chain(n int) string {
	at, all := "a.example.", strings.Builder{}
	for range n {
		all.WriteString(at + " CNAME x" + at + "\n")
		at = "x" + at
	}
	return all.String() + at + " MX 1 m.example."
}

// TestUnusable: an answer that tells nothing is none.
func TestUnusable(t *testing.T) {
	query := new(dns.Msg)
	query.SetQuestion("a.example.", dns.TypeMX)
	for name, change := range map[string]func(*dns.Msg){
		"to another name":  func(m *dns.Msg) { m.Question[0].Name = "b.example." },
		"to another type":  func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
		"to nothing":       func(m *dns.Msg) { m.Question = nil },
		"cut off over TCP": func(m *dns.Msg) { m.Truncated = true },
		"NOTIMP":           func(m *dns.Msg) { m.Rcode = dns.RcodeNotImplemented },
	} {
		answer := new(dns.Msg)
		answer.SetReply(query)
		if err := unusable("192.0.2.1:53", query, answer); err != nil {
			t.Fatal(err)
		}
		change(answer)
		if unusable("192.0.2.1:53", query, answer) == nil {
			t.Errorf("%s: it is used", name)
		}
	}
}
