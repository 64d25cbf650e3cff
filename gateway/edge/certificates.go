package edge

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// The application protocols of TLS (RFC 7301). A client that names protocols of its own, and
// none of these, is refused the handshake: it has been led here from another service, whose
// certificate ours may resemble (ALPACA). One that names none is a mail client as there always
// were. SMTP has no registered name; these two are what its clients say.
var (
	POP3 = []string{"pop3"}
	SMTP = []string{"smtp", "esmtp"}
	HTTP = []string{"http/1.1"}
)

// Files are those of a certificate, both PEM; the certificate's has the whole chain.
type Files struct{ Certificate, Key string }

// Pair is a certificate and its key, as its files were when they last fitted together.
type Pair struct {
	files Files
	cert  atomic.Pointer[tls.Certificate]

	// What the watcher knows.
	used    digest // the content that cert was made of
	seen    digest // that of the last look
	refused digest // that which could not be used, and has been told of
}

// digest tells one content of the files from another.
type digest [sha256.Size]byte

// LoadPair reads a certificate from its files.
func LoadPair(files Files) (*Pair, error) {
	p := &Pair{files: files}
	return p.first(p.read())
}

// NewPair is a certificate and its key, both PEM, that are about to be written to its files.
func NewPair(files Files, certificate, key []byte) (*Pair, error) {
	p := &Pair{files: files}
	return p.first(p.parse(certificate, key))
}

// first takes what the files hold first.
func (p *Pair) first(content digest, cert *tls.Certificate, err error) (*Pair, error) {
	if err != nil {
		return nil, err
	}
	p.used, p.seen = content, content
	p.cert.Store(cert)
	return p, nil
}

// Leaf is the certificate itself, without its chain.
func (p *Pair) Leaf() *x509.Certificate { return p.cert.Load().Leaf }

// read gives what the files hold, and the certificate that it makes. The digest is that of the
// error where they cannot be read.
func (p *Pair) read() (digest, *tls.Certificate, error) {
	certificate, err1 := os.ReadFile(p.files.Certificate)
	key, err2 := os.ReadFile(p.files.Key)
	defer clear(key)
	if err := errors.Join(err1, err2); err != nil {
		return sha256.Sum256([]byte(err.Error())), nil, fmt.Errorf("the certificate: %w", err)
	}
	return p.parse(certificate, key)
}

// parse gives the certificate that files with such content make.
func (p *Pair) parse(certificate, key []byte) (digest, *tls.Certificate, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(certificate))
	h.Write(certificate)
	h.Write(key)
	content := digest(h.Sum(nil))
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return content, nil, fmt.Errorf("the certificate %s: %w", p.files.Certificate, err)
	}
	return content, &pair, nil
}

// ServerTLS is the TLS of a listener. A client gets the first certificate that is for the name
// it asks for (SNI, RFC 6066 §3) and that it can verify, or else the first of all. There is at
// least one pair; it may change at any time.
func ServerTLS(pairs []*Pair, least uint16, protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion: least,
		NextProtos: protocols,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			for _, p := range pairs {
				if cert := p.cert.Load(); hello.SupportsCertificate(cert) == nil {
					return cert, nil
				}
			}
			return pairs[0].cert.Load(), nil
		},
		// A ticket of one listener must not be good at another (ALPACA), and mail
		// sessions are long: resumption would spare next to nothing.
		SessionTicketsDisabled: true,
	}
}
