package kerberos

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// names are the principals that a login name may mean in the realm: user, user@domain, DOMAIN\user. A domain that is the
// realm's stands for the realm; another one is Windows' to find, and so is the first one where it is no account's name (RFC 6806 §5).
func (k *Kerberos) names(user string) []types.PrincipalName {
	plain := func(name string) types.PrincipalName {
		return types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: []string{name}}
	}
	if _, name, ok := strings.Cut(user, `\`); ok {
		return []types.PrincipalName{plain(name)}
	}
	at := strings.LastIndexByte(user, '@')
	if at < 0 {
		return []types.PrincipalName{plain(user)}
	}
	enterprise := types.PrincipalName{NameType: nametype.KRB_NT_ENTERPRISE, NameString: []string{user}}
	if fold.Equal(user[at+1:], k.config.Realm) {
		return []types.PrincipalName{plain(user[:at]), enterprise}
	}
	return []types.PrincipalName{enterprise}
}

// granted is a ticket with its key.
type granted struct {
	ticket messages.Ticket
	key    types.EncryptionKey
	client types.PrincipalName
	realm  string // of the client
	ends   time.Time
}

// initial gets a ticket that other tickets are got with. RFC 4120 §3.1.
func (k *Kerberos) initial(ctx context.Context, user string, secret Secret) (granted, error) {
	realm := k.config.Realm
	tgt := types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
	var failed error
	for _, name := range k.names(user) {
		g, err := k.authenticate(ctx, name, tgt, secret)
		var e *Error
		if errors.As(err, &e) && e.Code == errorcode.KDC_ERR_KEY_EXPIRED {
			return g, k.expired(ctx, name, secret, e)
		}
		if failed = err; err == nil || e == nil || e.Verdict != Unknown {
			return g, err
		}
	}
	return granted{}, failed
}

// expired verifies a password that a KDC says to have expired: some say so before they have looked at it. A ticket to change
// it with is given to whoever knows it.
func (k *Kerberos) expired(ctx context.Context, name types.PrincipalName, secret Secret, e *Error) error {
	change := types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: []string{"kadmin", "changepw"}}
	_, err := k.authenticate(ctx, name, change, secret)
	var other *Error
	switch {
	case err == nil:
		return e
	case errors.As(err, &other) && other.Verdict == Wrong:
		return other
	}
	return &Error{Verdict: Unknown, Code: e.Code, Status: e.Status, cause: e.cause}
}

// authenticate is an exchange with the authentication service. The secret goes into one request at the most.
func (k *Kerberos) authenticate(ctx context.Context, name, service types.PrincipalName, secret Secret) (granted, error) {
	realm := k.config.Realm
	request, err := messages.NewASReq(realm, k.ask, name, service)
	if err != nil {
		return granted{}, without("%w", err)
	}
	taken := secret.types(name, realm)
	if len(taken) == 0 {
		return granted{}, without("%s has no AES key of %s in the realm %s", secret, name.PrincipalNameString(), realm)
	}
	request.ReqBody.EType = taken
	if name.NameType == nametype.KRB_NT_ENTERPRISE {
		types.SetFlag(&request.ReqBody.KDCOptions, flags.Canonicalize)
	}
	reply, said, err := k.askAS(ctx, request, false)
	var how []derivation
	var e *Error
	if errors.As(err, &e) && e.Code == errorcode.KDC_ERR_PREAUTH_REQUIRED {
		var data types.PADataSequence
		if data.Unmarshal(said) == nil {
			how = derivations(data, taken)
		}
		if err := prove(&request, secret, how); err != nil {
			return granted{}, without("prove the password to the KDC: %w", err)
		}
		reply, _, err = k.askAS(ctx, request, true)
	}
	if err != nil {
		return granted{}, err
	}
	return opened(request, reply, secret, how)
}

// prove puts a time that is encrypted with the secret into a request, RFC 4120 §5.2.7.2.
func prove(request *messages.ASReq, secret Secret, how []derivation) error {
	if len(how) == 0 {
		return errors.New("it takes no AES key")
	}
	key, err := secret.key(request.ReqBody.CName, request.ReqBody.Realm, how[0])
	if err != nil {
		return err
	}
	now, err := types.GetPAEncTSEncAsnMarshalled()
	if err != nil {
		return err
	}
	encrypted, err := crypto.GetEncryptedData(now, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, 0)
	if err != nil {
		return err
	}
	octets, err := encrypted.Marshal()
	request.PAData = append(request.PAData, types.PAData{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: octets})
	return err
}

// The first octets of messages: their application tags, RFC 4120 §5.10.
const (
	tagASRep  = 0x6b
	tagTGSRep = 0x6d
	tagError  = 0x7e
)

// askAS sends a request. said is the e-data of an error.
func (k *Kerberos) askAS(ctx context.Context, request messages.ASReq, once bool) (reply messages.ASRep, said []byte, err error) {
	octets, err := request.Marshal()
	if err != nil {
		return reply, nil, without("%w", err)
	}
	answer, err := k.send(ctx, request.ReqBody.Realm, octets, once)
	if err != nil {
		return reply, nil, err
	}
	return readAS(answer)
}

func readAS(answer []byte) (reply messages.ASRep, said []byte, err error) {
	if answer[0] == tagError {
		err = refusal(answer, &said)
		return reply, said, err
	}
	if answer[0] != tagASRep {
		return reply, nil, without("the KDC's reply is none")
	}
	if err := reply.Unmarshal(answer); err != nil {
		return reply, nil, without("the KDC's reply: %w", err)
	}
	return reply, nil, nil
}

// refusal reads a KRB-ERROR.
func refusal(answer []byte, said *[]byte) error {
	var e messages.KRBError
	if err := e.Unmarshal(answer); err != nil {
		return without("the KDC's error: %w", err)
	}
	if said != nil {
		*said = e.EData
	}
	return newError("the KDC", e)
}

// opened decrypts a reply, and checks that it belongs to the request. RFC 4120 §3.1.5.
func opened(request messages.ASReq, reply messages.ASRep, secret Secret, how []derivation) (granted, error) {
	own := derivations(reply.PAData, []int32{reply.EncPart.EType})
	as := derivation{etype: reply.EncPart.EType}
	for _, one := range append(own, how...) {
		if one.etype == as.etype {
			as = one
			break
		}
	}
	if !slices.Contains(request.ReqBody.EType, as.etype) {
		return granted{}, without("the KDC's reply is encrypted as was not asked for")
	}
	key, err := secret.key(request.ReqBody.CName, request.ReqBody.Realm, as)
	if err != nil {
		return granted{}, without("the KDC's reply: %w", err)
	}
	octets, err := decrypt(reply.EncPart, key, keyusage.AS_REP_ENCPART)
	if err != nil {
		if len(request.PAData) == 0 { // the KDC gives its reply to anybody: whoever can read it knows the password
			return granted{}, &Error{Verdict: Wrong, cause: errors.New("the password does not decrypt the KDC's reply")}
		}
		return granted{}, without("the KDC's reply: %w", err)
	}
	var part messages.EncKDCRepPart
	if err := part.Unmarshal(octets); err != nil {
		return granted{}, without("the KDC's reply: %w", err)
	}
	g := granted{ticket: reply.Ticket, key: part.Key, client: reply.CName, realm: reply.CRealm, ends: part.EndTime}
	canonical := types.IsFlagSet(&request.ReqBody.KDCOptions, flags.Canonicalize)
	switch {
	case part.Nonce != request.ReqBody.Nonce:
		return granted{}, without("the KDC's reply is to another request")
	case !part.SName.Equal(request.ReqBody.SName) || part.SRealm != request.ReqBody.Realm:
		return granted{}, without("the KDC's ticket is for another service")
	case !canonical && !reply.CName.Equal(request.ReqBody.CName):
		return granted{}, without("the KDC's ticket is for another user")
	}
	return g, g.check()
}

// check refuses what gokrb5 cannot work with.
func (g *granted) check() error {
	et, err := crypto.GetEtype(g.key.KeyType)
	if err != nil || len(g.key.KeyValue) != et.GetKeyByteSize() || len(g.ticket.SName.NameString) == 0 || len(g.client.NameString) == 0 {
		return without("the KDC's ticket has no key, or no name")
	}
	return nil
}

// decrypt decrypts what is not too short to have been encrypted, which gokrb5 takes for granted.
func decrypt(part types.EncryptedData, key types.EncryptionKey, usage uint32) ([]byte, error) {
	et, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	if part.EType != key.KeyType || len(part.Cipher) <= et.GetConfounderByteSize()+et.GetHMACBitLength()/8 {
		return nil, errors.New("it is encrypted otherwise, or not at all")
	}
	return crypto.DecryptEncPart(part, key, usage)
}
