// Package content is what may be done to a message on its way through the gateway.
//
// What a rule does not name leaves as it came, in its order, and the body is not touched at all:
//
//	h, size, err := header.Read(message, header.Most)
//	err = content.Submission{MayWrite: owns, Date: now, MessageID: id}.Apply(h)
//	out := io.MultiReader(h.Reader(), body) // body: the message from octet size on
//
// # What is done to a submitted message
//
// RFC 6409 §8 lets a submission server add a Date and a Message-ID, and RFC 5322 §3.6.3 one
// remove Bcc. From and Sender have to be the account's own (RFC 6409 §6.1). That holds for
// redirected messages too: a Resent-From (RFC 5322 §3.6.6) does not excuse somebody else's
// From, or anybody could write in anybody's name by adding one.
//
// # What is done to a body
//
// For a server without 8BITMIME, [SevenBit] encodes parts that have octets outside ASCII (RFC 6152 §3). Where a policy
// asks for it, [Winmail] opens what Exchange sends as winmail.dat, and where a route does, it makes that of a message, or gives it the
// form of old readers ([Winmail.ReformFrom]).
package content
