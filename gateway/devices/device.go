package devices

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/ianaindex"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	"github.com/dipylon/dipylon/gateway/content"
)

// Device is one machine, as administrators see it.
type Device struct {
	Name    string `json:"name"`            // a-z, 0-9, ".", "_" and "-"
	Place   string `json:"place,omitempty"` // where it stands, in words
	Store   string `json:"store"`           // whose account it works for
	Account string `json:"account"`         // a login name there
	// Owner is the address of who looks after it, and is told of mail that was refused; empty: it sends none.
	Owner string `json:"owner,omitempty"`
	Proof Proof  `json:"proof"`
	// Certificate is what it shows, where that is its proof.
	Certificate *Certificate   `json:"certificate,omitempty"`
	Protocols   []string       `json:"protocols"` // of "pop3" and "submission"
	Networks    []netip.Prefix `json:"networks,omitempty"`
	Legacy      bool           `json:"legacy,omitempty"` // it may come without TLS, or with an old one, where a listener takes such
	Sending     Sending        `json:"sending,omitzero"`

	Password  string    `json:"password_id,omitempty"`
	Disabled  bool      `json:"disabled,omitempty"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"`
	LastUsed  time.Time `json:"last_used,omitzero"`
	LastFrom  string    `json:"last_from,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	ErrorAt   time.Time `json:"last_error_at,omitzero"`

	accountID string // the store's, once it is known
}

// Proof is how a device shows that it is the one.
type Proof string

// The proofs. The texts stand in the database and in the output of commands.
const (
	ByPassword    Proof = "password"
	ByNetwork     Proof = "network"
	ByCertificate Proof = "certificate"
)

// Certificate says which TLS client certificate is a device's: one alone, or any for a name by an authority.
type Certificate struct {
	Fingerprint string `json:"fingerprint,omitempty"` // SHA-256 of the DER, lower-case hexadecimal
	Authority   string `json:"authority,omitempty"`   // certificates, PEM
	Name        string `json:"name,omitempty"`        // a dNSName, an rfc822Name or the CN
}

// Sending is what a device may send, and what is done to it.
type Sending struct {
	// Sender is the address that all of its mail is from, whatever it says; empty: what it says, if it may.
	Sender     string           `json:"sender,omitempty"`
	SenderName string           `json:"sender_name,omitempty"`
	KeepFrom   content.KeepFrom `json:"keep_from,omitempty"`
	// Senders are the addresses that it may send as, and domains ("@sakes.example"). Empty, without a Sender: those of its
	// account.
	Senders []string `json:"senders,omitempty"`
	// Recipients are the addresses that it may send to, and domains ("@sakes.example"). Empty: everybody.
	Recipients []string `json:"recipients,omitempty"`
	// PerMinute and PerHour are how many messages leave; more of them are taken, and wait. PerDay and RecipientsPerDay are
	// how many messages, and recipients, are taken in 24 hours. 0: any number.
	PerMinute        int `json:"per_minute,omitempty"`
	PerHour          int `json:"per_hour,omitempty"`
	PerDay           int `json:"per_day,omitempty"`
	RecipientsPerDay int `json:"recipients_per_day,omitempty"`
	// Size is the largest message, in octets; 0: the gateway's limit.
	Size          int64  `json:"size,omitempty"`
	SubjectPrefix string `json:"subject_prefix,omitempty"`
	// Charset is that of text that does not say it and is not UTF-8; empty: windows-1252.
	Charset string `json:"charset,omitempty"`
}

// Protocol names, as a session's peer has them.
const (
	POP3       = "pop3"
	Submission = "submission"
)

var goodName = lazyregexp.New(`^[a-z0-9][a-z0-9._-]{0,62}$`)

const (
	wordsMost   = 200 // octets of a text for people
	listMost    = 1000
	numberMost  = 10_000_000
	mostDevices = 10_000
)

// Check puts a device in order, and says what is wrong with it, in words for whoever adds it.
func (d *Device) Check(now time.Time) error {
	if !goodName.MatchString(d.Name) {
		return fmt.Errorf("%q is no name: it has letters a-z, digits, and . _ - within, 63 of them at the most", d.Name)
	}
	for what, text := range map[string]string{"place": d.Place, "sender's name": d.Sending.SenderName, "subject prefix": d.Sending.SubjectPrefix} {
		if len(text) > wordsMost || strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
			return fmt.Errorf("the %s is one line of at most %d octets", what, wordsMost)
		}
	}
	if err := d.checkProtocols(); err != nil {
		return err
	}
	if err := d.checkNetworks(); err != nil {
		return err
	}
	if err := d.checkProof(now); err != nil {
		return err
	}
	return d.Sending.check()
}

func (d *Device) checkProtocols() error {
	if len(d.Protocols) == 0 {
		d.Protocols = []string{Submission}
	}
	slices.Sort(d.Protocols)
	d.Protocols = slices.Compact(d.Protocols)
	for _, p := range d.Protocols {
		if p != POP3 && p != Submission {
			return fmt.Errorf("there is no protocol %q: it is %s or %s", p, POP3, Submission)
		}
	}
	if d.Sends() && d.Owner == "" {
		return errors.New("name the device's owner: who is told of its mail that is refused, as nobody reads what a printer gets")
	}
	if d.Owner == "" {
		return nil
	}
	box, err := address.Parse(d.Owner)
	if err != nil {
		return fmt.Errorf("the owner %q is no mail address", d.Owner)
	}
	d.Owner = box.String()
	return nil
}

// Sends says whether it may send mail.
func (d *Device) Sends() bool { return slices.Contains(d.Protocols, Submission) }

func (d *Device) checkNetworks() error {
	for i, n := range d.Networks {
		plain, err := Plain(n)
		if err != nil {
			return err
		}
		d.Networks[i] = plain
	}
	slices.SortFunc(d.Networks, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	d.Networks = slices.Compact(d.Networks)
	if len(d.Networks) > listMost {
		return fmt.Errorf("there are more than %d networks", listMost)
	}
	return nil
}

// Plain is a network without host bits; one of IPv4-mapped IPv6 addresses (RFC 4291 §2.5.5.2) is that of IPv4.
func Plain(n netip.Prefix) (netip.Prefix, error) {
	if !n.IsValid() {
		return n, errors.New("this is no network")
	}
	if n.Addr().Is4In6() {
		const mapped = 96
		if n.Bits() < mapped {
			return n, fmt.Errorf("the network %s is of IPv4-mapped addresses and of others: name one of IPv4", n)
		}
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-mapped)
	}
	return n.Masked(), nil
}

// checkProof checks what the device proves itself by.
func (d *Device) checkProof(now time.Time) error {
	if (d.Certificate != nil) != (d.Proof == ByCertificate) {
		return errors.New("a certificate is for devices that prove themselves by one")
	}
	switch d.Proof {
	case ByPassword:
		return nil
	case ByCertificate:
		if d.Legacy {
			return errors.New("a certificate takes TLS: it cannot be the proof of a device that goes without")
		}
		return d.Certificate.check(now)
	case ByNetwork:
		return d.checkNetworkAlone()
	}
	return fmt.Errorf("there is no proof %q: it is %s, %s or %s", d.Proof, ByPassword, ByNetwork, ByCertificate)
}

// checkNetworkAlone keeps strangers from being taken for the device (I12).
func (d *Device) checkNetworkAlone() error {
	if len(d.Networks) == 0 {
		return errors.New("a device without a password needs a network")
	}
	if slices.Contains(d.Protocols, POP3) {
		return errors.New("a network is no proof for POP3, which has a login always: use a password")
	}
	for _, n := range d.Networks {
		if !small(n) {
			return fmt.Errorf("the network %s is too large to send from without a password: name a private one, or at most 256 addresses of IPv4 or a /64 of IPv6", n)
		}
	}
	return nil
}

// private are the networks that no stranger is in (RFC 1918, 3927, 4193, 4291, 6598, and loopback).
var private = func() (all []netip.Prefix) {
	for _, text := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

func small(n netip.Prefix) bool {
	const network4, network6 = 24, 64
	if n.Addr().Is4() && n.Bits() >= network4 || n.Addr().Is6() && n.Bits() >= network6 {
		return true
	}
	return slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Bits() <= n.Bits() && p.Contains(n.Addr()) })
}

var goodFingerprint = lazyregexp.New(`^[0-9a-f]{64}$`)

func (c *Certificate) check(now time.Time) error {
	c.Fingerprint = strings.ToLower(strings.ReplaceAll(c.Fingerprint, ":", ""))
	switch {
	case c.Fingerprint != "" && (c.Authority != "" || c.Name != ""):
		return errors.New("a certificate is known by its fingerprint, or by its authority and name, and not by both")
	case c.Fingerprint != "":
		if !goodFingerprint.MatchString(c.Fingerprint) {
			return errors.New("the fingerprint is the SHA-256 of the certificate: 64 hexadecimal digits, with or without colons")
		}
		return nil
	case c.Authority == "" || c.Name == "":
		return errors.New("a certificate takes a fingerprint, or an authority and a name")
	}
	authorities, err := certificatesIn([]byte(c.Authority))
	if err != nil {
		return fmt.Errorf("the authority: %w", err)
	}
	if !slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return now.Before(a.NotAfter) }) {
		return errors.New("the authority's certificate has expired")
	}
	return nil
}

// End is when the device, or the last of the authorities of its certificates, ends; zero: never, as far as is known. Whoever
// has a certificate alone may renew it.
func (d *Device) End() time.Time {
	end := d.Expires
	if d.Certificate == nil || d.Certificate.Authority == "" {
		return end
	}
	authorities, err := certificatesIn([]byte(d.Certificate.Authority))
	if err != nil {
		return end
	}
	last := slices.MaxFunc(authorities, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
	if end.IsZero() || last.Before(end) {
		return last
	}
	return end
}

// certificatesIn reads certificates in PEM form.
func certificatesIn(text []byte) (all []*x509.Certificate, err error) {
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("this is no certificate in PEM form")
		}
		if text = rest; block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a certificate cannot be read: %w", err)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return all, nil
}

// FingerprintOf is that of the first certificate in a PEM text.
func FingerprintOf(text []byte) (string, error) {
	all, err := certificatesIn(text)
	if err != nil {
		return "", err
	}
	return fingerprint(all[0]), nil
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// check puts addresses in the form in which they are compared.
func (s *Sending) check() (err error) {
	if s.Sender != "" {
		box, err := address.Parse(s.Sender)
		if err != nil {
			return fmt.Errorf("the sender %q is no mail address", s.Sender)
		}
		s.Sender = box.String()
	}
	switch s.KeepFrom {
	case "":
		s.KeepFrom = content.KeepReplyTo
	case content.KeepReplyTo, content.KeepOriginal, content.KeepNothing:
	default:
		return fmt.Errorf("the old From goes to %s, %s or %s, and not to %q", content.KeepReplyTo, content.KeepOriginal, content.KeepNothing, s.KeepFrom)
	}
	for what, list := range map[string][]string{"senders": s.Senders, "recipients": s.Recipients} {
		if len(list) > listMost {
			return fmt.Errorf("there are more than %d %s", listMost, what)
		}
		for i := range list {
			if list[i], err = pattern(list[i]); err != nil {
				return fmt.Errorf("the %s: %w", what, err)
			}
		}
	}
	for _, n := range []int{s.PerMinute, s.PerHour, s.PerDay, s.RecipientsPerDay} {
		if n < 0 || n > numberMost {
			return fmt.Errorf("a rate is from 0, which is none, to %d", numberMost)
		}
	}
	if s.Size < 0 {
		return errors.New("a size is not below zero")
	}
	if _, err := ianaindex.MIME.Encoding(s.Charset); s.Charset != "" && err != nil {
		return fmt.Errorf("%q is no name of a charset, as iso-8859-1 or windows-1252 are", s.Charset)
	}
	return nil
}

// pattern is an address, or a domain behind an at sign.
func pattern(text string) (string, error) {
	if domain, is := strings.CutPrefix(text, "@"); is {
		name, err := address.Domain(domain)
		if err != nil {
			return "", fmt.Errorf("%q is no domain", text)
		}
		return "@" + name, nil
	}
	box, err := address.Parse(text)
	if err != nil {
		return "", fmt.Errorf("%q is neither an address nor a domain: write ada@sakes.example or @sakes.example", text)
	}
	return box.String(), nil
}

// matches says whether one of the patterns, which were checked, means an address.
func matches(patterns []string, box address.Mailbox) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if domain, is := strings.CutPrefix(p, "@"); is {
			return domain == box.Domain
		}
		own, err := address.Parse(p)
		return err == nil && own.EqualFold(box)
	})
}
