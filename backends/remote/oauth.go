package remote

import (
	"errors"
	"path/filepath"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
)

// OAuth is the part of a backend's settings that says how tokens are got with which the gateway acts for the store's
// users.
type OAuth struct {
	Provider       string   `json:"provider"`        // microsoft, google; empty: Issuer says it
	Tenant         string   `json:"tenant"`          // Microsoft's
	Issuer         string   `json:"issuer"`          // whose OpenID configuration has the endpoints
	Endpoint       string   `json:"endpoint"`        // where tokens are asked for, in place of Issuer
	DeviceEndpoint string   `json:"device_endpoint"` // the same
	Grant          string   `json:"grant"`           // client_credentials, service_account, refresh_token
	ClientID       string   `json:"client_id"`
	ClientSecret   string   `json:"client_secret"`
	Certificate    string   `json:"certificate"`     // PEM file, in place of a secret
	CertificateKey string   `json:"certificate_key"` // PEM file
	ServiceAccount string   `json:"service_account"` // JSON file of Google's
	Scopes         []string `json:"scopes"`
	CA             string   `json:"ca"`       // PEM file of whom to trust where tokens are got
	SealKey        string   `json:"seal_key"` // encrypts a refresh token
	Expires        Day      `json:"expires"`  // when the secret, or the key of the service account, ends
}

// Given says whether tokens are to be got.
func (o OAuth) Given() bool {
	return o.Provider != "" || o.Issuer != "" || o.Endpoint != "" || o.ServiceAccount != "" || o.ClientID != ""
}

// Saves says whether the provider puts what is sent into the Sent folder of who has logged in, by itself.
func (o OAuth) Saves() bool { return o.Provider == oauth.Microsoft || o.Provider == oauth.Google }

// Config is what tokens are asked for with; what is wrong with it is noted. path is where in the settings these are,
// relative paths are relative to the settings' base.
func (o OAuth) Config(wrong *backends.SettingsError, path string, s backends.Settings) oauth.Config {
	file := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(s.BaseDir, name)
	}
	c := oauth.Config{
		Provider: o.Provider, Tenant: o.Tenant, Issuer: o.Issuer, TokenURL: o.Endpoint, DeviceURL: o.DeviceEndpoint, Grant: oauth.Grant(o.Grant),
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Certificate: file(o.Certificate), Key: file(o.CertificateKey), ServiceAccount: file(o.ServiceAccount),
		Scopes: o.Scopes, CA: file(o.CA), Expires: o.Expires.Time, Vault: oauth.Vault{Shared: s.Vault, File: oauth.VaultIn(s.StateDir), Key: o.SealKey, Name: s.Store},
	}
	for _, p := range c.Check() {
		wrong.Add(path+"."+p.Setting, "%s", p.Text)
	}
	return c
}

// DocumentOAuth adds what there is to say of [OAuth] to the notes of a store's settings. path is where in them these are.
func DocumentOAuth(notes map[string]backends.SettingNote, path string) {
	for name, note := range map[string]backends.SettingNote{
		"provider":        {Doc: "Whose tokens: microsoft or google, with the endpoints and scopes that these have for mail.", Values: []string{oauth.Microsoft, oauth.Google}, Default: "none: issuer and scopes say it"},
		"tenant":          {Doc: "Microsoft's tenant: its id, or a domain of it."},
		"issuer":          {Doc: "The issuer whose OpenID configuration has the endpoints, https://…", Default: "the provider's"},
		"endpoint":        {Doc: "Where tokens are asked for, in place of an issuer.", Default: "the issuer says it"},
		"device_endpoint": {Doc: "Where device codes are asked for, with endpoint.", Default: "the issuer says it"},
		"grant":           {Doc: "client_credentials: as the application, for any mailbox that it was given. service_account: as a service account of Google's with domain-wide delegation. refresh_token: as somebody who has logged in with dipylon oauth login.", Values: []string{string(oauth.ClientCredentials), string(oauth.ServiceAccount), string(oauth.RefreshToken)}, Default: "what the rest amounts to"},
		"client_id":       {Doc: "The application's id."},
		"client_secret":   {Doc: "The application's secret.", Secret: true},
		"expires":         {Doc: "When the secret, or the key of the service account, ends: 2027-03-31. The provider tells nobody; the gateway tells the administrator 30 days before. The end of a certificate is in it.", Default: "nobody is told"},
		"certificate":     {Doc: "In place of a secret: a PEM file with the application's certificate, which is read again for each request."},
		"certificate_key": {Doc: "A PEM file with the certificate's key."},
		"service_account": {Doc: "The key file of the service account (JSON)."},
		"scopes[]":        {Doc: "What the tokens are for.", Default: "the provider's for mail"},
		"ca":              {Doc: "Whom to trust where tokens are got: a PEM file of authorities.", Default: "the system's authorities"},
		"seal_key":        {Doc: "What refresh token and access tokens are encrypted with that are kept for all gateways on one state (openssl rand -hex 32). With refresh_token it is needed.", Secret: true, Default: "what tokens are got with"},
	} {
		notes[path+"."+name] = note
	}
}

// sayNoToken is what users are told where the gateway gets no token.
const sayNoToken = "the mail store's provider does not give this gateway access now, tell your administrator"

// TokenFailure makes a failure of what came of asking for a token. The administrator can mend all of it, so mail waits,
// and nobody's password is wrong; only a mailbox that the provider says it does not have is none.
func TokenFailure(err error) *backends.Failure {
	wrong, is := errors.AsType[*oauth.Error](err)
	switch {
	case !is:
		return backends.Fail(backends.Temporary, "get a token: %w", err)
	case wrong.Kind == oauth.AccountUnknown:
		return backends.Fail(backends.BadCredentials, "get a token: %w", err)
	case wrong.Passes():
		return backends.Fail(backends.Temporary, "get a token: %w", err).After(wrong.RetryAfter).OfStore()
	case wrong.OfMailbox():
		return backends.Fail(backends.Temporary, "get a token: %w", err).Say(sayNoToken)
	}
	return backends.Fail(backends.Temporary, "get a token: %w", err).Say(sayNoToken).OfStore()
}
