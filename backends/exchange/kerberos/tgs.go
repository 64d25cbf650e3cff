package kerberos

import (
	"context"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Ticket is a user's for one service.
type Ticket struct{ granted }

// Valid says whether it can be used for a while.
func (t *Ticket) Valid() bool { return time.Until(t.ends) > time.Minute }

// Ticket gets a ticket for a service, HTTP/mail.sakes.example. The error is an [*Error].
func (k *Kerberos) Ticket(ctx context.Context, user string, secret Secret, service string) (*Ticket, error) {
	tgt, err := k.initial(ctx, user, secret)
	if err != nil {
		return nil, err
	}
	name := types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: strings.Split(service, "/")}
	realm := k.config.Realm
	for range referralsMost {
		g, err := k.grant(ctx, realm, name, tgt)
		if err != nil {
			return nil, err
		}
		if g.ticket.SName.NameString[0] != "krbtgt" {
			return &Ticket{g}, nil
		}
		realm, tgt = g.ticket.SName.NameString[len(g.ticket.SName.NameString)-1], g // the service is in another realm, RFC 6806 §8
	}
	return nil, without("the KDCs lead through more than %d realms to %s", referralsMost, service)
}

// referralsMost is through how many realms the way to a service may lead.
const referralsMost = 5

// grant is an exchange with the ticket-granting service, RFC 4120 §3.3.
func (k *Kerberos) grant(ctx context.Context, realm string, service types.PrincipalName, tgt granted) (granted, error) {
	request, err := messages.NewTGSReq(tgt.client, realm, k.answer, tgt.ticket, tgt.key, service, false)
	if err != nil {
		return granted{}, without("%w", err)
	}
	octets, err := request.Marshal()
	if err != nil {
		return granted{}, without("%w", err)
	}
	answer, err := k.send(ctx, realm, octets, false)
	if err != nil {
		return granted{}, err
	}
	g, err := readTGS(answer, request.ReqBody.Nonce, tgt.key)
	if err == nil && (!g.client.Equal(tgt.client) || !serves(g.ticket.SName, service)) {
		err = without("the KDC's ticket is for another user or service")
	}
	g.realm = tgt.realm
	return g, err
}

// serves says whether a ticket is for a service, or leads on the way to it.
func serves(got, service types.PrincipalName) bool {
	return len(got.NameString) == 2 && got.NameString[0] == "krbtgt" || got.Equal(service)
}

func readTGS(answer []byte, nonce int, key types.EncryptionKey) (granted, error) {
	if answer[0] == tagError {
		return granted{}, refusal(answer, nil)
	}
	var reply messages.TGSRep
	if answer[0] != tagTGSRep {
		return granted{}, without("the KDC's reply is none")
	}
	if err := reply.Unmarshal(answer); err != nil {
		return granted{}, without("the KDC's reply: %w", err)
	}
	octets, err := decrypt(reply.EncPart, key, keyusage.TGS_REP_ENCPART_SESSION_KEY)
	if err != nil {
		return granted{}, without("the KDC's reply: %w", err)
	}
	var part messages.EncKDCRepPart
	if err := part.Unmarshal(octets); err != nil {
		return granted{}, without("the KDC's reply: %w", err)
	}
	if part.Nonce != nonce {
		return granted{}, without("the KDC's reply is to another request")
	}
	g := granted{ticket: reply.Ticket, key: part.Key, client: reply.CName, ends: part.EndTime}
	return g, g.check()
}
