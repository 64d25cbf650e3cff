// Package fakeimap is an IMAP server for tests, on a socket of loopback, that can be made to say
// what no real server can be made to say.
//
//	s := fakeimap.Start(t, &fakeimap.Server{
//		Messages: []fakeimap.Message{{UID: 1, Content: "Subject: one\r\n\r\none\r\n"}, {UID: 4, Size: "NIL"}},
//		PastEnd:  "NO",
//		On: []fakeimap.Rule{
//			{Command: `^AUTHENTICATE`, Answer: "TAG NO [LIMIT] too many connections\n", Times: 1},
//			{Command: `^UID FETCH 4 `, Cut: 20}, // 20 octets of the answer that is right, and the connection ends
//		},
//	})
//
// Without rules it behaves: one mailbox, which every name selects, with flags, UID STORE,
// EXPUNGE, UID EXPUNGE, UID MOVE, UID COPY, UID SEARCH and APPEND. What is odd is told of in three
// places: in a [Message], for that message alone; in the [Server]'s fields, for all; and in the
// [Rule]s, for any command, by regular expression, by connection and by count.
package fakeimap
