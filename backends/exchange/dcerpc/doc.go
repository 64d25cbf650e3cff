// Package dcerpc calls procedures of a server over TCP: connection-oriented DCE/RPC (C706, the DCE 1.1 RPC specification, and
// MS-RPCE), with what is called and answered signed and sealed.
//
//	port, err := dcerpc.Endpoint(ctx, "mail.sakes.example", dcerpc.MapperPort, emsmdb, time.Minute)
//	conn, err := dcerpc.Dial(ctx, net.JoinHostPort(host, port), dcerpc.Config{Interface: emsmdb, Security: ntlm})
//	reply, err := conn.Call(ctx, opnum, stub)
//
// A [Conn] has one interface and carries one call at a time. Stubs are in NDR 2.0, little-endian: [Writer] and [Reader].
//
// # Why the connection is ours
//
// go-msrpc v1.2.0, whose NTLM is used here as elsewhere, has such a connection as well. Of a reply that is sealed by NTLM it
// compares no signature, so that somebody on the way may change what was sealed; it panics at lengths that lie, and decodes in goroutines of
// its own, where nobody can recover; and it leaves the socket open when a bind fails. What its stubs write is compared with what is
// written here, in tests.
//
// # Bounds
//
// A fragment is no larger than was agreed, and a reply no larger than [Config.Most]. A reply that is not sealed as the call was
// is refused. A call that does not come to its end ends the connection.
//
// # Not here
//
// Servers that are big-endian, NDR64, calls at the same time on one connection, and object UUIDs.
package dcerpc
