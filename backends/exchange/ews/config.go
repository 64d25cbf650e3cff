package ews

import (
	"net/http"
	"net/url"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Config says where a server is, and how it is spoken to.
type Config struct {
	// URL is that of the service: https://host/EWS/Exchange.asmx.
	URL string
	// Transport sends requests, signs them in, and speaks HTTP/1.1.
	Transport http.RoundTripper
	// Timeout is how long a server may send nothing, or take nothing [1 minute].
	Timeout time.Duration
	// Most is how long a request may take in all that has no message in it, or in its reply [5 minutes].
	Most time.Duration
	// Impersonate is the SMTP address of the user on whose behalf requests are made; empty: the one who has signed in. It takes the
	// role ApplicationImpersonation.
	Impersonate string
	// Anchor is the SMTP address of the mailbox that most requests are about: front ends send them to where that is. Empty: Impersonate.
	Anchor string
	// Version is the version of the schema that requests name; empty: it is chosen by what the server says.
	Version Version
	// Agent is what the client calls itself.
	Agent string
}

func (c Config) complete() (Config, error) {
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Most == 0 {
		c.Most = 5 * time.Minute
	}
	if c.Anchor == "" {
		c.Anchor = c.Impersonate
	}
	if c.Agent == "" {
		c.Agent = "Dipylon"
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return c, backends.Fail(backends.Permanent, "the URL of EWS must be https://host/EWS/Exchange.asmx")
	}
	return c, nil
}

// Version is a version of the schema, MS-OXWSCDATA §2.2.5.26 (ExchangeVersionType).
type Version string

// Versions that make a difference here, oldest first.
const (
	Exchange2007SP1 Version = "Exchange2007_SP1"
	Exchange2010    Version = "Exchange2010"
	Exchange2010SP1 Version = "Exchange2010_SP1" // ExportItems
	Exchange2010SP2 Version = "Exchange2010_SP2"
	Exchange2013    Version = "Exchange2013" // SuppressReadReceipts
	Exchange2013SP1 Version = "Exchange2013_SP1"
	Exchange2016    Version = "Exchange2016"
)

var versions = []Version{Exchange2007SP1, Exchange2010, Exchange2010SP1, Exchange2010SP2, Exchange2013, Exchange2013SP1, Exchange2016}

// build is a version of a server, as ServerVersionInfo has it.
type build struct{ major, minor, number int }

// sp1 is the build of Exchange 2013 SP1.
const sp1 = 847

// version is the newest version of the schema that a server of this build has.
func (b build) version() Version {
	switch {
	case b.major == 14 && b.minor == 0:
		return Exchange2010
	case b.major == 14 && b.minor == 1:
		return Exchange2010SP1
	case b.major == 14:
		return Exchange2010SP2
	case b.major == 15 && b.minor == 0 && b.number < sp1:
		return Exchange2013
	case b.major == 15 && b.minor == 0:
		return Exchange2013SP1
	case b.major >= 15:
		return Exchange2016
	}
	return Exchange2007SP1
}
