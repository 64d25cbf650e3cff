package config

import (
	"path/filepath"
	"time"

	"github.com/dipylon/dipylon/backends/mail/oauth"
)

// OAuth is how tokens are got with which a route's hosts are logged in at. The keys are those of the IMAP store's oauth.
type OAuth struct {
	Provider       string   `yaml:"provider,omitempty"`
	Tenant         string   `yaml:"tenant,omitempty"`
	Issuer         string   `yaml:"issuer,omitempty"`
	Endpoint       string   `yaml:"endpoint,omitempty"`
	DeviceEndpoint string   `yaml:"device_endpoint,omitempty"`
	Grant          string   `yaml:"grant,omitempty"`
	ClientID       string   `yaml:"client_id,omitempty"`
	ClientSecret   Password `yaml:"client_secret,omitempty"`
	Certificate    string   `yaml:"certificate,omitempty"`
	CertificateKey string   `yaml:"certificate_key,omitempty"`
	ServiceAccount string   `yaml:"service_account,omitempty"`
	Scopes         []string `yaml:"scopes,omitempty"`
	CA             string   `yaml:"ca,omitempty"`
	SealKey        Password `yaml:"seal_key,omitempty"`
	// Expires is when the secret, or the key of the service account, ends.
	Expires *Date `yaml:"expires,omitempty"`
}

// OAuthOf is what a route's tokens are asked for with. A refresh token is kept in a folder of the route's own.
func (c *Config) OAuthOf(r Route) oauth.Config {
	return r.OAuth.config(oauth.Vault{File: oauth.VaultIn(c.RouteFolder(r.Name)), Key: r.OAuth.SealKey.Value, Name: "route " + r.Name})
}

// config is what tokens are asked for with.
func (o *OAuth) config(vault oauth.Vault) oauth.Config {
	var expires time.Time
	if o.Expires != nil {
		expires = o.Expires.Time
	}
	return oauth.Config{
		Provider: o.Provider, Tenant: o.Tenant, Issuer: o.Issuer, TokenURL: o.Endpoint, DeviceURL: o.DeviceEndpoint, Grant: oauth.Grant(o.Grant),
		ClientID: o.ClientID, ClientSecret: o.ClientSecret.Value, Certificate: o.Certificate, Key: o.CertificateKey, ServiceAccount: o.ServiceAccount,
		Scopes: o.Scopes, CA: o.CA, Expires: expires, Vault: vault,
	}
}

// Settings are those of a store that gets such tokens, as its backend reads them; nil: there are none.
func (o *OAuth) Settings() map[string]any {
	if o == nil {
		return nil
	}
	all := make(map[string]any)
	for key, value := range map[string]string{
		"provider": o.Provider, "tenant": o.Tenant, "issuer": o.Issuer, "endpoint": o.Endpoint, "device_endpoint": o.DeviceEndpoint, "grant": o.Grant,
		"client_id": o.ClientID, "client_secret": o.ClientSecret.Value, "certificate": o.Certificate, "certificate_key": o.CertificateKey,
		"service_account": o.ServiceAccount, "ca": o.CA, "seal_key": o.SealKey.Value,
	} {
		if value != "" {
			all[key] = value
		}
	}
	if len(o.Scopes) > 0 {
		all["scopes"] = o.Scopes
	}
	return all
}

// KeepsLogin says whether tokens come of a login that is kept in the state.
func (o *OAuth) KeepsLogin() bool { return o != nil && oauth.Grant(o.Grant) == oauth.RefreshToken }

// RouteFolder is where a route keeps what is its own.
func (c *Config) RouteFolder(name string) string { return filepath.Join(c.StateFolder, "routes", name) }

// routeOAuth checks how a route's tokens are got.
func (d *decoder) routeOAuth(at string, r *Route, c *Config) {
	switch {
	case r.AsSender && (r.OAuth == nil || r.To != "smtp"):
		d.at(join(at, "as_sender"), "leave it out", "only a login by oauth, to: smtp, can be as the sender")
	case r.OAuth == nil:
		return
	}
	if r.OAuth == nil {
		return
	}
	at = join(at, "oauth")
	if r.To != "smtp" {
		d.at(at, "write to: smtp and the hosts", "tokens are for hosts that are named")
	}
	d.oauth(at, r.OAuth, func() oauth.Config { return c.OAuthOf(*r) })
}

// oauth checks how tokens are got, which of reads from the settings once their paths are in order.
func (d *decoder) oauth(at string, settings *OAuth, of func() oauth.Config) {
	for _, file := range []*string{&settings.Certificate, &settings.CertificateKey, &settings.ServiceAccount, &settings.CA} {
		*file = d.path(*file)
	}
	for _, p := range of().Check() {
		if where := join(at, p.Setting); !d.failed[where] {
			d.at(where, "", "%s", p.Text)
		}
	}
}
