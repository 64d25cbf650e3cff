package mapihttp

import (
	"net/http"
	"net/url"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Config says where a server is, and how it is spoken to.
type Config struct {
	// URL is that of the end point, with the mailbox: https://host/mapi/emsmdb/?MailboxId=george@sakes.example, and
	// https://host/mapi/nspi/?MailboxId=george@sakes.example for the address book.
	URL string
	// Transport signs in: a [signin.Login] of the server. It is the session's alone, which closes its idle connections.
	Transport http.RoundTripper
	// Application is what the client is called, [DefaultApplication].
	Application string
	// CodePage and Locale are those of the session: [1252 and 0x0409].
	CodePage, Locale uint32
	// Timeout is how long a server may send nothing [60 s].
	Timeout time.Duration
	// Most is how long a request may take in all [5 minutes].
	Most time.Duration
}

// DefaultApplication is a version that servers give all features to: they look at the number.
const DefaultApplication = "Outlook/15.0.4815.1002"

func (c Config) complete() (Config, *url.URL, error) {
	if c.Application == "" {
		c.Application = DefaultApplication
	}
	if c.CodePage == 0 {
		c.CodePage = 1252
	}
	if c.Locale == 0 {
		c.Locale = 0x0409
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Most == 0 {
		c.Most = 5 * time.Minute
	}
	target, err := url.Parse(c.URL)
	if err != nil || c.Transport == nil || target.Scheme != "https" || target.Host == "" || target.User != nil {
		return c, nil, backends.Fail(backends.Permanent, "the URL of MAPI over HTTP must be https://host/mapi/emsmdb/?MailboxId=mailbox@domain")
	}
	return c, target, nil
}
