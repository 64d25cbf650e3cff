// Package oauth gets OAuth 2.0 access tokens (RFC 6749) for mail servers that take nothing else: as an application for
// any mailbox, or as somebody who has consented once.
//
//	source, err := oauth.New(oauth.Config{Provider: oauth.Microsoft, Tenant: "sakes.example", ClientID: …, Certificate: …, Key: …})
//	defer source.Close()
//	token, err := source.Token(ctx, "ada@sakes.example")
//	// the server has refused it:
//	source.Refused("ada@sakes.example", token) // the next Token asks for another one
//
// Three grants are there. With client credentials the application proves itself, by an assertion that a certificate's key
// signs anew for each request (RFC 7523) or by a secret, and gets one token for all mailboxes. A service account of
// Google's signs whose mailbox it wants, and gets a token for each. A refresh token is what somebody has allowed by a
// device code (RFC 8628, [Source.Login]); it is kept encrypted, see [Vault].
//
// However many sessions ask, one request for a token is under way, of all gateways that have a vault together; a token is renewed ahead of its end, and the one that is
// still good serves meanwhile. After a failure nobody asks again at once. What an issuer says of a failure becomes an
// [*Error], which names the cause and what to do. No secret and no token stands in an error.
package oauth
