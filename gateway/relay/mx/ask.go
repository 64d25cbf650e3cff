package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Resolver asks recursive resolvers, as a machine has them in its resolv.conf. It reads no hosts file, and
// keeps nothing: that is the resolvers' own business.
type Resolver struct {
	// Servers are host:port, in the order in which they are asked.
	Servers []string
	// Timeout is how long one server has for one answer [5 s].
	Timeout time.Duration
	// Rounds is how often all servers are asked [2].
	Rounds int
}

// System is the resolver of the machine.
func System() (*Resolver, error) { return FromFile("/etc/resolv.conf") }

// FromFile is the resolver that a resolv.conf(5) describes.
func FromFile(file string) (*Resolver, error) {
	c, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, err
	}
	r := &Resolver{Timeout: time.Duration(c.Timeout) * time.Second, Rounds: c.Attempts}
	for _, server := range c.Servers {
		r.Servers = append(r.Servers, net.JoinHostPort(server, c.Port))
	}
	if len(r.Servers) == 0 { // resolv.conf(5)
		r.Servers = []string{net.JoinHostPort("127.0.0.1", c.Port)}
	}
	return r, nil
}

const (
	udpMost   = 1232 // octets of an answer over UDP: what passes everywhere (DNS Flag Day 2020)
	aliasMost = 8    // CNAMEs that follow one another
	timeout   = 5 * time.Second
	rounds    = 2
)

// found is what was found under a name.
type found struct {
	records   []dns.RR // of the type that was asked for; none: the name has none
	authentic bool     // a resolver of this machine has validated it (RFC 4035 §3.2.3)
}

// ask asks for the records of a name. The error is a [*Error].
func (r *Resolver) ask(ctx context.Context, name string, kind uint16) (found, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), kind)
	query.SetEdns0(udpMost, false)
	query.AuthenticatedData = true // RFC 6840 §5.7
	last := &Error{Kind: Silent, Name: name, Err: errors.New("no resolver is configured")}
	for range cmp.Or(max(r.Rounds, 0), rounds) {
		for _, server := range r.Servers {
			answer, err := r.exchange(ctx, server, query)
			if ctx.Err() != nil {
				return found{}, &Error{Kind: Silent, Name: name, Err: context.Cause(ctx)}
			}
			if err != nil {
				last = err
				continue
			}
			return read(server, query, answer)
		}
	}
	last.Name = name
	return found{}, last
}

// exchange asks one server, over TCP where the answer does not fit. An error says that another server
// may know better.
func (r *Resolver) exchange(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, *Error) {
	limit := cmp.Or(max(r.Timeout, 0), timeout)
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: limit, UDPSize: udpMost}
		answer, _, err := client.ExchangeContext(ctx, query, server)
		switch {
		case isTimeout(err), isUnreachable(err):
			return nil, &Error{Kind: Silent, Err: fmt.Errorf("%s: %w", server, err)}
		case err != nil:
			return nil, &Error{Kind: Malformed, Err: fmt.Errorf("%s: %w", server, err)}
		case answer.Truncated && network == "udp":
			continue
		}
		return answer, unusable(server, query, answer)
	}
	return nil, &Error{Kind: Malformed, Err: fmt.Errorf("%s: the answer is truncated over TCP", server)}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// isUnreachable says that nobody listens there, or that the network does not lead there.
func isUnreachable(err error) bool {
	var o *net.OpError
	return errors.As(err, &o)
}

// unusable says why an answer tells nothing.
func unusable(server string, query, answer *dns.Msg) *Error {
	switch {
	case answer.Truncated || len(answer.Question) != 1 || !strings.EqualFold(answer.Question[0].Name, query.Question[0].Name) ||
		answer.Question[0].Qtype != query.Question[0].Qtype:
		return &Error{Kind: Malformed, Err: fmt.Errorf("%s: an answer to another question", server)}
	case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
		return &Error{Kind: Failed, Err: fmt.Errorf("%s: %s", server, dns.RcodeToString[answer.Rcode])}
	case answer.Rcode == dns.RcodeSuccess && len(answer.Answer) == 0 && refers(answer):
		return &Error{Kind: Failed, Err: fmt.Errorf("%s: it refers to other servers, and knows nothing itself", server)}
	}
	return nil
}

// refers says whether an answer leads elsewhere, as that of a server that a zone is delegated to and that
// does not have it (RFC 1912 §2.8). That there are no records has an SOA (RFC 2308 §2.2).
func refers(answer *dns.Msg) bool {
	refers := false
	for _, rr := range answer.Ns {
		switch rr.Header().Rrtype {
		case dns.TypeSOA:
			return false
		case dns.TypeNS:
			refers = true
		}
	}
	return refers && !answer.Authoritative
}

// read takes the records of the type that was asked for, at the end of the name's aliases.
func read(server string, query, answer *dns.Msg) (found, error) {
	name, kind := query.Question[0].Name, query.Question[0].Qtype
	f := found{authentic: answer.AuthenticatedData && isLocal(server)}
	at := name
	for range aliasMost {
		next := ""
		for _, rr := range answer.Answer {
			if !strings.EqualFold(rr.Header().Name, at) || rr.Header().Class != dns.ClassINET {
				continue
			}
			if rr.Header().Rrtype == kind {
				f.records = append(f.records, rr)
			} else if alias, ok := rr.(*dns.CNAME); ok {
				next = alias.Target
			}
		}
		if len(f.records) > 0 {
			return f, nil
		}
		if next == "" {
			if answer.Rcode == dns.RcodeNameError {
				return f, &Error{Kind: NoDomain, Name: name, Err: fmt.Errorf("%s does not exist", strings.TrimSuffix(at, "."))}
			}
			return f, nil
		}
		at = next
	}
	return f, &Error{Kind: Malformed, Name: name, Err: errors.New("its aliases go round in a circle, or are too many")}
}

// isLocal says whether a server is on this machine: between others and here anybody could set the bit.
func isLocal(server string) bool {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
