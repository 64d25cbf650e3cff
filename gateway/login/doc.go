// Package login verifies logins, for all protocols: SASL exchanges (RFC 4422), the gateway's own
// application passwords, and the guard that slows down guessing.
//
// A gateway has one [Authenticator]. The adapters of the engines (packages maildrop and routing) are
// its clients ([Client]):
//
//	names := authenticator.Mechanisms(client)              // what can be offered on this connection now
//	err := authenticator.Password(ctx, client, user, password)
//	exchange, err := authenticator.Begin(ctx, client, "SCRAM-SHA-256")
//	challenge, accepted, err := exchange.Next(ctx, response) // until accepted is not nil
//
// The authenticator finds the store that a name belongs to, sees to it that the proof is looked at by
// whoever can judge it, and then calls the client's Enter with a credential that the store
// takes: that is where a maildrop is opened, or an account looked up. What Enter returns is what
// the login comes to.
//
// # Who judges what
//
//	password     the store; one that has the form of an application password: the gateway alone
//	token        the store
//	certificate  TLS, against the listener's authorities; then the store, by the certificate
//	             itself, or, if it lets the gateway act for users, by the name in it
//	SCRAM        the gateway, for application passwords; a store that conducts SCRAM
//	NTLM         a store that conducts it, and only where the administrator names it
//
// Whatever the gateway has judged itself, it opens the store by its own word
// ([backends.CredentialImpersonation]), which a store has to allow in its settings.
//
// # What is remembered
//
// A password that was good is remembered for a short while ([Policy.Remember]), counted from its
// verification and not renewed by use, as a hash under a key that lives in this process alone. It
// spares what makes a login slow, the store's or the gateway's own Argon2id, and so it can be used
// where a login goes on without the password: for application passwords, and for stores that let
// the gateway act for users. Any other store is given the password each time, and nothing is
// remembered for it.
//
// Of an account's own password one is remembered, whatever names it logs in by, with the store's id
// of the account and its credential generation: the gateway's word is good only while the store
// says the same of both. So a changed password is noticed at once where the store tells of changes
// ([backends.Account], [Authenticator.Changed]), and otherwise when the new one is used, or when the
// time is over. A store's hint of a change, a refusal, an exchange that the store conducts, and a
// reload empty it; what a store says of a password before a hint or a reload is not remembered after
// it. An application password that is revoked stops at once, since its entry is read each time.
//
// # Whose account is opened
//
// An application password opens the account that it was made for: the store is told to act for the
// name that the password was found under, and says whose account that is before anything of it is
// used ([Entry.Check]).
//
// # What an unauthenticated client can learn
//
// A wrong password, an unknown user and a domain that is not ours get the same answer after the same
// time: [Guard] delays every refusal to a whole multiple of its floor. What the store itself reveals
// within that time is not hidden. SCRAM answers every name with a salt, the same one each time, whether
// the account exists or not.
package login

import "github.com/dipylon/dipylon/backends"

// WrongCredentials is the failure for a name that no store knows: the same words, to the
// client, as a store's wrong password.
func WrongCredentials(format string, args ...any) error {
	return backends.Fail(backends.BadCredentials, format, args...)
}
