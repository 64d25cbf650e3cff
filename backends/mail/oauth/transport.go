package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// answerMost bounds an issuer's answer, in octets: tokens have some kilobytes.
const answerMost = 256 << 10

// errLong says that an answer has no end in sight.
var errLong = fmt.Errorf("the issuer's answer has more than %d KiB", answerMost>>10)

// transport is the way to an issuer: HTTPS alone, with bounds. It learns from each answer what the issuer's clock says.
type transport struct {
	inner   http.RoundTripper
	now     func() time.Time
	timeout time.Duration // of a request with its answer
	skew    atomic.Int64  // of the issuer's clock, against ours, in nanoseconds
}

// newClient makes the client of an issuer.
func newClient(ca string, timeout time.Duration, now func() time.Time) (*http.Client, *transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, nil, &Error{Kind: Untrusted, Err: err}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, nil, &Error{Kind: Untrusted, Detail: ca, Err: errors.New("it has no certificate in PEM form")}
		}
	}
	t := &transport{now: now, timeout: timeout, inner: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
		TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, IdleConnTimeout: 30 * time.Second,
		MaxIdleConnsPerHost: flightsMost, MaxConnsPerHost: flightsMost, MaxResponseHeaderBytes: 64 << 10,
	}}
	return &http.Client{
		Transport: t,
		// What is sent is a secret: it goes to whom the configuration names.
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return &Error{Kind: Untrusted, Err: errors.New("the issuer sends us to another address")}
		},
	}, t, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL.String()); err != nil {
		return nil, &Error{Kind: Untrusted, Err: err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), t.timeout)
	answer, err := t.inner.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		t.skew.Store(int64(at.Sub(t.now())))
	}
	answer.Body = &bounded{answer.Body, answerMost, cancel}
	return answer, nil
}

// skewLeast is what is no matter of clocks: the header has whole seconds, and answers take time.
const skewLeast = 15 * time.Second

// issuerNow is the time by the issuer's clock, as far as it is known. Its assertions are good by that clock.
func (t *transport) issuerNow() time.Time {
	now, skew := t.now(), time.Duration(t.skew.Load())
	if skew.Abs() < skewLeast {
		return now
	}
	return now.Add(skew)
}

// bounded is a body that fails where it is too long. It is closed at its end: the library leaves some open.
type bounded struct {
	io.ReadCloser
	left int64
	done context.CancelFunc
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		n, err = 0, errLong
	}
	if err != nil {
		_ = b.Close() // it was read
	}
	return n, err
}

// Close implements [io.Closer].
func (b *bounded) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}
