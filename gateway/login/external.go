package login

import (
	"context"
	"crypto/x509"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
)

// CertificateName says where in a client's certificate its login name stands.
type CertificateName string

// The places. The texts stand in the configuration.
const (
	CertificateEmail      CertificateName = "email"       // a subject alternative name of the type rfc822Name
	CertificateCommonName CertificateName = "common_name" // the subject's CN
	CertificateDNS        CertificateName = "dns"         // a subject alternative name of the type dNSName: a machine's
)

// clientCertificate is the certificate that TLS has verified, against the authorities that the
// listener trusts for that; nil: there is none.
func clientCertificate(client Client) *x509.Certificate {
	state := client.TLS()
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	return state.VerifiedChains[0][0]
}

// namesOf are the login names in a certificate.
func (c CertificateName) namesOf(certificate *x509.Certificate) []string {
	switch c {
	case CertificateCommonName:
		return []string{certificate.Subject.CommonName}
	case CertificateDNS:
		return certificate.DNSNames
	}
	return certificate.EmailAddresses
}

// external is EXTERNAL (RFC 4422 appendix A): TLS has proved who the client is, and all that it
// says is whose mailbox it means, if it says anything.
type external struct {
	authenticator *Authenticator
	client        Client
	attempt       *Attempt
	asked         bool
}

// Next implements [sasl.Exchange].
func (e *external) Next(ctx context.Context, response []byte) ([]byte, *sasl.Accepted, error) {
	if response == nil && !e.asked {
		e.asked = true
		return []byte{}, nil, nil
	}
	if len(response) > identityMost || !utf8.Valid(response) || strings.ContainsRune(string(response), 0) {
		return nil, nil, ErrMalformed
	}
	return accepted(e.prove(ctx, string(response)))
}

// Close implements [sasl.Exchange].
func (e *external) Close() error { return nil }

func (e *external) prove(ctx context.Context, identity string) error {
	if d := e.authenticator.devices; d != nil && d.Certified(shown(e.client)) {
		return e.proveDevice(ctx, identity)
	}
	certificate := clientCertificate(e.client)
	if certificate == nil {
		return ErrMechanism
	}
	name, store := e.choose(certificate, identity)
	store = store.Ready(ctx)
	e.attempt.Name, e.attempt.Store = name, labelOf(store)
	return e.authenticator.guard.Do(ctx, e.attempt, func(ctx context.Context) error {
		if store == nil {
			return WrongCredentials("the certificate of %q has no name that is a store's", certificate.Subject.String())
		}
		if !store.Known {
			return notKnown(store)
		}
		c := backends.Credential{Kind: backends.CredentialImpersonation}
		if store.Takes(backends.CredentialCertificate) {
			c.Kind, c.Certificate = backends.CredentialCertificate, certificate.Raw
		}
		return e.authenticator.enter(ctx, e.client, e.attempt, name, store, c, nil)
	})
}

// proveDevice is prove for a device. It has one account, which it may name.
func (e *external) proveDevice(ctx context.Context, identity string) error {
	password, err := e.authenticator.devices.Of(ctx, netip.Addr{}, shown(e.client))
	switch {
	case err != nil:
		return err
	case password == nil:
		return ErrMechanism
	case identity != "" && !fold.Equal(identity, password.Account):
		return WrongCredentials("device %s acts for %s alone", password.Device, password.Account)
	}
	return e.authenticator.enterDevice(ctx, e.client, e.attempt, password)
}

// choose finds which of a certificate's names is meant: the one that the client says, or the
// first that is a store's, whose user then asks for the mailbox that the client says.
func (e *external) choose(certificate *x509.Certificate, identity string) (stores.Name, *stores.Store) {
	names, table := e.authenticator.names(), e.authenticator.table()
	asked, isName := names.Parse(identity)
	// An authority that has signed alice+x@… has said nothing of a folder of alice's.
	literal := stores.Names{Off: []stores.Form{stores.FormMailbox, stores.FormShared, stores.FormFolder}, Realms: names.Realms}
	var chosen stores.Name
	var store *stores.Store
	for _, text := range e.authenticator.policy.Load().Certificate.namesOf(certificate) {
		own, ok := literal.Parse(text)
		if !ok {
			continue
		}
		if isName && asked.Mailbox == "" && asked.Key() == own.Key() {
			own.Folder = asked.Folder
			return own, table.StoreForLogin(own)
		}
		if name, ok := names.For(own, identity); ok && store == nil {
			chosen, store = name, table.StoreForLogin(name)
		}
	}
	if store == nil {
		chosen.Raw = identity
	}
	return chosen, store
}
