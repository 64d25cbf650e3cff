// Package asking asks servers elsewhere for the mail that they keep for this gateway (ETRN, RFC 1985): a provider's, whose customers are
// not always there. The mail comes by the provider's own connections, to where this gateway takes mail in.
//
//	a := asking.New(asking.Options{Log: log, DB: db, Locks: locks})
//	a.Use(servers) // again after each reload
//	…
//	a.Close()
//
// A server is asked by its schedule, and once by itself after the gateway's first start; one that does not answer, or refuses, is asked
// again after pauses that grow to an hour, or by its schedule, whichever comes first, and at once when its settings are others. One that
// has refused a gateway's login three times in a row is asked by that once a day. Gateways that share a state ask once together:
// one at a time has a server, by a lease ([folder.Locks]), and the state has when it was asked, and what it said.
//
// [Ask] asks at once, with no gateway, for a program that runs when a line comes up.
package asking
