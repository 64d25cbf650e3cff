package login

import (
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

const scramSHA256 = "SCRAM-SHA-256"

// order is that of the mechanisms in an offer: clients that know several often take the first.
var order = []string{
	scramSHA256 + plus, scramSHA256, "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN", "NTLM",
}

// MechanismNames are all names that [Policy.Mechanisms] can have.
func MechanismNames() []string { return slices.Clone(order) }

// Mechanisms are those that can be offered to a client now, the strongest first. Each can be checked
// by at least one store, or by the gateway for it.
//
// Without a list in the policy these are PLAIN, LOGIN, OAUTHBEARER, XOAUTH2, EXTERNAL for a client
// with a certificate, and SCRAM if it can check every password. A client
// that is offered SCRAM uses it, and users whose password is the store's, which SCRAM cannot check,
// could not log in any more.
func (a *Authenticator) Mechanisms(client Client) []string {
	o := a.offer(client)
	return slices.DeleteFunc(slices.Clone(order), func(m string) bool { return !o.has(m) })
}

// TakesPasswords says whether a client may log in with USER and PASS (RFC 1939 §7): if PLAIN or LOGIN
// is offered, which send the password in the same way.
func (a *Authenticator) TakesPasswords(client Client) bool {
	o := a.offer(client)
	return o.has("PLAIN") || o.has("LOGIN")
}

// offer is what can be offered to a client at one moment.
type offer struct {
	authenticator *Authenticator
	client        Client
	policy        *Policy
	stores        []*stores.Store
}

func (a *Authenticator) offer(client Client) offer {
	return offer{authenticator: a, client: client, policy: a.policy.Load(), stores: a.table().Stores()}
}

// wanted says whether the administrator has named a mechanism.
func (o offer) wanted(mechanism string) bool { return slices.Contains(o.policy.Mechanisms, mechanism) }

func (o offer) any(f func(*stores.Store) bool) bool { return slices.ContainsFunc(o.stores, f) }

// has says whether a mechanism can be offered.
func (o offer) has(mechanism string) bool {
	if len(o.policy.Mechanisms) > 0 && !o.wanted(mechanism) {
		return false
	}
	switch mechanism {
	case "PLAIN", "LOGIN":
		return o.passwords()
	case scramSHA256:
		return o.scram() || o.conductor(mechanism) != nil
	case scramSHA256 + plus:
		return o.scram() && len(bindings(o.client)) > 0
	case "OAUTHBEARER", "XOAUTH2":
		return o.any(func(s *stores.Store) bool { return s.Takes(backends.CredentialToken) })
	case "EXTERNAL":
		if d := o.authenticator.devices; d != nil && d.Certified(shown(o.client)) {
			return true
		}
		return clientCertificate(o.client) != nil && o.any(func(s *stores.Store) bool {
			return s.Takes(backends.CredentialCertificate) || s.Takes(backends.CredentialImpersonation)
		})
	}
	return slices.Contains(order, mechanism) && o.conductor(mechanism) != nil
}

// notKnown is the failure of what only a store can say that has never described itself.
func notKnown(s *stores.Store) error {
	return backends.Fail(backends.Temporary, "store %q has not described itself yet", s.Name)
}

// passwords says whether a store takes passwords, of its own or of the gateway's. One that is not
// known yet may: its clients are told of the outage when they send one.
func (o offer) passwords() bool {
	return o.any(func(s *stores.Store) bool {
		own := s.TakesOwnPasswords() && s.Takes(backends.CredentialPassword)
		return own || o.authenticator.hasAppPasswords(s) || !s.Known
	})
}

// scram says whether the gateway conducts SCRAM: where there are application passwords, and
// either the administrator wants it or no other passwords are good.
func (o offer) scram() bool {
	if !o.any(o.authenticator.hasAppPasswords) {
		return false
	}
	others := func(s *stores.Store) bool {
		return s.TakesOwnPasswords() && s.Takes(backends.CredentialPassword) && !s.Conducts(scramSHA256)
	}
	return o.wanted(scramSHA256) || o.wanted(scramSHA256+plus) || !o.any(others)
}

// conductor is the store that conducts a mechanism; nil: none does. The name is not known when
// an exchange begins: of several stores it is the default one, or else there is no telling.
func (o offer) conductor(mechanism string) *stores.Store {
	if mechanism != scramSHA256 && !o.wanted(mechanism) {
		return nil
	}
	var able []*stores.Store
	for _, s := range o.stores {
		if s.TakesOwnPasswords() && s.Conducts(mechanism) && o.opens(s) {
			able = append(able, s)
		}
	}
	if len(able) == 1 || mechanism == scramSHA256 && len(able) > 0 { // whose first message has the name
		return able[0]
	}
	if i := slices.IndexFunc(able, func(s *stores.Store) bool { return s.Default }); i >= 0 {
		return able[i]
	}
	return nil
}

// opens says whether a store can be used once an exchange has used its proof up: a maildrop is
// opened by a grant, once; mail is sent by the gateway's word, any number of times.
func (o offer) opens(s *stores.Store) bool {
	if s.Takes(backends.CredentialImpersonation) {
		return true
	}
	if o.client.Peer().Protocol == "submission" {
		return !s.Sends
	}
	return s.Takes(backends.CredentialGrant)
}
