// Package routing takes mail in for the stores of the table (package stores): from strangers ([MX])
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
// A new configuration makes a new table and says router.Swap(table): transactions and sessions
// that have begun go on with theirs.
//
// # A message's way
//
// MAIL takes the current table. RCPT asks the recipient's store ([backends.Receiver]),
// once for each recipient. DATA takes the content in, bounded in memory, with its digest; then
// every store with recipients gets it at once, under one idempotency key, and 250 is said when
// each of them has confirmed it. There is no spool behind this: what a store cannot take now is
// answered with 4xx, and stays the client's.
//
// How long all this may take is the engine's to say, by the context of each call.
//
// # Duplicates
//
// SMTP has one reply for all recipients. When some have their copy and others have to wait,
// the client is told to come again with everybody. The [Dedup] makes that harmless (I2): it
// knows the message by its content, leaves out who has a copy, and gives the same key again, by
// which a store recognises what it may have taken already.
package routing
