package login

import (
	"cmp"
	"context"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
)

// relay passes the messages of an exchange between a client and the store that conducts it.
type relay struct {
	authenticator *Authenticator
	client        Client
	store         *stores.Store
	attempt       *Attempt
	inner         sasl.Exchange[backends.Account]

	admitted bool
}

// relayTo begins an exchange that a store conducts ([stores.Store.Conducts]).
func (a *Authenticator) relayTo(ctx context.Context, client Client, store *stores.Store, attempt *Attempt) (*relay, error) {
	attempt.Store = store.Name
	inner, err := store.Authenticator.Authenticate(ctx, attempt.Mechanism, attempt.Peer)
	if err != nil {
		return nil, err
	}
	return &relay{authenticator: a, client: client, store: store, attempt: attempt, inner: inner}, nil
}

// Next implements [sasl.Exchange]. Each step is the attempt's, as any of them can be the last; the
// attempt begins with the first thing that the client says.
func (r *relay) Next(ctx context.Context, response []byte) (challenge []byte, done *sasl.Accepted, err error) {
	if name := nameIn(r.attempt.Mechanism, response); name != "" {
		r.attempt.Name, _ = r.authenticator.names().Parse(name)
	}
	first := !r.admitted && response != nil
	r.admitted = r.admitted || first
	err = r.authenticator.guard.step(ctx, r.attempt, first, func(ctx context.Context) (bool, error) {
		answer, account, err := r.inner.Next(ctx, response)
		if err != nil || account == nil {
			challenge = answer
			return false, err
		}
		done = &sasl.Accepted{}
		return true, r.enter(ctx, *account)
	})
	if err != nil {
		return nil, nil, err
	}
	return challenge, done, nil
}

// enter lets in whom the store has let in. The proof is used up: what opens the maildrop is the
// store's grant for that, or else the gateway's word.
func (r *relay) enter(ctx context.Context, account backends.Account) error {
	user := cmp.Or(account.Address, r.attempt.Name.String(), account.ID)
	if r.attempt.Name.Raw == "" {
		r.attempt.Name.Raw = user
	}
	credential := backends.Credential{Kind: backends.CredentialGrant, User: user, Secret: account.Grant, Peer: r.attempt.Peer}
	if len(account.Grant) == 0 || r.store.Sends && r.store.Takes(backends.CredentialImpersonation) {
		credential.Kind, credential.Secret = backends.CredentialImpersonation, nil
	}
	r.authenticator.memory.forgetAccount(r.store.Name, account.ID) // it may have been a new password
	return r.client.Enter(ctx, Entry{Store: r.store, Credential: credential, Account: &account})
}

// Close implements [sasl.Exchange].
func (r *relay) Close() error {
	r.authenticator.guard.abandon(r.attempt)
	return r.inner.Close()
}

// nameIn is the login name in a client's response, of the mechanisms where the gateway has to
// know it to count attempts; empty: there is none.
func nameIn(mechanism string, response []byte) string {
	if mechanism == "NTLM" {
		return ntlmUser(response)
	}
	return ""
}
