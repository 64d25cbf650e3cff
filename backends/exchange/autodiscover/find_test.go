package autodiscover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/autodiscover"
)

// internet is hosts by name, with a port where it is not 443. What is not there does not answer.
type internet struct {
	t     *testing.T
	hosts map[string]http.HandlerFunc
	srv   []*net.SRV

	mu    sync.Mutex
	shown []string // hosts that were sent the password
	asked []string // URLs
}

// RoundTrip implements [http.RoundTripper].
func (i *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.URL.Scheme != "https" {
		i.t.Errorf("%s is asked", r.URL)
	}
	i.asked = append(i.asked, r.URL.String())
	if r.Header.Get("Authorization") != "" {
		i.shown = append(i.shown, r.URL.Host)
	}
	handler := i.hosts[strings.TrimSuffix(r.URL.Host, ":443")]
	if handler == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no such host")}
	}
	w := httptest.NewRecorder()
	handler(w, r)
	return w.Result(), nil
}

// signIn adds the password.
type signIn struct{ to http.RoundTripper }

func (s signIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth("george", "secret")
	response, err := s.to.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		return nil, backends.Fail(backends.BadCredentials, "refused")
	}
	return response, err
}

func (i *internet) config() autodiscover.Config {
	return autodiscover.Config{
		Domains: []string{"sakes.example"}, Plain: i,
		SignIn: func(string) (http.RoundTripper, error) { return signIn{i}, nil },
		LookupSRV: func(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
			if service != "autodiscover" || proto != "tcp" {
				i.t.Errorf("_%s._%s of %s", service, proto, name)
			}
			return "", i.srv, nil
		},
	}
}

// pox is an answer in plain XML.
func pox(inner string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/autodiscover/autodiscover.xml" || r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">`+
			`<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">%s</Response></Autodiscover>`, inner)
	}
}

// settings is an answer whose MAPI over HTTP is on a host.
func settings(host string) string {
	return `<User><LegacyDN>/o=Sakes/cn=george</LegacyDN></User><Account><Action>settings</Action>` +
		`<Protocol Type="mapiHttp" Version="1"><MailStore><InternalUrl>https://` + host + `/mapi/emsmdb/?MailboxId=x</InternalUrl></MailStore>` +
		`<AddressBook><InternalUrl>https://` + host + `/mapi/nspi/?MailboxId=x</InternalUrl></AddressBook></Protocol>` +
		`<Protocol><Type>EXCH</Type><ServerDN>/o=Sakes/cn=Servers/cn=one</ServerDN><EwsUrl>https://` + host + `/EWS/Exchange.asmx</EwsUrl></Protocol></Account>`
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// soap is an answer of the web service alone.
func soap(inner string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/autodiscover/autodiscover.svc" || !strings.Contains(string(body), "GetUserSettingsRequestMessage") {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><GetUserSettingsResponseMessage xmlns="http://schemas.microsoft.com/exchange/2010/Autodiscover">`+
			`<Response><ErrorCode>NoError</ErrorCode><UserResponses><UserResponse>%s</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>`, inner)
	}
}

const ours = "autodiscover.sakes.example"

