// Package login is how somebody proves to be somebody, for every protocol alike: the forms
// of a login name, the SASL exchanges PLAIN and LOGIN, and the guard that makes guessing slow.
//
// An engine's adapter (packages maildrop and routing) walks through it like this:
//
//	exchange, err := login.NewExchange("PLAIN")
//	challenge, proof, err := exchange.Next(response) // until proof is not nil
//	name := login.ParseName(proof.User)              // which store? see routing.Table.StoreForLogin
//	err = guard.Do(ctx, login.Attempt{Peer: peer, Name: name, Store: "sakes"}, func(ctx context.Context) error {
//		_, err := store.Login(ctx, proof.Credential(user, peer))
//		return err
//	})
//
// # What a stranger can learn
//
// A wrong password, a user who is not there and a domain that is not ours get the same answer
// after the same time: [Guard] holds every refusal until a whole multiple of its floor has
// gone by. What the store itself gives away inside that time is the store's own.
package login

import (
	"github.com/dipylon/dipylon/backends"
)

// Mechanisms names the SASL mechanisms of [NewExchange], the better one first.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// Proof is what a client has shown when an exchange is at its end.
type Proof struct {
	// ActAs is the authorization identity, empty where it is the user's own.
	ActAs string
	// User is the authentication identity as the client gave it.
	User string
	// Password is not empty and holds no NUL.
	Password []byte
}

// Credential makes the credential for a store that knows the user by this name.
func (p *Proof) Credential(user string, peer backends.Peer) backends.Credential {
	return backends.Credential{
		Kind: backends.CredentialPassword, User: user, ActAs: p.ActAs, Secret: p.Password, Peer: peer,
	}
}

// WrongCredentials is the failure for a name that no store knows: the same words, to the
// client, as a store's wrong password.
func WrongCredentials(detail string) error {
	return backends.Fail(backends.BadCredentials, "%s", detail)
}
