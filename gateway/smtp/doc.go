// Package smtp is an SMTP server engine (RFC 5321), for the two places where mail comes in:
// port 25 ([MX]) and the submission ports ([Submission], RFC 6409, RFC 8314). It knows the
// protocol and nothing of mail stores; a [Backend] knows who may send what to whom.
//
// A server is a value with its settings; the zero values are the defaults:
//
//	server := &smtp.Server{
//		Backend:   backend,
//		Role:      smtp.MX,
//		Hostname:  "mail.sakes.example",
//		TLSConfig: &tls.Config{Certificates: certificates}, // offers STARTTLS
//		Log:       log,
//	}
//	listener, err := net.Listen("tcp", ":25")
//	…
//	go server.Serve(ctx, listener)
//	…
//	err = server.Shutdown(ctx) // idle sessions get 421, messages under way are finished
//
// For each connection the engine asks the backend for a [Session] and calls its methods in
// the order that the protocol allows, whatever the client sends:
//
//	NewSession
//	  ( Authenticate )?
//	  ( Mail ( Rcpt )* ( Data )? Reset )*      one Reset for each Mail
//	Close
//
// An address is read once, by package address, and comes to the session as a value. What a session
// returns as [*Error] is told to the client as one or several lines of printable ASCII; any other
// error is told as "451 4.3.0" and its text stays in the log.
//
// # What the client's octets go through
//
// Commands are lines of bounded length that end in CRLF. A message ends with CRLF.CRLF and
// nothing else, or with BDAT's count (RFC 3030); it comes to [Session.Data] as a stream in
// canonical form, and the Received field of this hop beside it. A message with a bare CR or LF in it
// is refused after its proper end, or repaired ([BareNewlines]); it never goes through as it
// is. Everything has a bound: see [Limits] and [Timeouts].
//
// # Extensions
//
// Offered are PIPELINING, SIZE, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, CHUNKING, STARTTLS, AUTH and LIMITS, and where the backend
// has them DSN, MT-PRIORITY, REQUIRETLS and ETRN (RFC 1985). Not built, and so neither offered nor taken: BINARYMIME (RFC 3030),
// DELIVERBY (RFC 2852), FUTURERELEASE (RFC 4865), BURL (RFC 4468) and ATRN (RFC 2645).
package smtp
