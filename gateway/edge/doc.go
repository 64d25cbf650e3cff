// Package edge is what a connection meets before a protocol does: the load balancer in front of
// the gateway, and the certificates that the gateway shows.
//
// A [Proxy] reads the PROXY protocol's header from a connection that a balancer has made, and
// gives the connection as its client's:
//
//	proxy := &edge.Proxy{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
//	conn, err := proxy.Receive(accepted) // conn.RemoteAddr() is the client's address
//
// [Pair]s are certificates that follow their files, [ServerTLS] makes a listener's TLS of some
// of them, and a [Watcher] looks after all:
//
//	pair, err := edge.LoadPair(edge.Files{Certificate: "mail.crt", Key: "mail.key"})
//	config := edge.ServerTLS([]*edge.Pair{pair}, tls.VersionTLS12, edge.POP3)
//	watcher.Watch([]*edge.Pair{pair})
//	go watcher.Run(ctx, edge.LookEvery)
package edge
