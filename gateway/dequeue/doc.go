// Package dequeue starts mail on its way that waits until somebody asks for it (ETRN, RFC 1985), for those who may ask.
//
//	d := dequeue.New(dequeue.Options{Log: log, Spool: spool, Routes: routes})
//	defer d.Close()
//	started, err := d.Start(ctx, route.Wanted{Domain: "office.example"}, route.Asker{Address: client})
//
// A route says who may ask for its mail ([route.Askers]), and whether it waits for that ([route.Route].Asked); where it does not, ETRN
// has what a failure has put off tried at once. The mail goes where its route leads, never to whoever has asked.
//
// All that waits for a domain is started, whichever of its ways it waits for: those for some senders, and those that an
// earlier configuration had. Of other domains in the same destination nothing that waits is started, counted or told; what comes for
// them while the destination's mail is on its way leaves, too. What is started is tried once it can be ([relay.AskedFor] says
// for how long), by whichever gateway has the destination.
//
// Whoever asks costs little: a question a few seconds after the same one, which has started something, does nothing, each client has so
// many in a minute, and so many are worked on at a time. The first thousand recipients are counted, and the others are started behind the reply.
package dequeue
