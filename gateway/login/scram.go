package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
)

// plus is the end of the names of mechanisms with channel binding (RFC 5802 §4).
const plus = "-PLUS"

// scramFirst is what the gateway has to know of a client's first message before it can begin: who
// it is, and by what the connection is bound.
type scramFirst struct {
	user, actAs string
	binding     scram.ChannelBindingType // empty: none
	unseen      bool                     // the client could bind, and saw no mechanism for it
}

// scramMost bounds a message of a client, in octets.
const scramMost = 2048

// ParseSCRAM reads the head of a client's first message (RFC 5802 §7). What is wrong with its
// rest the library finds.
func ParseSCRAM(message []byte) (user, actAs, binding string, err error) {
	first, err := parseScramFirst(message)
	return first.user, first.actAs, string(first.binding), err
}

func parseScramFirst(message []byte) (first scramFirst, err error) {
	fields := strings.SplitN(string(message), ",", 5)
	if len(message) > scramMost || len(fields) < 4 {
		return first, ErrMalformed
	}
	switch flag, name, _ := strings.Cut(fields[0], "="); {
	case fields[0] == "n":
	case fields[0] == "y":
		first.unseen = true
	case flag == "p" && name != "":
		first.binding = scram.ChannelBindingType(name)
	default:
		return first, ErrMalformed
	}
	var ok bool
	if identity, given := strings.CutPrefix(fields[1], "a="); given {
		if first.actAs, ok = saslName(identity); !ok {
			return first, ErrMalformed
		}
	} else if fields[1] != "" {
		return first, ErrMalformed
	}
	name, given := strings.CutPrefix(fields[2], "n=")
	if first.user, ok = saslName(name); !ok || !given {
		return first, ErrMalformed
	}
	return first, (&Proof{User: first.user, ActAs: first.actAs, Secret: []byte{' '}}).check()
}

// bindings are the channel bindings that the gateway can verify, the better one first:
// tls-exporter (RFC 9266) and tls-server-end-point (RFC 5929 §4). tls-unique, which a
// man in the middle can make (RFC 7627 §1), is never taken.
func bindings(client Client) map[scram.ChannelBindingType]scram.ChannelBinding {
	all := make(map[scram.ChannelBindingType]scram.ChannelBinding)
	state := client.TLS()
	if state == nil {
		return all
	}
	if b, err := scram.NewTLSExporterBinding(state); err == nil {
		all[b.Type] = b
	}
	if certificate, err := x509.ParseCertificate(client.ServerCertificate()); err == nil {
		ours := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
		if b, err := scram.NewTLSServerEndpointBinding(ours); err == nil {
			all[b.Type] = b
		}
	}
	return all
}

// ScramKeys are what an exchange needs of a password: an account may have hundreds, one for each of its devices.
type ScramKeys struct {
	ID                   string
	StoredKey, ServerKey []byte
}

// scramServer is the gateway's side of one SCRAM-SHA-256 exchange. An account can have several passwords, and which one the
// client has it shows with its last message alone: until then one conversation says what that of each would say, and then the one is held
// whose keys fit.
type scramServer struct {
	keys      []ScramKeys
	converse  func(storedKey, serverKey []byte) (*scram.ServerConversation, error)
	first     string // the client's
	challenge string // what was answered
}

// errBinding says that a client's channel binding is not what its mechanism or this connection
// has.
var errBinding = errors.New("the channel binding does not fit")

// newScramServer begins with what the client's first message says. -PLUS is offered on this
// connection where there are bindings.
func newScramServer(first scramFirst, bound bool, all map[scram.ChannelBindingType]scram.ChannelBinding, salt []byte, keys []ScramKeys) (*scramServer, error) {
	if bound != (first.binding != "") || first.unseen && len(all) > 0 {
		return nil, errBinding // RFC 5802 §6: a "y" here is a downgrade attack
	}
	binding, known := all[first.binding]
	if bound && !known {
		return nil, errBinding
	}
	nonce := newNonce()
	return &scramServer{keys: keys, converse: func(storedKey, serverKey []byte) (*scram.ServerConversation, error) {
		of := scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: scramIterations}, StoredKey: storedKey, ServerKey: serverKey}
		server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return of, nil })
		if err != nil {
			return nil, err
		}
		server.WithNonceGenerator(func() string { return nonce })
		if bound {
			return server.NewConversationWithChannelBindingRequired(binding), nil
		}
		return server.NewConversation(), nil
	}}, nil
}

// randomKey is that of no password.
func randomKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails, crypto/rand says
	return key
}

func newNonce() string {
	var raw [24]byte
	_, _ = rand.Read(raw[:]) // never fails, crypto/rand says
	return base64.StdEncoding.EncodeToString(raw[:])
}

// begin answers the client's first message.
func (s *scramServer) begin(message []byte) ([]byte, error) {
	c, err := s.converse(randomKey(), randomKey())
	if err != nil {
		return nil, err
	}
	s.first = string(message)
	if s.challenge, err = c.Step(s.first); err != nil {
		return nil, errors.Join(ErrMalformed, err)
	}
	return []byte(s.challenge), nil
}

