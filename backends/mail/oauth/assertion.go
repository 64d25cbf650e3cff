package oauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// signer signs assertions (RFC 7515).
type signer struct {
	key    crypto.Signer
	header map[string]string // alg, and what names the key
}

// assertionLife is for how long an assertion is good: issuers want minutes.
const assertionLife = 5 * time.Minute

// certificateSigner reads a certificate and its key, with which an application proves itself (RFC 7523 §2.2). The
// issuer finds the certificate by its SHA-256 (x5t#S256, RFC 7515 §4.1.8).
func certificateSigner(certificate, key string, now time.Time) (*signer, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, &Error{Kind: CertificateUnusable, Detail: certificate, Err: err}
	}
	if now.After(pair.Leaf.NotAfter) {
		return nil, &Error{Kind: CertificateExpired, Detail: fmt.Sprintf("%s ended on %s", certificate, pair.Leaf.NotAfter.Format(time.DateOnly))}
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	s := &signer{header: map[string]string{"typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}}
	switch key := pair.PrivateKey.(type) {
	case *rsa.PrivateKey:
		s.key, s.header["alg"] = key, "PS256" // RFC 7518 §3.5
		return s, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			s.key, s.header["alg"] = key, "ES256" // RFC 7518 §3.4
			return s, nil
		}
	}
	return nil, &Error{Kind: CertificateUnusable, Detail: certificate, Err: errors.New("its key is neither RSA nor ECDSA with P-256")}
}

// sign makes a JWT of claims.
func (s *signer) sign(claims map[string]any) (string, error) {
	header, err := json.Marshal(s.header)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch key := s.key.(type) {
	case *ecdsa.PrivateKey:
		r, v, wrong := ecdsa.Sign(rand.Reader, key, sum[:])
		if err = wrong; err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
		}
	default:
		how := crypto.SignerOpts(&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
		if s.header["alg"] == "RS256" {
			how = crypto.SHA256
		}
		signature, err = key.Sign(rand.Reader, sum[:], how)
	}
	if err != nil {
		return "", fmt.Errorf("sign the assertion: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// signer is that of a service account, whose keys sign by RS256 (RFC 7518 §3.3).
func (a serviceAccount) signer() (*signer, error) {
	block, _ := pem.Decode([]byte(a.PrivateKey))
	if block == nil {
		return nil, errors.New("its private_key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, is := parsed.(*rsa.PrivateKey)
	if err != nil || !is {
		return nil, errors.New("its private_key is no RSA key in PKCS #8")
	}
	return &signer{key: key, header: map[string]string{"typ": "JWT", "alg": "RS256", "kid": a.PrivateKeyID}}, nil
}

// mailboxAssertion asks for a token for somebody's mailbox (RFC 7523 §2.1).
func (s *signer) mailboxAssertion(a serviceAccount, mailbox, endpoint, scope string, now time.Time) (string, error) {
	return s.sign(map[string]any{
		"aud": endpoint, "iss": a.ClientEmail, "sub": mailbox, "scope": scope, "jti": rand.Text(),
		"iat": now.Add(-10 * time.Second).Unix(), "exp": now.Add(assertionLife).Unix(),
	})
}

// clientAssertion is what proves the application to an endpoint, once (RFC 7523 §3).
func (s *signer) clientAssertion(clientID, endpoint string, now time.Time) (string, error) {
	return s.sign(map[string]any{
		"aud": endpoint, "iss": clientID, "sub": clientID, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-10 * time.Second).Unix(), "exp": now.Add(assertionLife).Unix(),
	})
}

// serviceAccount is the key file of a service account of Google's.
type serviceAccount struct {
	Type         string `json:"type"`
	ClientEmail  string `json:"client_email"`
	PrivateKey   string `json:"private_key"`
	PrivateKeyID string `json:"private_key_id"`
	TokenURI     string `json:"token_uri"`
}

// keyFileMost bounds a key file, in octets.
const keyFileMost = 64 << 10

// readServiceAccount reads a key file.
func readServiceAccount(name string) (serviceAccount, error) {
	var a serviceAccount
	unusable := func(err error) (serviceAccount, error) {
		return a, &Error{Kind: CertificateUnusable, Detail: "the key file " + name, Err: err}
	}
	info, err := os.Stat(name)
	if err != nil {
		return unusable(err)
	}
	if !info.Mode().IsRegular() || info.Size() > keyFileMost {
		return unusable(errors.New("it is no regular file of at most 64 KiB"))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return unusable(err)
	}
	defer clear(text)
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&a); err != nil {
		return unusable(errors.New("it is not JSON")) // what the decoder says may have a part of the key in it
	}
	if a.Type != "service_account" || a.ClientEmail == "" || a.PrivateKey == "" {
		return unusable(errors.New("it is not the key of a service account (type, client_email, private_key)"))
	}
	return a, nil
}
