// Package ntlm logs in by NTLM (MS-NLMP), as servers of Exchange's kind offer it for SMTP (MS-SMTPNTLM) and HTTP (MS-NTHT). It
// is the client's side, of NTLMv2 alone:
//
//	client := ntlm.New(`SAKES\gate`, password)
//	client.Bind(state, "SMTPSVC/mail.sakes.example") // the connection's TLS, and the service
//	name, _, err := client.Start()           // "NTLM"
//	response, err := client.Next(nil)        // NEGOTIATE_MESSAGE
//	response, err = client.Next(challenge)   // AUTHENTICATE_MESSAGE
//
// The messages are go-msrpc's. What a server says is looked through before they are told of it: a challenge with lengths
// that lie is refused, and so is one that asks for less than NTLMv2. Over TLS the response has the channel binding
// (RFC 5929 §4), so that it is good for no other server than the one whose certificate was shown.
package ntlm

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/oiweiwei/go-msrpc/ssp/ntlm"

	"github.com/dipylon/dipylon/backends/mail/channelbinding"
)

// Name is the mechanism's.
const Name = "NTLM"

// Client is one login. It implements [sasl.Client].
type Client struct {
	config *ntlm.Config
	auth   *ntlm.Authentifier
	step   step
}

var _ sasl.Client = (*Client)(nil)

type step uint8

const (
	begun step = iota
	negotiated
	authenticated
)

// New logs in a user: DOMAIN\user, or user@domain, which the server finds the domain of.
func New(user, password string) *Client {
	domain, name, split := strings.Cut(user, `\`)
	if !split {
		domain, name = "", user
	}
	config := ntlm.NewConfig()
	config.Credential = account{domain, name, password}
	return &Client{config: config, auth: &ntlm.Authentifier{Config: config}}
}

// account is whose login it is. It implements go-msrpc's credential.Password.
type account struct{ domain, name, password string }

func (a account) DomainName() string  { return a.domain }
func (a account) UserName() string    { return a.name }
func (a account) Password() string    { return a.password }
func (a account) Workstation() string { return "" }

// Bind binds the login to a connection's TLS, nil where there is none, and to the name of its service: SMTPSVC/host or HTTP/host. It
// comes before the server's challenge.
func (c *Client) Bind(state *tls.ConnectionState, service string) error {
	c.config.TargetName = service
	if state == nil {
		return nil
	}
	binding, err := channelbinding.EndPoint(state)
	if err != nil {
		return fmt.Errorf("NTLM: %w", err)
	}
	c.config.ChannelBindings = binding // go-msrpc hashes it
	return nil
}

// Start implements [sasl.Client]. The server says first that it speaks NTLM (MS-SMTPNTLM §2.2.1.2).
func (c *Client) Start() (mechanism string, initial []byte, err error) {
	c.step = begun
	return Name, nil, nil
}

// Prompted says that the server's next challenge is a text for people, and not base64.
func (c *Client) Prompted() bool { return c.step == begun }

// Next implements [sasl.Client].
func (c *Client) Next(challenge []byte) ([]byte, error) {
	c.step++
	switch c.step {
	case negotiated:
		message, err := c.auth.Negotiate(context.Background())
		c.config.Integrity = c.config.Confidentiality // what is not signed when the login is over servers need not offer
		return message, err
	case authenticated:
		if err := check(challenge); err != nil {
			return nil, fmt.Errorf("NTLM: the server's challenge: %w", err)
		}
		return c.auth.Authenticate(context.Background(), challenge)
	default:
		return nil, sasl.ErrUnexpectedServerChallenge
	}
}

// A CHALLENGE_MESSAGE (MS-NLMP §2.2.1.2): signature and type; target name; flags; challenge, eight octets reserved, target
// information; version. The length and the place of what is variable are eight octets: length, room, offset.
const (
	signature    = "NTLMSSP\x00\x02\x00\x00\x00"
	atTargetName = 12
	atFlags      = 20
	atTargetInfo = 40
	headerSize   = 56
	mostOctets   = 8 << 10 // the names of a server, its domain and its forest take some hundred
)

// needed are the flags of a server that does NTLMv2 (MS-NLMP §2.2.2.5).
const needed = ntlm.NegotiateUnicode | ntlm.NegotiateNTLM | ntlm.NegotiateExtendedSessionSecurity | ntlm.NegotiateTargetInfo | ntlm.Negotiate128

var (
	errShort     = errors.New("it is no CHALLENGE_MESSAGE (MS-NLMP §2.2.1.2), or not a whole one")
	errLarge     = errors.New("it is larger than any server's")
	errDowngrade = errors.New("it asks for less than NTLMv2 with 128 bits: set the server to NTLMv2, nothing weaker is sent")
	errOutside   = errors.New("it has a length or an offset that leads out of it")
	errInfo      = errors.New("its target information (AV_PAIR, MS-NLMP §2.2.2.1) is damaged")
)

// check refuses a challenge that is not whole, or asks for less than NTLMv2.
func check(challenge []byte) error {
	switch {
	case len(challenge) > mostOctets:
		return errLarge
	case len(challenge) < headerSize || string(challenge[:len(signature)]) != signature:
		return errShort
	case ntlm.Flag(binary.LittleEndian.Uint32(challenge[atFlags:]))&needed != needed:
		return errDowngrade
	}
	name, ok := field(challenge, atTargetName)
	if !ok || len(name)%2 != 0 {
		return errOutside
	}
	info, ok := field(challenge, atTargetInfo)
	if !ok {
		return errOutside
	}
	return checkInfo(info)
}

// field is what a challenge has at the place that stands in its header; false: it is none.
func field(challenge []byte, at int) ([]byte, bool) {
	size, start := int(binary.LittleEndian.Uint16(challenge[at:])), int64(binary.LittleEndian.Uint32(challenge[at+4:]))
	if size == 0 {
		return nil, true
	}
	if start < headerSize || start+int64(size) > int64(len(challenge)) {
		return nil, false
	}
	return challenge[start:][:size], true
}

// sizes are those of attributes that have one (MS-NLMP §2.2.2.1). All others are texts in UTF-16.
var sizes = map[ntlm.AttrValueID]int{ntlm.AttrFlags: 4, ntlm.AttrTimestamp: 8, ntlm.AttrSingleHost: 48, ntlm.AttrChannelBindings: 16}

// checkInfo refuses target information that is not a list with an end, or has an attribute twice.
func checkInfo(info []byte) error {
	seen := make(map[ntlm.AttrValueID]bool)
	for len(info) >= 4 {
		id, size := ntlm.AttrValueID(binary.LittleEndian.Uint16(info)), int(binary.LittleEndian.Uint16(info[2:]))
		if id == ntlm.AttrEOL {
			if size != 0 {
				return errInfo
			}
			return nil
		}
		info = info[4:]
		want, fixed := sizes[id]
		if size > len(info) || seen[id] || fixed && size != want || !fixed && size%2 != 0 {
			return errInfo
		}
		seen[id], info = true, info[size:]
	}
	return errInfo
}