// finish judges the client's final message: the id of the password that it has (empty: it has none), and the gateway's last
// word, which proves to the client that the gateway knows that password.
func (s *scramServer) finish(message []byte) (id string, last []byte) {
	keys := ScramKeys{StoredKey: randomKey(), ServerKey: randomKey()}
	if i := s.proved(string(message)); i >= 0 {
		keys = s.keys[i]
	}
	c, err := s.converse(keys.StoredKey, keys.ServerKey)
	if err != nil {
		return "", nil
	}
	if challenge, err := c.Step(s.first); err != nil || challenge != s.challenge {
		return "", nil
	}
	answer, err := c.Step(string(message))
	if err != nil || !c.Valid() {
		return "", nil
	}
	return keys.ID, []byte(answer)
}

// proved is which of the keys a client's final message proves (RFC 5802 §3); below 0: none. All are tried, so that none is told by
// its time.
func (s *scramServer) proved(final string) (which int) {
	which = -1
	bare := strings.SplitN(s.first, ",", 3) // behind the GS2 header (§7)
	said, encoded, _ := cutLast(final, ",p=")
	proof, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(proof) != sha256.Size || len(bare) < 3 {
		return which
	}
	about := []byte(bare[2] + "," + s.challenge + "," + said)
	for i, k := range s.keys {
		mac := hmac.New(sha256.New, k.StoredKey)
		mac.Write(about)
		key := mac.Sum(nil)
		subtle.XORBytes(key, key, proof)
		if stored := sha256.Sum256(key); subtle.ConstantTimeCompare(stored[:], k.StoredKey) == 1 {
			which = i
		}
	}
	return which
}

// cutLast cuts a text at the last place where a separator stands.
func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

// scramExchange is SCRAM-SHA-256 as a client of the authenticator sees it.
type scramExchange struct {
	authenticator *Authenticator
	client        Client
	attempt       *Attempt
	bound         bool
	// bindings are what a client can bind to; none: -PLUS is not offered.
	bindings map[scram.ChannelBindingType]scram.ChannelBinding

	name   stores.Name
	store  *stores.Store
	server *scramServer // nil: the first message has not come
	relay  *relay       // the store conducts the exchange
	done   bool         // the last word has been said
}

// Next implements [sasl.Exchange].
func (s *scramExchange) Next(ctx context.Context, response []byte) ([]byte, *sasl.Accepted, error) {
	switch {
	case s.done:
		if len(response) > 0 {
			return nil, nil, ErrMalformed
		}
		return nil, &sasl.Accepted{}, nil
	case s.relay != nil:
		return s.relay.Next(ctx, response)
	case s.server != nil:
		last, err := s.finish(ctx, response)
		s.done = err == nil
		return last, nil, err
	case response == nil:
		return []byte{}, nil, nil // the client speaks first
	}
	return s.begin(ctx, response)
}

// begin finds out whose exchange it is. A name that is nobody's goes on as any other.
func (s *scramExchange) begin(ctx context.Context, message []byte) ([]byte, *sasl.Accepted, error) {
	first, err := parseScramFirst(message)
	if err != nil {
		return nil, nil, err
	}
	s.name, s.store = s.authenticator.find(ctx, first.user, first.actAs)
	s.attempt.Name, s.attempt.Store = s.name, labelOf(s.store)
	keys, account, err := s.keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(keys) == 0 && !s.bound && s.store != nil && s.store.TakesOwnPasswords() && s.store.Conducts(s.attempt.Mechanism) {
		if s.relay, err = s.authenticator.relayTo(ctx, s.client, s.store, s.attempt); err != nil {
			return nil, nil, err
		}
		return s.relay.Next(ctx, message)
	}
	if s.store != nil && !s.store.Known {
		return nil, nil, s.authenticator.guard.Do(ctx, s.attempt, func(context.Context) error { return notKnown(s.store) })
	}
	key, err := s.authenticator.saltKey(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.server, err = newScramServer(first, s.bound, s.bindings, saltOf(key, s.attempt.Store, account), keys)
	if err != nil {
		return nil, nil, s.authenticator.guard.Do(ctx, s.attempt, func(context.Context) error { return WrongCredentials("%w", err) })
	}
	answer, err := s.server.begin(message)
	return answer, nil, err
}

// keys are those of the passwords that could be the client's.
func (s *scramExchange) keys(ctx context.Context) (all []ScramKeys, account string, err error) {
	if s.store == nil || !s.authenticator.hasAppPasswords(s.store) {
		return nil, s.attempt.Name.Key(), nil
	}
	account = s.store.Account(s.name)
	all, err = s.authenticator.passwords.Keys(ctx, s.store.Name, account)
	return all, account, err
}

// finish is the attempt: the proof is judged, and the store opened.
func (s *scramExchange) finish(ctx context.Context, message []byte) (last []byte, err error) {
	err = s.authenticator.guard.Do(ctx, s.attempt, func(ctx context.Context) error {
		id, word := s.server.finish(message)
		if id == "" {
			return WrongCredentials("the proof is wrong")
		}
		password, err := s.authenticator.passwords.FindOne(ctx, s.store.Name, s.store.Account(s.name), id)
		switch {
		case err != nil:
			return backends.Fail(backends.Temporary, "application passwords: %w", err)
		case password == nil:
			return WrongCredentials("application password %s was revoked meanwhile", id)
		}
		s.attempt.proved()
		last = word
		return s.authenticator.enterByPassword(ctx, s.client, s.attempt, s.name, s.store, password)
	})
	return last, err
}

// Close implements [sasl.Exchange].
func (s *scramExchange) Close() error {
	if s.relay != nil {
		return s.relay.Close()
	}
	return nil
}
