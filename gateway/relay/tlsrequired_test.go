//go:build linux

package relay_test

import (
	"crypto/tls"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestTLSRequiredNo (RFC 8689 §4.1): a sender to whom delivery is worth more than TLS has a message go to hosts that DNS
// names whatever their TLS is, and its header stays. What a route requires is not the sender's to waive, and REQUIRETLS
// goes before the field.
func TestTLSRequiredNo(t *testing.T) {
	const waived = "TLS-Required: No\r\n" + text
	authority, stranger := harness.NewAuthority(t), harness.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(stranger.CertFile, stranger.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	shown := &tls.Config{Certificates: []tls.Certificate{pair}}
	// The certificate of a version that the relay does not speak: no handshake comes about.
	broken := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	for name, c := range map[string]struct {
		kind    relay.Kind
		policy  smtpclient.Policy
		server  *tls.Config
		require bool
		want    string
	}{
		"by MX, a stranger's certificate":    {relay.MX, smtpclient.Opportunistic, shown, false, "delivered 2.0.0"},
		"by MX, no handshake":                {relay.MX, smtpclient.Opportunistic, broken, false, "delivered 2.0.0"},
		"by MX, no TLS":                      {relay.MX, smtpclient.Opportunistic, nil, false, "delivered 2.0.0"},
		"by MX, required by the route":       {relay.MX, smtpclient.Required, broken, false, "waiting 4.7.10"},
		"by MX, verified by the route":       {relay.MX, smtpclient.Verified, shown, false, "waiting 4.7.10"},
		"to a smart host, verified":          {relay.SmartHost, smtpclient.Verified, shown, false, "waiting 4.7.10"},
		"to a smart host, without any":       {relay.SmartHost, smtpclient.Required, nil, false, "waiting 4.7.10"},
		"with REQUIRETLS, by MX":             {relay.MX, smtpclient.Opportunistic, shown, true, "failed 5.7.30"},
		"with REQUIRETLS, to a smart host":   {relay.SmartHost, smtpclient.Required, shown, true, "failed 5.7.30"},
		"with REQUIRETLS, to be verified":    {relay.SmartHost, smtpclient.Verified, shown, true, "waiting 4.7.10"},
		"with REQUIRETLS, to one without it": {relay.SmartHost, smtpclient.Verified, nil, true, "waiting 4.7.10"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			fake := &fakesmtp.Server{TLS: c.server, Offers: []string{"REQUIRETLS"}}
			server := w.at(t, "192.0.2.1:25", fake)
			w.hosts["mx.far.example:25"] = server.Address
			w.relay.TLS = &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS12}
			how := relay.Route{Kind: c.kind, TLS: &smtpclient.TLS{Policy: c.policy}}
			if c.kind == relay.MX {
				how.Domain, how.Port = "far.example", "25"
			} else {
				how.Servers = groups("mx.far.example:25")
			}
			w.relay.Routes = routes{"far.example": how}
			m := letter("k1", "a@far.example")
			m.Envelope.RequireTLS = c.require
			w.add(m, waived)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", "a@far.example "+c.want)
			if got := server.Copies(waived)["a@far.example"]; (got == 1) != (c.want == "delivered 2.0.0") || got > 1 {
				t.Errorf("the server has %d copies as they were", got)
			}
		})
	}
}