func TestFind(t *testing.T) {
	const there = "https://mail.sakes.example"
	redirectURL := func(to string) string {
		return "<Account><Action>redirectUrl</Action><RedirectUrl>" + to + "</RedirectUrl></Account>"
	}
	redirectAddr := func(to string) string {
		return "<Account><Action>redirectAddr</Action><RedirectAddr>" + to + "</RedirectAddr></Account>"
	}
	for _, test := range []struct {
		name  string
		hosts map[string]http.HandlerFunc
		list  []string
		srv   []*net.SRV
		root  string        // what is found; empty: nothing
		kind  backends.Kind // of the failure
		says  string
		never string // a host that must not be asked
	}{
		{name: "plain XML", hosts: map[string]http.HandlerFunc{ours: pox(settings("mail.sakes.example"))}, root: there},
		{name: "a listed host is asked first", list: []string{"cas.far.example"}, hosts: map[string]http.HandlerFunc{
			"cas.far.example": pox(settings("cas.far.example")), ours: pox(settings("mail.sakes.example")),
		}, root: "https://cas.far.example"},
		{name: "302", hosts: map[string]http.HandlerFunc{
			ours: redirect("https://a.sakes.example/autodiscover/autodiscover.xml"), "a.sakes.example": pox(settings("mail.sakes.example")),
		}, root: there},
		{name: "redirectUrl", hosts: map[string]http.HandlerFunc{
			ours: pox(redirectURL("https://a.sakes.example/autodiscover/autodiscover.xml")), "a.sakes.example": pox(settings("mail.sakes.example")),
		}, root: there},
		{name: "redirectAddr", list: []string{"*.far.example"}, hosts: map[string]http.HandlerFunc{
			ours: pox(redirectAddr("george@far.example")), "autodiscover.far.example": pox(settings("mail.far.example")),
		}, root: "https://mail.far.example"},
		{name: "SRV", srv: []*net.SRV{{Target: "cas.sakes.example.", Port: 8443}}, hosts: map[string]http.HandlerFunc{"cas.sakes.example:8443": pox(settings("mail.sakes.example"))}, root: there},
		{name: "SOAP", hosts: map[string]http.HandlerFunc{ours: soap(`<ErrorCode>NoError</ErrorCode><UserSettings><UserSetting><Name>UserDN</Name><Value>/o=Sakes</Value></UserSetting>` +
			`<UserSetting><Name>ExternalEwsUrl</Name><Value>https://mail.sakes.example/EWS/Exchange.asmx</Value></UserSetting></UserSettings>`)}, root: there},
		{name: "SOAP leads elsewhere", hosts: map[string]http.HandlerFunc{
			ours:              soap(`<ErrorCode>RedirectUrl</ErrorCode><RedirectTarget>https://b.sakes.example/autodiscover/autodiscover.svc</RedirectTarget>`),
			"b.sakes.example": soap(`<ErrorCode>NoError</ErrorCode><UserSettings><UserSetting><Name>InternalEwsUrl</Name><Value>https://mail.sakes.example/EWS/Exchange.asmx</Value></UserSetting></UserSettings>`),
		}, root: there},
		{name: "JSON, for EWS", hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/autodiscover.json/v1.0/george@sakes.example") {
				http.NotFound(w, r)
			} else if r.URL.Query().Get("Protocol") == "EWS" {
				_, _ = io.WriteString(w, `{"Protocol":"EWS","Url":"https://mail.sakes.example/EWS/Exchange.asmx"}`)
			} else {
				_, _ = io.WriteString(w, `{"Protocol":"AutodiscoverV1","Url":"https://autodiscover.sakes.example/autodiscover/autodiscover.xml"}`)
			}
		}}, root: there},
		{name: "the external URL, where the internal one is not ours", hosts: map[string]http.HandlerFunc{ours: pox(
			`<Account><Action>settings</Action><Protocol Type="mapiHttp"><MailStore><InternalUrl>https://exch01.sakes.local/mapi/</InternalUrl><ExternalUrl>https://mail.sakes.example/mapi/emsmdb/</ExternalUrl></MailStore></Protocol></Account>`,
		)}, root: there},

		{name: "a redirection to strangers", hosts: map[string]http.HandlerFunc{ours: redirect("https://evil.example/autodiscover/autodiscover.xml"), "evil.example": pox(settings("evil.example"))}, kind: backends.Temporary, says: "evil.example", never: "evil.example"},
		{name: "a redirection without TLS", hosts: map[string]http.HandlerFunc{ours: redirect("http://a.sakes.example/")}, kind: backends.Temporary, says: "no https URL"},
		{name: "redirectUrl to strangers", hosts: map[string]http.HandlerFunc{ours: pox(redirectURL("https://evil.example/x")), "evil.example": pox(settings("evil.example"))}, kind: backends.Temporary, says: "evil.example", never: "evil.example"},
		{name: "redirectAddr to strangers", hosts: map[string]http.HandlerFunc{ours: pox(redirectAddr("george@evil.example")), "autodiscover.evil.example": pox(settings("evil.example"))}, kind: backends.Temporary, says: "evil.example", never: "autodiscover.evil.example"},
		{name: "SRV to strangers", srv: []*net.SRV{{Target: "evil.example.", Port: 443}}, hosts: map[string]http.HandlerFunc{"evil.example": pox(settings("evil.example"))}, kind: backends.Temporary, says: "evil.example", never: "evil.example"},
		{name: "settings of strangers", hosts: map[string]http.HandlerFunc{ours: pox(settings("evil.example"))}, kind: backends.Temporary, says: "evil.example", never: "evil.example"},
		{name: "a name that only ends alike", hosts: map[string]http.HandlerFunc{ours: redirect("https://evilsakes.example/")}, kind: backends.Temporary, says: "evilsakes.example", never: "evilsakes.example"},
		{name: "the domain itself", hosts: map[string]http.HandlerFunc{ours: redirect("https://sakes.example/autodiscover/autodiscover.xml")}, kind: backends.Temporary, says: `"sakes.example"`, never: "sakes.example"},
		{name: "a login in a URL", hosts: map[string]http.HandlerFunc{ours: redirect("https://x:y@a.sakes.example/")}, kind: backends.Temporary, says: "no https URL"},
		{name: "a circle", hosts: map[string]http.HandlerFunc{ours: redirect("https://a.sakes.example/1"), "a.sakes.example": redirect("https://autodiscover.sakes.example/autodiscover/autodiscover.xml")}, kind: backends.Temporary, says: "circle"},
		{name: "no end", hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+ours+r.URL.Path+"x", http.StatusFound)
		}}, kind: backends.Temporary, says: "more than 10 redirections"},
		{name: "redirectAddr round and round", list: []string{"*.far.example"}, hosts: map[string]http.HandlerFunc{ours: pox(redirectAddr("george@far.example")), "autodiscover.far.example": pox(redirectAddr("george@sakes.example"))}, kind: backends.Temporary, says: "circle"},
		{name: "nobody there", kind: backends.Temporary, says: "no such host"},
		{name: "a web site", hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html><p>Hello") }}, kind: backends.Temporary, says: "no XML"},
		{name: "an answer without end", hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) }}, kind: backends.Temporary, says: "octets"},
		{name: "elements in elements", hosts: map[string]http.HandlerFunc{ours: pox(strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100))}, kind: backends.Temporary, says: "too deep"},
		{name: "an entity of its own", hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><Autodiscover><Response><Account><RedirectUrl>&e;</RedirectUrl></Account></Response></Autodiscover>`)
		}}, kind: backends.Temporary, says: "no XML"},
		{name: "an unknown address", hosts: map[string]http.HandlerFunc{ours: pox(`<Error><ErrorCode>500</ErrorCode><Message>The email address can't be found.</Message></Error>`)}, kind: backends.NotFound, says: "can't be found"},
		{name: "busy", hosts: map[string]http.HandlerFunc{ours: status(http.StatusServiceUnavailable)}, kind: backends.Temporary, says: "503"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := &internet{t: t, hosts: test.hosts, srv: test.srv}
			c := i.config()
			c.Hosts = test.list
			found, err := autodiscover.Find(t.Context(), c, "george@sakes.example")
			switch {
			case test.root == "" && (backends.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says)):
				t.Errorf("%+v, %v", found, err)
			case test.root != "" && (err != nil || found.Root() != test.root):
				t.Errorf("%+v, %v", found, err)
			}
			for _, text := range i.asked {
				if u, err := url.Parse(text); err != nil || test.never != "" && u.Hostname() == test.never {
					t.Errorf("%s was asked", text)
				}
			}
			if len(i.asked) > 20 {
				t.Errorf("%d questions", len(i.asked))
			}
		})
	}
}

