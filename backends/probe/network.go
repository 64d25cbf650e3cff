package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/dipylon/dipylon/backends"
)

const (
	// patience is how long one step of the network has.
	patience = 30 * time.Second
	// soon is how long before its end a certificate is warned of.
	soon = 30 * 24 * time.Hour
	// addressesTold is how many addresses of a name are told.
	addressesTold = 10
)

// LookUp resolves a name.
func LookUp(ctx context.Context, host string) (Found, error) {
	if net.ParseIP(host) != nil {
		return Found{Detail: "it is an address"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return Found{}, Because(NameNotFound, backends.Fail(backends.Temporary, "%w", err))
	}
	return Found{Detail: strings.Join(addresses[:min(len(addresses), addressesTold)], ", ")}, nil
}

// Connect opens a connection and closes it.
func Connect(ctx context.Context, address string) (Found, error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return Found{}, err
	}
	from, to := conn.LocalAddr(), conn.RemoteAddr()
	_ = conn.Close()
	return Found{Detail: fmt.Sprintf("from %s to %s", from, to)}, nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
	if err != nil {
		cause := NoConnection
		if errors.Is(err, syscall.ECONNREFUSED) {
			cause = PortClosed
		}
		return nil, Because(cause, backends.Fail(backends.Temporary, "%w", err))
	}
	return conn, nil
}

// TLS does a handshake on a connection of its own, and looks at the certificate. upgrade brings the connection to where TLS begins
// (STARTTLS), within its deadline; nil: it begins with the first octet.
func TLS(ctx context.Context, address string, config *tls.Config, upgrade func(net.Conn) error) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := dial(ctx, address)
	if err != nil {
		return Found{}, err
	}
	defer raw.Close() //nolint:errcheck // nothing was sent
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	if upgrade != nil {
		if err := upgrade(raw); err != nil {
			return Found{}, Because(NoTLS, backends.Fail(backends.Temporary, "%w", err))
		}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return Found{}, Because(TLSCause(err), backends.Fail(backends.Temporary, "%w", err))
	}
	state := conn.ConnectionState()
	return certificate(state), nil
}

// certificate tells of a server's.
func certificate(state tls.ConnectionState) Found {
	leaf := state.PeerCertificates[0]
	found := Found{Detail: fmt.Sprintf("%s, certificate of %s by %s until %s", tls.VersionName(state.Version), leaf.Subject, leaf.Issuer, leaf.NotAfter.UTC().Format(time.DateOnly))}
	if time.Until(leaf.NotAfter) < soon {
		found.Warning = CertificateExpires
	}
	return found
}

// TLSCause tells apart what TLS fails with.
func TLSCause(err error) Cause {
	var (
		header  tls.RecordHeaderError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		network *net.OpError
	)
	switch {
	case errors.As(err, &header):
		return NoTLS
	case errors.As(err, &name):
		return CertificateName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertificateExpired
	case strings.Contains(err.Error(), "protocol version"): // an alert of TLS's, whose type package tls does not export
		return TLSTooOld
	case strings.Contains(err.Error(), "remote error: tls"):
		return ClientCertificate
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return NoAnswer
	case errors.As(err, &network):
		return NoConnection
	}
	return CertificateNotTrusted
}

// Server takes the first steps to a server: its name, a connection. It says whether the way goes on.
func (w *Way) Server(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return w.Step("name "+host, func(ctx context.Context) (Found, error) { return LookUp(ctx, host) }) &&
		w.Step("connection to "+address, func(ctx context.Context) (Found, error) { return Connect(ctx, address) })
}
