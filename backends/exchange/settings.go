package exchange

import (
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/remote"
)

// settings are what an administrator writes under stores[].settings.
type settings struct {
	remote.Trust
	signin.Settings
	URL string `json:"url"` // of the server
	// Autodiscover has hosts that are asked for the server, and that passwords may go to.
	Autodiscover hosts           `json:"autodiscover"`
	Username     string          `json:"username"` // address: user@domain as given; local: without the domain
	Domain       string          `json:"domain"`   // of Windows: the login is DOMAIN\user
	Removal      string          `json:"removal"`  // soft: what is removed can be recovered for a while; hard: it cannot
	Timeout      remote.Duration `json:"timeout"`  // how long a server may send nothing
	Service      service         `json:"service"`  // who acts for users whom the gateway has proved
	// Submission: the server sends what clients submit.
	Submission bool `json:"submission"`
	// Delivery is how mail comes in.
	Delivery delivery `json:"delivery"`
	// Outbox is where mail waits that the gateway is to send.
	Outbox outbox `json:"outbox"`
	// Protocol is what the server is spoken to with: auto, mapi, ews, rpc.
	Protocol string `json:"protocol"`
	RPC      rpc    `json:"rpc"` // where it is with rpc
}

// The words of settings.
const (
	usernameAddress = "address"
	usernameLocal   = "local"
	removalSoft     = "soft"
	removalHard     = "hard"
)

func defaults() settings {
	return settings{
		Username: usernameAddress, Removal: removalSoft, Protocol: protocolAuto, Settings: signin.DefaultSettings(), Timeout: remote.Duration(time.Minute),
		Delivery: delivery{HopSettings: remote.HopSettings{TLS: "none"}}, RPC: rpc{Mapper: mapperPort},
	}
}

// read decodes and checks; everything wrong is told at once.
func read(given backends.Settings) (settings, signin.Config, error) {
	set := defaults()
	if err := given.Decode(&set); err != nil {
		return set, signin.Config{}, err
	}
	var wrong backends.SettingsError
	set.checkURL(&wrong, given.Domains)
	set.Autodiscover.check(&wrong)
	remote.OneOf(&wrong, "username", set.Username, usernameAddress, usernameLocal)
	remote.OneOf(&wrong, "protocol", set.Protocol, protocolAuto, protocolMAPI, protocolEWS, protocolRPC)
	set.RPC.check(&wrong, set.Protocol, signin.Method(set.Authentication))
	if set.Protocol == protocolRPC && set.Service.Keytab != "" {
		wrong.Add("service.keytab", "is for Kerberos, which RPC does not sign in with here: set service.password")
	}
	remote.OneOf(&wrong, "removal", set.Removal, removalSoft, removalHard)
	if strings.ContainsAny(set.Domain, `\/:@ `) {
		wrong.Add("domain", `expected the domain's name alone, such as SAKES: the login becomes SAKES\user`)
	}
	set.Service.check(&wrong)
	if set.Timeout < remote.Duration(time.Second) {
		wrong.Add("timeout", "is at least 1s")
	}
	set.Delivery.Check(&wrong, "delivery")
	set.Outbox.check(&wrong, set.Service)
	if set.Outbox.Drop != "" && !filepath.IsAbs(set.Outbox.Drop) {
		set.Outbox.Drop = filepath.Join(given.BaseDir, set.Outbox.Drop)
	}
	switch {
	case set.Delivery.Create && set.Delivery.Given():
		wrong.Add("delivery", "create and a server are both set: choose one")
	case set.Delivery.Create && !set.Service.given():
		wrong.Add("delivery.create", "it is the service account that creates messages: set service.user and service.password")
	}
	config := set.Settings.Config(&wrong, given.BaseDir)
	set.Service.load(&wrong, given.BaseDir, config)
	config.URL, config.TLS, config.Timeout = set.URL, set.Trust.Config(&wrong, given.BaseDir, ""), min(30*time.Second, set.timeout())
	return set, config, wrong.Err()
}

func (set *settings) checkURL(wrong *backends.SettingsError, domains []string) {
	u, err := url.Parse(set.URL)
	switch {
	case set.Protocol == protocolRPC:
		if set.URL != "" || len(set.Autodiscover) > 0 {
			wrong.Add("url", "is not asked with protocol: rpc, nor is Autodiscover: \"rpc.host\" names the server")
		}
	case set.URL == "" && len(domains) == 0 && len(set.Autodiscover) == 0:
		wrong.Add("url", "the URL of the server is missing: https://host. Without it, Autodiscover needs the store's domains, or hosts to ask (autodiscover)")
	case set.URL == "":
	case len(set.Autodiscover) > 0:
		wrong.Add("autodiscover", "is not asked where \"url\" names the server")
	case err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "":
		wrong.Add("url", "expected https://host: passwords are sent over TLS alone")
	case u.User != nil:
		wrong.Add("url", "a login does not belong here: each client brings its own")
	case u.Path != "" && u.Path != "/":
		wrong.Add("url", "expected https://host without a path: the end points are /mapi/emsmdb/, /mapi/nspi/ and /EWS/Exchange.asmx there")
	}
}

// End points, MS-OXCMAPIHTTP §3.1.1, MS-OXWSCDATA §2.1 and MS-OXDSCLI §2.1.
const (
	mailboxes   = "/mapi/emsmdb/"
	addressBook = "/mapi/nspi/"
	webServices = "/EWS/Exchange.asmx"
	discovery   = "/Autodiscover/Autodiscover.xml"
)

// endPoint is the URL of an end point for a mailbox.
func (set *settings) endPoint(path, mailbox string) *url.URL {
	u, err := url.Parse(set.URL)
	if err != nil {
		return &url.URL{} // read has checked it
	}
	u.Path = path
	if mailbox != "" {
		u.RawQuery = url.Values{"MailboxId": {mailbox}}.Encode()
	}
	return u
}

func (set *settings) timeout() time.Duration { return time.Duration(set.Timeout) }
