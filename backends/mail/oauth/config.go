package oauth

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Grant is how a token is asked for.
type Grant string

// The grants.
const (
	ClientCredentials Grant = "client_credentials" // RFC 6749 §4.4: the application for itself
	ServiceAccount    Grant = "service_account"    // RFC 7523 §2.1, as Google has it: the application for a mailbox
	RefreshToken      Grant = "refresh_token"      // RFC 6749 §6: what somebody has consented to
)

// The providers that are known.
const (
	Microsoft = "microsoft"
	Google    = "google"
)

// Config is what tokens are asked for with.
type Config struct {
	Provider string // Microsoft, Google, or empty
	Tenant   string // Microsoft's: a domain of the tenant, or its id
	// Issuer is whose OpenID configuration has the endpoints; empty: the provider's. TokenURL and DeviceURL take its
	// place where they are set.
	Issuer, TokenURL, DeviceURL string
	Grant                       Grant // empty: what the rest amounts to
	ClientID                    string
	ClientSecret                string
	Certificate, Key            string // PEM files, read for each request; in place of a secret
	ServiceAccount              string // JSON file of Google's, read for each request
	// Expires is when ClientSecret, or the key in ServiceAccount, ends: providers do not tell it. Zero: nobody knows.
	Expires time.Time
	Scopes  []string // empty: the provider's for mail
	CA      string   // PEM file of whom to trust; empty: the system's
	Vault   Vault    // of RefreshToken

	// Timeout bounds one request [20 s].
	Timeout time.Duration
	// LeaseLife is how long others wait for a process that has ended while it asked for a token that it was to share [15 s].
	LeaseLife time.Duration
	// IdleLook is about how often is looked whether a login was used lately, which ends if it is not [12 h].
	IdleLook time.Duration
	// Notice is told of each request that has failed, also where a token that is still good hides it, and of a login that cannot be
	// kept; [Headline] says which. nil: nobody.
	Notice func(error)
	// Now is the time; nil: [time.Now].
	Now func() time.Time
}

// Problem is what is wrong with a configuration: of which setting, as they are called in a file, and what to do.
type Problem struct{ Setting, Text string }

// withDefaults is the configuration with what is empty filled in.
func (c Config) withDefaults() Config {
	switch {
	case c.Grant != "":
	case c.ServiceAccount != "":
		c.Grant = ServiceAccount
	default:
		c.Grant = ClientCredentials
	}
	if c.Issuer == "" {
		c.Issuer = map[string]string{Microsoft: "https://login.microsoftonline.com/" + url.PathEscape(c.Tenant) + "/v2.0", Google: "https://accounts.google.com"}[c.Provider]
	}
	if len(c.Scopes) == 0 {
		c.Scopes = defaultScopes[c.Provider+" "+string(c.Grant)]
	}
	c.Timeout = cmp.Or(c.Timeout, 20*time.Second)
	c.LeaseLife, c.IdleLook = cmp.Or(c.LeaseLife, leaseLife), cmp.Or(c.IdleLook, idleLook)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Notice == nil {
		c.Notice = func(error) {}
	}
	return c
}

// defaultScopes are those for IMAP and SMTP, by provider and grant: of Microsoft's application permissions
// (IMAP.AccessAsApp, SMTP.SendAsApp) and delegated ones, and Google's one for mail.
var defaultScopes = map[string][]string{
	"microsoft client_credentials": {"https://outlook.office365.com/.default"},
	"microsoft refresh_token":      {"offline_access", "https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send"},
	"google service_account":       {"https://mail.google.com/"},
	"google refresh_token":         {"https://mail.google.com/"},
}

// Check says all that is wrong with a configuration. No file is read, and no server asked.
func (c Config) Check() (wrong []Problem) {
	given := c
	c = c.withDefaults()
	add := func(setting, format string, args ...any) {
		wrong = append(wrong, Problem{setting, fmt.Sprintf(format, args...)})
	}
	switch {
	case !slices.Contains([]string{"", Microsoft, Google}, c.Provider):
		add("provider", "expected microsoft or google; for others leave it out and set issuer")
	case c.Provider == Microsoft && c.Tenant == "" && given.Issuer == "":
		add("tenant", "microsoft needs the tenant: its id, or a domain of it")
	case c.Provider == "" && c.Issuer == "" && c.TokenURL == "" && c.Grant != ServiceAccount:
		add("issuer", "set provider, issuer or endpoint: nobody knows whom to ask for a token")
	}
	for setting, address := range map[string]string{"issuer": c.Issuer, "endpoint": c.TokenURL, "device_endpoint": c.DeviceURL} {
		if address != "" && checkURL(address) != nil {
			add(setting, "expected an https:// address")
		}
	}
	if len(c.Scopes) == 0 && c.Provider == "" {
		add("scopes", "say what the tokens are for: the provider's documentation names the scopes for IMAP and SMTP")
	}
	return append(wrong, c.checkGrant()...)
}

// checkGrant says what the grant lacks, or has too much of.
func (c Config) checkGrant() (wrong []Problem) {
	add := func(setting, text string) { wrong = append(wrong, Problem{setting, text}) }
	if (c.Certificate == "") != (c.Key == "") {
		add("certificate", "certificate and certificate_key go together")
	}
	if c.Vault.Key != "" && len(c.Vault.Key) < sealKeyLeast {
		add("seal_key", fmt.Sprintf("is shorter than %d characters (openssl rand -hex 32 makes a good one)", sealKeyLeast))
	}
	switch c.Grant {
	case ClientCredentials:
		if c.ClientID == "" {
			add("client_id", "the application's id is missing")
		}
		if (c.ClientSecret == "") == (c.Certificate == "") {
			add("client_secret", "set either client_secret, or certificate and certificate_key")
		}
		if c.Provider == Google {
			add("grant", "google lets an application into mailboxes by service_account alone")
		}
	case ServiceAccount:
		if c.ServiceAccount == "" {
			add("service_account", "the key file of the service account is missing")
		}
	case RefreshToken:
		if c.ClientID == "" {
			add("client_id", "the application's id is missing")
		}
		if c.Vault.Key == "" {
			add("seal_key", "the refresh token is kept encrypted: set a key, by reference (openssl rand -hex 32)")
		}
	default:
		add("grant", "expected client_credentials, service_account or refresh_token")
	}
	return wrong
}

// checkURL says whether an address is one that secrets may be sent to.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is no https:// address", strings.ToValidUTF8(address[:min(len(address), 100)], "?"))
	}
	return nil
}
