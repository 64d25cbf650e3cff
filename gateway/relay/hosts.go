package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/gateway/relay/mx"
)

// target is one address at which a next hop may be reached.
type target struct {
	network    string
	name       string // host:port, or a socket's path: what the server is known as
	dial       string // what is connected to
	preference uint16
}

// server is the name of a target's host.
func (t target) server() string {
	if host, _, err := net.SplitHostPort(t.name); err == nil {
		return host
	}
	return "localhost" // a unix socket's
}

// targets are those of a route, in the order in which they are tried (RFC 5321 §5.1). The error is mx's.
func (r *Relay) targets(ctx context.Context, route Route) ([]target, error) {
	var all []target
	if route.Kind == MX {
		hosts, err := r.hosts(ctx, route.Domain)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			for _, address := range h.Addresses {
				all = append(all, target{"tcp", net.JoinHostPort(h.Name, route.Port), net.JoinHostPort(address.String(), route.Port), h.Preference})
			}
		}
	}
	for i, group := range route.Servers {
		for _, n := range rand.Perm(len(group)) {
			server, network := group[n], "tcp"
			if isUnix(server) {
				network = "unix"
			}
			all = append(all, target{network, server, server, uint16(i)})
		}
	}
	return r.avoided.last(all, r.Now()), nil
}

// hostOf parts the addresses of the first host from the others.
func hostOf(targets []target) (same, others []target) {
	n := slices.IndexFunc(targets, func(t target) bool { return t.name != targets[0].name })
	if n < 0 {
		return targets, nil
	}
	return targets[:n], targets[n:]
}

// hosts are those of a domain, or the one that an address literal names (RFC 5321 §4.1.3).
func (r *Relay) hosts(ctx context.Context, domain string) ([]mx.Host, error) {
	literal, isLiteral := strings.CutPrefix(domain, "[")
	if !isLiteral {
		return r.Resolver.Hosts(ctx, domain, r.isOurs)
	}
	literal = strings.TrimPrefix(strings.ToLower(strings.TrimSuffix(literal, "]")), "ipv6:")
	address, err := netip.ParseAddr(literal)
	if err != nil {
		return nil, &mx.Error{Kind: mx.NoDomain, Name: domain, Err: fmt.Errorf("this is no address literal: %w", err)}
	}
	host := mx.Host{Name: address.String(), Addresses: []netip.Addr{address}}
	if r.isOurs(host) {
		return nil, &mx.Error{Kind: mx.Loop, Name: domain, Err: errors.New("the address is this host's")}
	}
	return []mx.Host{host}, nil
}

// isOurs says whether a host is this gateway: by its name, or as the owner of the addresses says.
func (r *Relay) isOurs(h mx.Host) bool {
	return strings.EqualFold(h.Name, r.Hostname) || r.IsOurs != nil && r.IsOurs(h)
}

// avoidance is what is known of addresses that have failed.
type avoidance struct {
	mu    sync.Mutex
	until map[string]time.Time // by target.dial
}

const (
	avoidFor  = 10 * time.Minute
	avoidMost = 10_000 // addresses; beyond it, some are forgotten
)

// failed has an address tried last for a while.
func (a *avoidance) failed(t target, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil {
		a.until = make(map[string]time.Time)
	}
	if len(a.until) >= avoidMost {
		forgetSome(a.until)
	}
	a.until[t.dial] = now.Add(avoidFor)
}

// works has an address tried in its turn.
func (a *avoidance) works(t target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.until, t.dial)
}

// last puts those that have failed behind the others.
func (a *avoidance) last(all []target, now time.Time) []target {
	a.mu.Lock()
	defer a.mu.Unlock()
	avoided := func(t target) bool { return now.Before(a.until[t.dial]) }
	slices.SortStableFunc(all, func(s, t target) int {
		switch {
		case avoided(s) == avoided(t):
			return 0
		case avoided(s):
			return 1
		}
		return -1
	})
	return all
}

// forgetSome makes room in what is only worth remembering, an eighth of it.
func forgetSome[V any](m map[string]V) {
	left := len(m)/8 + 1
	for key := range m {
		if left--; left < 0 {
			return
		}
		delete(m, key)
	}
}
