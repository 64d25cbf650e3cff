// Package storetest is the conformance suite for mail stores: whatever the contract in package
// backends promises is a named case here. It runs in a backend's own tests,
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, storetest.Target{
//			Open: func(ctx context.Context) (backends.Store, error) { … a configured store … },
//			User: "anna", Password: "secret", Address: "anna@sakes.example",
//			SecondUser: "bert", SecondPassword: "secret too", SecondAddress: "bert@sakes.example",
//		})
//	}
//
// and against a plugin, or a store in production that has two accounts to spare, through
// [Check], which reports the same cases without package testing.
//
// IT DELETES MAIL. Each case that looks into a mailbox begins by removing everything from
// the inboxes of the two accounts, and the cases of the outbox take and settle all that is
// queued there. Use accounts, and for the outbox a store, that serve no other purpose.
//
// A case about a capability that the store does not have, or about something that the
// [Target] does not give the suite, is reported as not offered, with the reason, and never as
// passed. Every case has a deadline of its own: a store that hangs fails that case, and the
// suite goes on with the next one.
//
// # What a store may do to a message
//
// Content must come back octet for octet, with these exceptions: a store may put header
// fields in front (Return-Path, Delivered-To, Received: RFC 5321 §4.4), may add the empty
// line to a message that consists of a header alone, and may refuse a message that it cannot
// keep as it is (NUL, very long lines) with a permanent failure. For stores that keep
// properties rather than octets set [Target.Renders]: then a message must come back in
// canonical form, the same each time, with its Subject.
package storetest
