// Package provider is a double of what Microsoft and Google have in front of their mail servers: an issuer of OAuth tokens
// over TLS, for tests. It knows applications with their certificates and secrets, service accounts, and people who log in
// by a device code, and answers errors as the providers do, code and text.
//
//	p := provider.Start(t)
//	p.Applications["app"] = &provider.Application{Certificates: []*x509.Certificate{…}}
//	// the issuer is p.Issuer, and its authority's certificate is in p.CA
//	p.Tokens()            // how many were given
//	p.Fail(provider.SecretExpired)
//
// An assertion is checked as RFC 7523 §3 wants it: signature, audience, issuer, times, and its jti, which is good once.
// Mail servers ask it about tokens (RFC 7662) at p.Introspection. [Provider.IMAP] and
// [Provider.SMTP] make the fakes of this folder take its tokens alone.
package provider
