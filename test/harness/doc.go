// Package harness runs the built gateway for tests that look at it from outside, as clients do.
//
// A package of such tests builds the binary once and removes it at the end:
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
//
// and each test starts a gateway of its own, in a folder of its own, on free ports:
//
//	func TestFirstMail(t *testing.T) {
//		g := harness.Start(t, harness.Options{})
//		user := g.AddUser(t, "erika")
//		s, err := harness.DialSMTP(g.Address("smtp"), nil)
//		…
//		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Name, user.Password)
//
// Two kinds of client are here: [Conn] for dialogues that are written out line by line, and
// [POP3] and [SMTP], which return errors and may be used by any goroutine. What the gateway and
// its plugins logged is in the test's log when the test has failed; a data race or a panic in
// the log fails it.
//
// The package knows nothing of the gateway's code: only its command line, its configuration
// file and its log.
package harness
