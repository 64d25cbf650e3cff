// Package routing takes mail in for the stores of the table (package stores): from unauthenticated clients ([MX])
// and from accounts ([Submission]). Both implement [smtp.Backend].
//
// The gateway's main puts the pieces together like this:
//
//	router := stores.NewRouter(table)
//	dedup, err := routing.OpenDedup(ctx, routing.DedupOptions{Log: log, DB: db})
//	options := routing.Options{Log: log, Router: router, Authenticator: authenticator, Hostname: hostname, Dedup: dedup, Buffers: buffers}
//	mx := &smtp.Server{Role: smtp.MX, Backend: routing.NewMX(options), …}
//	submission := &smtp.Server{Role: smtp.Submission, Backend: routing.NewSubmission(options), …}
//
// For a new configuration, router.Swap(table) replaces the table. Transactions and sessions that have
// begun keep theirs.
//
// # A message's way
//
// MAIL (RFC 5321 §3.3) takes the current table. RCPT asks the recipient's store ([backends.Receiver]),
// once for each recipient. DATA reads the content into a buffer, bounded in memory, and makes its
// digest; then all stores that have recipients get it at the same time, under one idempotency key. 250
// is answered when each of them has confirmed it, since the reply takes over the responsibility for the
// message (RFC 5321 §6.1). If a store cannot take the message now, it is the [Queue]'s: 250 is answered once
// that has it on the disk. So it is with recipients of accounts that are in none of the stores, if a route
// leads to them ([route.Ways]). Without a queue or a route, the reply is 4xx and the client keeps the message
// (RFC 5321 §4.2.1), and nothing goes elsewhere.
//
// A recipient that is refused for good is refused to the client if nobody has the message then. If others have
// it, or will get it, a report goes to the sender (RFC 3464).
//
// Mail that a store wants sent itself ([Outbox]) goes into the queue as a whole, as nobody waits for an answer.
//
// The engine decides how long this may take, by the context of each call.
//
// # Duplicates
//
// SMTP has one reply to DATA for all recipients (RFC 5321 §4.1.1.4; LMTP has one for each, RFC 2033
// §4.2). When some recipients have their copy and others have to wait, the reply is 4xx and the client
// sends the message again to all of them. [Dedup] prevents second copies (I2): it recognises the
// message by its content, leaves out the recipients that have a copy, and uses the same key again, by
// which a store recognises a message that it may have stored already. A reply that is lost has the same
// effect (RFC 1047).
package routing
