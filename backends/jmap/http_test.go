package jmap

import (
	"crypto/tls"
	"testing"
)

// An http.Transport writes into its TLS configuration at its first request, and deliveries by LMTP read
// the store's at the same time: they would race, and offer HTTP by ALPN.
func TestHTTPHasItsOwnTLS(t *testing.T) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	newHTTP(config, settings{}).CloseIdleConnections() // makes it ready as a request does
	if len(config.NextProtos) != 0 {
		t.Errorf("the store's configuration offers %q", config.NextProtos)
	}
}
