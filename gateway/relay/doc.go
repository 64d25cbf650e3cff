// Package relay takes mail out of the queue (package spool), to the Internet, to servers that are named, and into this
// gateway's stores (RFC 5321 §5).
//
//	r := &relay.Relay{
//		Log: log, Queue: relay.FromSpool(spool), Routes: routes, Stores: relay.StoresOf(router),
//		Resolver: resolver, Hostname: "mail.sakes.example",
//	}
//	r.Run(ctx) // until ctx ends
//
// # Destinations
//
// Mail waits by destination: a mail domain, a store, a named route. What a destination's next hop is, a [Route] says,
// and how a connection to it is secured; both are decided in one place each. The queue gives out a destination that has
// mail which is due; the relay claims some of it, which is committed as in flight before anything is sent, and hands it
// to connections. As soon as all that is due was claimed the destination goes back to the queue, so that what comes
// in meanwhile is seen, however slow the server is with what it has.
//
// A destination begins with one connection. When that is up it gets more, one for each round of deliveries that
// succeed, up to its limit; a reply of 421, 450 or 451, or a connection that does not come about, halves them. One
// connection carries many messages. There is a bound for all connections together; a destination that stands in line
// for its first one comes before another's second one, and those that have carried much leave their place to it. Three
// quarters of it are for hosts that DNS names, and the rest for stores and servers that are named, so that strangers
// who are slow hold up strangers' mail alone; the destinations that are worked on have such a bound, too.
//
// Where the recipients of a day are bounded ([Limits]), they are counted before they are sent to, in the state ([Quota]),
// and what is over the bound waits. A message that has too many of them for what is left goes in parts.
//
// A [Gate] keeps the mail of some kinds of next hops where it is: it is not tried, and does not expire meanwhile.
//
// Mail by a route whose mail is asked for ([Route.Asked]) is not tried until somebody has ([Relay.Asked]): what is due waits on, until its
// sender is to be told of the delay, or its time is over, as that of all mail. Once it is asked for it is tried for some minutes, and as
// long as mail gets through. What is put off then waits until it is asked for again.
//
// # Next hops
//
// A domain's hosts are tried in the order of RFC 5321 §5.1, each for two minutes at the most, the ones that failed
// lately last. While an address of a host has not answered for a quarter of a second, its next one is tried beside it,
// and the first connection that comes about is used (RFC 8305). A host that is this gateway, by DNS or by its greeting, ends the list. TLS is opportunistic unless
// the route says otherwise: a handshake that fails is followed by one attempt in the clear.
//
// A body with octets outside ASCII is converted for a server that has no 8BITMIME ([content.SevenBit]), unless that would
// break a signature: then it is returned (RFC 6152 §3).
//
// A route may have a fall-back ([Route.FallBack]): mail that is old enough goes to that destination, in the commit of the failed
// attempt, when no server of its own could be reached. It does not where one was, whatever that says then, where a copy may have been
// delivered, and where the fall-back cannot keep what the message asks. From then on it is the fall-back's, with its limits and retries.
//
// # What becomes of a message
//
// Each recipient has the outcome of its own replies. 5yz, and what DNS says for good, is failed; 4yz waits, by the
// [Schedule] of its priority, until its time is over. Instead of the greeting, 5yz is for good only where DNS names the
// host, and where no connection to the destination has just come about: else it is too many of them.
//
// When no reply comes to the end of the content, nobody knows (RFC 1047): the recipient is uncertain, and is tried
// again; to a store it goes with the same idempotency key, by which the store finds a copy that it has (I2). Before the
// end of the content is sent, the lease on the message is looked at once more: what is another gateway's by now gets
// none. That was no attempt, and says nothing of the destination: whoever has the lease then tries it at once.
//
// A destination that fails as a whole, since no host can be reached, DNS fails, connections are lost with one message
// after another, or one message after another is put off with 421, 450 or 451, is left alone as a whole, and for longer
// each time: that is one attempt, however much mail waits. Now and then that mail is looked through, so that what has
// waited too long is given up in time.
//
// Destinations may have something in common: the mailboxes that send through one provider need its tokens and its server.
// Where that fails, because a store says so of itself, no server can be reached, or three of them fail in a row, all of them
// are left alone, and after a while one message of one of them tries. However many mailboxes there are, that is one attempt. Those that
// failed in a row may each be blocked by themselves: so another one tries first, if it has mail.
//
// What the sender wants to be told (RFC 3461) goes on to servers that have DSN. Otherwise, and of failures and delays,
// the relay reports itself (package notice), to the sender's own destination. A report is committed together with the
// outcome that it tells of: where it cannot be stored, the message stays where it is. A recipient that has failed, and of
// which no report can be sent, since nothing leads to the sender, is held (the log says so). Of what comes from the null
// reverse-path, as reports do, nobody is told (RFC 5321 §4.5.5): it is logged as an error, and counted as [Untold].
//
// # Ending
//
// When Run's context ends, messages under way are finished within the grace, sessions end with QUIT, and what was
// claimed and not begun is given back.
package relay
