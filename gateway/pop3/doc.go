// Package pop3 is a POP3 server engine: the protocol, and nothing of where mail is kept.
//
// It speaks RFC 1939 with TOP and UIDL, and the extensions CAPA, RESP-CODES, PIPELINING,
// EXPIRE, LOGIN-DELAY and IMPLEMENTATION (RFC 2449), STLS (RFC 2595) and implicit TLS
// (RFC 8314), AUTH-RESP-CODE (RFC 3206), SASL (RFC 5034), UTF8 and LANG (RFC 6856). It has
// no APOP, whose digest is MD5 and whose server has to know the password itself.
//
// # Use
//
// A [Backend] knows who may log in and what is in a maildrop. A [Server] with a backend serves any
// number of listeners:
//
//	server := &pop3.Server{
//		Backend:   backend,
//		Log:       log,
//		TLSConfig: certificates, // offers STLS
//	}
//	go func() { served <- server.Serve(ctx, listener) }()
//	…
//	err := server.Shutdown(grace) // ends idle sessions, lets commands finish
//	err = <-served                // nil: it was told to stop
//
// For each connection the server asks the backend for a [Session], which turns a password
// ([Session.Password]) or a SASL exchange ([Session.Authenticate]) into a [Login]: a [Maildrop],
// which is a numbered snapshot, and what the engine has to know of it. RETR and TOP read a [Content]
// from it. DELE and RSET only change marks, which the engine keeps. Only QUIT hands them to
// [Maildrop.Update] (RFC 1939 §6): a lost connection, a time-out or a shutdown removes nothing.
//
// # What a backend can rely on
//
//   - The methods of one connection's Session, exchange, Maildrop and Content are called by
//     one goroutine at a time. Each of them is closed in any case, the maildrop before the session.
//     A panic in them ends that connection only.
//   - A context ends with its call, so nothing that outlives the call may depend on it (for
//     example the Maildrop that Password opens). The context of Open lasts until the Content has
//     been closed. A context ends early when the call takes longer than
//     five minutes, where a slow client does not count as a slow backend; when the server is
//     stopped by force; and, except for NewSession, a SASL exchange and Update, when the client
//     leaves. Leaving is a reset, or an end without another command before it.
//   - Message numbers are between 1 and Len, and not marked as deleted.
//   - A text in an [*Error] is shown as it is, cut down to a line of printable ASCII. No other
//     error text ever reaches a client.
//
// # What a client can rely on
//
// Every command gets one response, in order, however the commands were split or packed. A
// message that cannot be read to its end never looks complete: the connection is dropped
// without the terminating dot. What STLS found already sent in plaintext is thrown away.
//
// # Deviations
//
// Blanks in front of a command are skipped. What else is done for old clients is in [Quirks]:
// lines that end in LF alone, a bare AUTH and one with a long initial response, unless that is turned off; LAST, and messages
// without NUL, where it is turned on. CAPA keeps SASL and USER in the TRANSACTION
// state although they are refused there: RFC 5034 §3 and RFC 2449 §6.2 want that.
package pop3
