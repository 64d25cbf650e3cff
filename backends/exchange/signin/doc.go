// Package signin signs in to a server of Exchange's kind over HTTP: an [http.RoundTripper] that MAPI over HTTP, EWS and
// Autodiscover have alike.
//
//	server, err := signin.New(signin.Config{URL: "https://mail.sakes.example", TLS: trust, Method: signin.Auto})
//	login := server.Login(signin.Credential{User: `SAKES\george`, Password: password})
//	defer login.CloseIdleConnections()
//	client := &http.Client{Transport: login}
//
// A [Server] is made once for a store, and remembers which methods the server offers. A [Login] is one credential: its
// connections are its own, as a connection that was signed in by NTLM or Negotiate belongs to a login (RFC 4559 §6). It
// sends requests to that one host over TLS alone, and follows no redirect.
//
// # Methods
//
//	basic     user and password with each request (RFC 7617)
//	ntlm      NTLMv2 (MS-NLMP), once for a connection
//	kerberos  a ticket (RFC 4559), once for a connection, and with each request where the server wants that
//	bearer    a token with each request (RFC 6750)
//	auto      of what the server offers, Kerberos before NTLM before Basic; a token, where the credential is one
//
// Where a method is known, nothing is sent only to be refused: Basic costs no round trip, NTLM and Kerberos one for each connection.
// With auto the first request to each part of a server (/mapi, /EWS) costs one more, unless [Server.Learn] was told.
// A login gets one ticket for all its connections. Where there is none to get, and the KDC has not judged the password, auto goes on with NTLM.
//
// NTLM and Kerberos say which certificate they have seen (tls-server-end-point, RFC 5929 §4): front ends with Extended
// Protection refuse what has it not, and what came by another certificate than theirs. With Kerberos the server proves itself, too. Basic is
// sent where the certificate was verified, and nowhere else.
//
// # What is sent twice
//
// A request is sent without its body until the connection is signed in. Where the server has ended the connection, or the
// login, meanwhile, it is signed in again, and a body that was read by then is asked for with the request's GetBody: a request that has none
// fails as [backends.Temporary].
//
// # What is refused
//
// A password that was refused is sent once: by no other method, and by no other connection of the login, as directories
// lock accounts. Until a credential was right once, the requests of a login wait for each other. A [Lockout] sees to it that other
// logins do not send it either for a while, and that of a user no more wrong ones are sent than the directory takes.
//
// Errors are a [backends.Failure] where it is known what is wrong. [ErrBinding], [ErrTicket] and [ErrNoTicket] tell what is wrong although
// the password is right.
package signin
