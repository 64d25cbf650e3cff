package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/route"
)

// RouteWarnings looks for routes that no mail can take, for routes that let none out, and for mail that nobody can ask for.
func RouteWarnings(cfg *config.Config) (all []config.Problem) {
	ways, err := WaysOf(cfg)
	if err != nil || len(cfg.Routes) == 0 {
		return nil // told as an error
	}
	ours := func(domain string) bool { return ways.Stores.Table().StoreFor(domain) != nil }
	routes := ways.Routes()
	for _, r := range routes.Unreachable(ours) {
		i := slices.IndexFunc(cfg.Routes, func(c config.Route) bool { return c.Name == r.Name })
		path := "routes[" + strconv.Itoa(i) + "].domains"
		all = append(all, config.Problem{
			Position: cfg.Place(path), Path: path,
			Text: fmt.Sprintf("no mail takes the route %s: routes before it, or stores, have all of its domains", r.Name),
		})
	}
	if !slices.ContainsFunc(routes.Routes(), func(r *route.Route) bool { return r.Kind.Sends() }) {
		all = append(all, config.Problem{
			Position: cfg.Place("routes"), Path: "routes",
			Text: "all routes hold or reject: no mail leaves",
		})
	}
	return append(all, askerWarnings(cfg)...)
}

// askerWarnings looks for routes whose mail nobody can ask for, as nothing listens for that.
func askerWarnings(cfg *config.Config) (all []config.Problem) {
	if slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Protocol == config.ProtocolSMTP }) {
		return nil
	}
	for i, r := range cfg.Routes {
		if path := "routes[" + strconv.Itoa(i) + "].etrn"; r.ETRN.Any() {
			all = append(all, config.Problem{
				Position: cfg.Place(path), Path: path,
				Text: fmt.Sprintf("nobody can ask for the mail of the route %s: there is no listener of the protocol smtp", r.Name),
			})
		}
	}
	return all
}

// lookupMost is how long DNS has for all hosts of the routes.
const lookupMost = 10 * time.Second

// HostWarnings asks the system's resolver for the hosts that routes name.
func HostWarnings(ctx context.Context, cfg *config.Config) (all []config.Problem) {
	ctx, cancel := context.WithTimeout(ctx, lookupMost)
	defer cancel()
	warn := func(path, name, server string) {
		host, _, err := net.SplitHostPort(server)
		if err != nil || isAddress(host) {
			return
		}
		if _, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			all = append(all, config.Problem{
				Position: cfg.Place(path), Path: path,
				Text: fmt.Sprintf("the name %s of the route %s does not resolve: %v", host, name, err),
			})
		}
	}
	for i, r := range cfg.Routes {
		for j, group := range r.Hosts {
			path := fmt.Sprintf("routes[%d].hosts[%d]", i, j)
			for k, server := range group {
				if len(group) > 1 {
					warn(fmt.Sprintf("%s[%d]", path, k), r.Name, server)
				} else {
					warn(path, r.Name, server)
				}
			}
		}
	}
	return all
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
