// Package mx finds the hosts that take mail for a domain (RFC 5321 §5): by MX records, or by the domain's own
// addresses where it has none.
//
//	hosts, err := resolver.Hosts(ctx, "sakes.example", isOurs)
//
// What keeps it from finding any is told apart, because mail is returned for some of it and waits for the
// rest: a domain that does not exist, one that takes no mail (RFC 7505), one without hosts, a resolver that
// fails, one that does not answer, and answers that make no sense.
package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Kind is why there are no hosts.
type Kind uint8

// The kinds.
const (
	NoDomain  Kind = iota + 1 // the domain does not exist (NXDOMAIN)
	NoMail                    // it says that it takes no mail (RFC 7505)
	NoHost                    // it is there, and no host of it has an address
	Loop                      // the best host is this one (RFC 5321 §5.1)
	Failed                    // the resolvers could not find out: SERVFAIL, REFUSED and the like
	Silent                    // the resolvers do not answer
	Malformed                 // what they answer makes no sense
)

// Error says why there are no hosts for a domain.
type Error struct {
	Kind Kind
	Name string // that was asked for
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("DNS, %s: %v", strings.TrimSuffix(e.Name, "."), e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Temporary says whether asking again later makes sense.
func (e *Error) Temporary() bool { return e.Kind >= Failed }

// Code is the enhanced status code (RFC 3463 §3.2, §3.5; RFC 7505 §4.2).
func (e *Error) Code() string {
	switch e.Kind {
	case NoDomain:
		return "5.1.2"
	case NoMail:
		return "5.1.10"
	case NoHost:
		return "5.4.4"
	case Loop:
		return "5.4.6"
	case Failed, Silent, Malformed:
	}
	return "4.4.3"
}

// Host is one that takes mail.
type Host struct {
	Name       string // without a dot at its end
	Preference uint16
	Addresses  []netip.Addr // in the order in which they are to be tried
	// Authentic says that the name, and the addresses, come validated from a resolver of this machine.
	Authentic bool
}

const (
	hostsMost     = 20 // of one domain, the preferred ones
	addressesMost = 16 // of one host
)

// Hosts are those to try for a domain (in A-labels), in their order; those of one preference are in an
// order of chance. If isOurs, which may be nil, knows one of them, only those that are preferred to it are left
// (RFC 5321 §5.1). The error is a [*Error].
func (r *Resolver) Hosts(ctx context.Context, domain string, isOurs func(Host) bool) ([]Host, error) {
	hosts, err := r.named(ctx, domain)
	if err != nil {
		return nil, err
	}
	failures := r.addresses(ctx, hosts)
	if isOurs == nil {
		isOurs = func(Host) bool { return false }
	}
	if us := slices.IndexFunc(hosts, isOurs); us >= 0 {
		ours := hosts[us].Preference
		before := len(hosts)
		hosts = slices.DeleteFunc(hosts, func(h Host) bool { return h.Preference >= ours })
		if len(hosts) == 0 {
			return nil, &Error{Kind: Loop, Name: domain, Err: fmt.Errorf("the best of its %d hosts is this one", before)}
		}
	}
	hosts = slices.DeleteFunc(hosts, func(h Host) bool { return len(h.Addresses) == 0 })
	if len(hosts) == 0 {
		return nil, why(domain, failures)
	}
	return hosts, nil
}

// why is the failure of a domain none of whose hosts has an address: one that may pass counts first.
func why(domain string, failures []error) error {
	for _, err := range failures {
		if passes := passing(err); passes != nil {
			return passes
		}
	}
	return &Error{Kind: NoHost, Name: domain, Err: errors.Join(append(failures, errors.New("no host of it has an address"))...)}
}

// named are the hosts of a domain without their addresses.
func (r *Resolver) named(ctx context.Context, domain string) ([]Host, error) {
	f, err := r.ask(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	if len(f.records) == 0 { // RFC 5321 §5.1: the implicit MX
		return []Host{{Name: domain, Authentic: f.authentic}}, nil
	}
	var hosts []Host
	for _, rr := range f.records {
		mx := rr.(*dns.MX) // it was asked for
		if mx.Mx == "." {
			continue // RFC 7505 §3: it means something alone
		}
		hosts = append(hosts, Host{Name: strings.ToLower(strings.TrimSuffix(mx.Mx, ".")), Preference: mx.Preference, Authentic: f.authentic})
	}
	if len(hosts) == 0 {
		return nil, &Error{Kind: NoMail, Name: domain, Err: errors.New("the domain takes no mail (null MX, RFC 7505)")}
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Preference, b.Preference) })
	return hosts[:min(len(hosts), hostsMost)], nil
}

// addresses fills in the hosts' addresses, all at the same time, and says what failed.
func (r *Resolver) addresses(ctx context.Context, hosts []Host) (failures []error) {
	var asking sync.WaitGroup
	errs := make([]error, len(hosts))
	for i := range hosts {
		asking.Go(func() { errs[i] = r.addressesOf(ctx, &hosts[i]) })
	}
	asking.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// addressesOf looks for a host's addresses. Where one family fails and the other has some, these do.
func (r *Resolver) addressesOf(ctx context.Context, h *Host) error {
	var six, four []netip.Addr
	var sixErr, fourErr error
	var sixAuthentic, fourAuthentic bool
	var asking sync.WaitGroup
	asking.Go(func() { six, sixAuthentic, sixErr = r.family(ctx, h.Name, dns.TypeAAAA) })
	asking.Go(func() { four, fourAuthentic, fourErr = r.family(ctx, h.Name, dns.TypeA) })
	asking.Wait()
	for i := range max(len(six), len(four)) { // in turns: a family that does not work costs one attempt
		if i < len(six) {
			h.Addresses = append(h.Addresses, six[i])
		}
		if i < len(four) {
			h.Addresses = append(h.Addresses, four[i])
		}
	}
	h.Addresses = h.Addresses[:min(len(h.Addresses), addressesMost)]
	h.Authentic = h.Authentic && (len(six) == 0 || sixAuthentic) && (len(four) == 0 || fourAuthentic)
	if len(h.Addresses) > 0 {
		return nil
	}
	return cmp.Or(passing(sixErr), passing(fourErr), sixErr, fourErr)
}

// passing is an error that may pass, or nil.
func passing(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && e.Temporary() {
		return e
	}
	return nil
}

func (r *Resolver) family(ctx context.Context, name string, kind uint16) (addrs []netip.Addr, authentic bool, err error) {
	f, err := r.ask(ctx, name, kind)
	if err != nil {
		return nil, false, err
	}
	for _, rr := range f.records {
		var octets []byte
		switch a := rr.(type) {
		case *dns.A:
			octets = a.A.To4()
		case *dns.AAAA:
			octets = a.AAAA
		}
		addr, ok := netip.AddrFromSlice(octets)
		if ok && !addr.IsUnspecified() && !addr.IsMulticast() {
			addrs = append(addrs, addr.Unmap())
		}
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return addrs, f.authentic, nil
}