// TestRefused: a password that a server refuses is shown to no other.
func TestRefused(t *testing.T) {
	i := &internet{t: t, srv: []*net.SRV{{Target: "b.sakes.example.", Port: 443}}, hosts: map[string]http.HandlerFunc{
		ours: status(http.StatusUnauthorized), "b.sakes.example": pox(settings("mail.sakes.example")),
	}}
	_, err := autodiscover.Find(t.Context(), i.config(), "george@sakes.example")
	if backends.KindOf(err) != backends.BadCredentials || len(i.shown) != 1 {
		t.Errorf("%v, and the password was shown to %q", err, i.shown)
	}
}

// TestWithoutPassword: version 2 is asked without one.
func TestWithoutPassword(t *testing.T) {
	i := &internet{t: t, hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "autodiscover.json") && r.Header.Get("Authorization") != "" {
			t.Errorf("%s is sent the password", r.URL)
		}
		http.NotFound(w, r)
	}}}
	if _, err := autodiscover.Find(t.Context(), i.config(), "george@sakes.example"); backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
}

// TestCancelled: a search whose context ends is no wrong password, and asks nobody else.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	i := &internet{t: t, hosts: map[string]http.HandlerFunc{ours: func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusBadGateway)
	}}}
	_, err := autodiscover.Find(ctx, i.config(), "george@sakes.example")
	if backends.KindOf(err) != backends.Temporary || !errors.Is(err, context.Canceled) || len(i.asked) != 1 {
		t.Errorf("%v, %q", err, i.asked)
	}
}
