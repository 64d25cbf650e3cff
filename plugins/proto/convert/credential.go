package convert

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

func knownCredential(k pb.CredentialKind) bool {
	return k >= pb.CredentialKind_CREDENTIAL_KIND_PASSWORD && k <= pb.CredentialKind_CREDENTIAL_KIND_IMPERSONATION
}

// CredentialToProto makes a credential ready for the wire. [ErrText]: a name is not UTF-8.
func CredentialToProto(c backends.Credential) (*pb.Credential, error) {
	if err := checkText("credential", c.User, c.ActAs); err != nil {
		return nil, err
	}
	return &pb.Credential{
		Kind:        pb.CredentialKind(c.Kind),
		User:        c.User,
		ActAs:       c.ActAs,
		Secret:      c.Secret,
		Certificate: c.Certificate,
		Peer:        PeerToProto(c.Peer),
	}, nil
}

// CredentialFromProto reads a credential. A kind that is not known is [backends.Unsupported].
func CredentialFromProto(m *pb.Credential) (backends.Credential, error) {
	if !knownCredential(m.GetKind()) {
		return backends.Credential{}, backends.Fail(backends.Unsupported, "a credential of kind %d", m.GetKind())
	}
	return backends.Credential{
		Kind:        backends.CredentialKind(m.GetKind()),
		User:        m.GetUser(),
		ActAs:       m.GetActAs(),
		Secret:      m.GetSecret(),
		Certificate: m.GetCertificate(),
		Peer:        PeerFromProto(m.GetPeer()),
	}, nil
}

// PeerToProto makes a peer ready for the wire. It is only shown and logged, so what is not
// UTF-8 is replaced.
func PeerToProto(p backends.Peer) *pb.Peer {
	return &pb.Peer{
		Address:  Line(p.Address, nameMost),
		Protocol: Line(p.Protocol, nameMost),
		Tls:      p.TLS,
		Session:  Line(p.Session, nameMost),
	}
}

// PeerFromProto reads a peer.
func PeerFromProto(m *pb.Peer) backends.Peer {
	return backends.Peer{
		Address: m.GetAddress(), Protocol: m.GetProtocol(), TLS: m.GetTls(), Session: m.GetSession(),
	}
}

// AccountToProto makes an account ready for the wire.
func AccountToProto(a backends.Account) *pb.Account {
	m := &pb.Account{
		Id:              strings.ToValidUTF8(a.ID, "\uFFFD"),
		Address:         strings.ToValidUTF8(a.Address, "\uFFFD"),
		DisplayName:     Line(a.DisplayName, nameMost),
		Grant:           a.Grant,
		PasswordExpires: timeToProto(a.PasswordExpires),

		CredentialGeneration: Line(a.CredentialGeneration, generationMost),
	}
	for _, address := range a.Addresses {
		m.Addresses = append(m.Addresses, strings.ToValidUTF8(address, "\uFFFD"))
	}
	for _, id := range a.FormerIDs {
		m.FormerIds = append(m.FormerIds, strings.ToValidUTF8(id, "\uFFFD"))
	}
	return m
}

// AccountFromProto reads an account. Locks and limits hang on its id, and what it may send as
// on its addresses, so nothing in them is mended: an id that is missing, too long or not
// printable, or an address that is not, is an error.
func AccountFromProto(m *pb.Account) (backends.Account, error) {
	a := backends.Account{
		ID:              m.GetId(),
		FormerIDs:       m.GetFormerIds(),
		Address:         m.GetAddress(),
		Addresses:       m.GetAddresses(),
		DisplayName:     Line(m.GetDisplayName(), nameMost),
		Grant:           m.GetGrant(),
		PasswordExpires: timeFromProto(m.GetPasswordExpires()),

		CredentialGeneration: m.GetCredentialGeneration(),
	}
	switch {
	case !validAccount(a.ID):
		return backends.Account{}, wireError("an account whose id is missing, too long or not printable")
	case len(a.CredentialGeneration) > generationMost || strings.ContainsFunc(a.CredentialGeneration, notGraphic):
		return backends.Account{}, wireError("an account whose credential generation is too long or not printable ASCII")
	case len(a.Grant) > grantMost:
		return backends.Account{}, wireError("an account's grant of %d octets", len(a.Grant))
	case len(a.FormerIDs) > formerMost || slices.ContainsFunc(a.FormerIDs, func(id string) bool { return !validAccount(id) }):
		return backends.Account{}, wireError("an account with %d former ids, or one that is missing, too long or not printable", len(a.FormerIDs))
	case len(a.Addresses) > addressesMost:
		return backends.Account{}, wireError("an account with %d addresses", len(a.Addresses))
	case a.Address != "" && !validAddress(a.Address):
		return backends.Account{}, wireError("an account's address is not one")
	}
	octets := 0
	for _, address := range a.Addresses {
		if !validAddress(address) {
			return backends.Account{}, wireError("an account's address is not one")
		}
		if octets += len(address); octets > addressOctets {
			return backends.Account{}, wireError("an account whose addresses have more than %d octets", addressOctets)
		}
	}
	return a, nil
}

// notGraphic says whether a character is none of printable ASCII without the blank.
func notGraphic(r rune) bool { return r <= ' ' || r > '~' }

func validAccount(id string) bool { return len(id) > 0 && len(id) <= accountMost && printable(id) }

// validAddress looks at form alone: the rooms of the gateway parse addresses.
func validAddress(address string) bool {
	return address != "" && len(address) <= addressMost && printable(address) && strings.Contains(address, "@")
}
