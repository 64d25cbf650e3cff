package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// Devices are the machines that log in without a password: a network or a certificate says which one it is. To the login
// each is an application password without a text ([AppPassword].Wordless), with its account, its protocols, its networks
// and its end.
type Devices interface {
	// Of is the device that has shown one of these certificates (the client's own first, as it came) or that is at an
	// address; nil: it is none. A certificate goes before a network, and of networks the smallest. It fails where the
	// certificate is a device's and not good.
	Of(ctx context.Context, at netip.Addr, certificates []*x509.Certificate) (*AppPassword, error)
	// Certified says whether a certificate is a device's. It answers at once, by what is known now.
	Certified(certificates []*x509.Certificate) bool
	// Refused is told why a device may not log in that has proved itself. It answers at once.
	Refused(device, why string)
}

// Recognize lets a client in that is known without having said anything, by its certificate or its network; known is
// false where it is nobody's. An error is what has become of the attempt of one that is known.
func (a *Authenticator) Recognize(ctx context.Context, client Client) (known bool, err error) {
	if a.devices == nil {
		return false, nil
	}
	peer := client.Peer()
	password, err := a.devices.Of(ctx, peerAddr(peer.Address).Unmap().WithZone(""), shown(client))
	if password == nil || err != nil {
		return false, err
	}
	attempt := &Attempt{Peer: peer, Protocol: client.Protocol(), Mechanism: "NETWORK"}
	if a.devices.Certified(shown(client)) {
		attempt.Mechanism = "CERTIFICATE"
	}
	return true, a.enterDevice(ctx, client, attempt, password)
}

// shown are the certificates that a client has shown, its own first, whoever signed them.
func shown(client Client) []*x509.Certificate {
	if state := client.TLS(); state != nil {
		return state.PeerCertificates
	}
	return nil
}

// enterDevice lets in whom its network or its certificate has proved.
func (a *Authenticator) enterDevice(ctx context.Context, client Client, attempt *Attempt, password *AppPassword) error {
	own := *password // its owner may become known
	name, store := a.find(ctx, own.Account, "")
	attempt.Name, attempt.Store, attempt.Device = name, labelOf(store), own.Device
	err := a.guard.Proved(ctx, attempt, func(ctx context.Context) error {
		switch {
		case store == nil || store.Name != own.Store:
			return WrongCredentials("device %s is of store %s, which has no login %s any more", own.Device, own.Store, own.Account)
		case !store.Known:
			return notKnown(store)
		}
		return a.enterByPassword(ctx, client, attempt, name, store, &own)
	})
	a.noteRefusal(own.Device, err)
	return err
}

// noteRefusal has who looks after a device see why it was not let in: the device itself shows that to nobody. An outage is
// not the device's.
func (a *Authenticator) noteRefusal(device string, err error) {
	if device == "" || a.devices == nil || !refused(err) {
		return
	}
	why := err.Error()
	if failure := backends.AsFailure(err); failure.Kind == backends.Permanent {
		why = failure.Reply().Text // what the device was told
	}
	a.devices.Refused(device, why)
}

// refusal is why a password that is right is not good. Who has a device's has to mend the device, and is told.
func (p *AppPassword) refusal(why error) error {
	if p.Device == "" {
		return WrongCredentials("application password %s: %w", p.ID, why)
	}
	said := "the device " + p.Device + " may not log in: " + why.Error()
	return backends.Fail(backends.Permanent, "device %s: %w", p.Device, why).Say(said).WithCode("5.7.1")
}

// errOldTLS refuses a device that has to use TLS.
var errOldTLS = errors.New("it has to use TLS 1.2 or a newer one")

// allowsTLS says whether a device may log in over a connection: one that is not of the old kind uses TLS of today, even
// where people need not.
func (p *AppPassword) allowsTLS(state *tls.ConnectionState) error {
	if p.Device == "" || p.Legacy || ModernTLS(state) {
		return nil
	}
	return p.refusal(errOldTLS)
}

// ModernTLS says whether a connection has TLS 1.2 or a newer one (RFC 8996).
func ModernTLS(state *tls.ConnectionState) bool {
	return state != nil && state.Version >= tls.VersionTLS12
}

// known is what the password itself says of the account.
func (p *AppPassword) known() *backends.Account {
	if p.Device == "" || p.Owner == "" {
		return nil
	}
	known := &backends.Account{ID: p.Owner}
	if strings.Contains(p.Account, "@") {
		known.Address = p.Account
	}
	return known
}
