package exchange_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	double "github.com/dipylon/dipylon/test/exchange"
)

// examine goes the way to a mailbox.
func examine(t *testing.T, settings backends.Settings, request backends.ExamineRequest) (steps []backends.Step) {
	t.Helper()
	store := exchange.New()
	exchange.Patient(store)
	if err := store.Configure(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Examine(t.Context(), request, func(s backends.Step) { steps = append(steps, s) }); err != nil {
		t.Fatal(err)
	}
	return steps
}

// names are the steps in words.
func names(steps []backends.Step) string {
	var all []string
	for _, s := range steps {
		name, _, _ := strings.Cut(s.Name, " 127.0.0.1")
		all = append(all, name+" "+s.Outcome.String())
	}
	return strings.Join(all, ", ")
}

// asGeorge is a request with George's password.
func asGeorge() backends.ExamineRequest {
	return backends.ExamineRequest{Credential: backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte("george-secret")}}
}

const wellServed = "name good, connection to good, TLS with good, MAPI over HTTP at good, login good, mailbox good, session good, folder good, list good, message "

// TestExamineHealthy: where nothing is wrong nothing is named, and nothing is left on the server.
func TestExamineHealthy(t *testing.T) {
	s := start(t, map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}})
	if got := names(examine(t, s.settings, asGeorge())); got != wellServed+"skipped" {
		t.Errorf("an empty mailbox: %s", got)
	}
	if err := s.put(george, []byte("Subject: Hello\r\n\r\nHello.\r\n")); err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]backends.ExamineRequest{
		"a password": asGeorge(), "the gateway's word": {Credential: acting(george)},
	} {
		steps := examine(t, s.settings, request)
		if got := names(steps); got != wellServed+"good" {
			t.Errorf("%s: %s", name, got)
		}
		for _, step := range steps {
			if step.Cause != "" || step.Advice != "" || strings.Contains(step.Detail, "-secret") {
				t.Errorf("%s: %+v", name, step)
			}
		}
	}
	if contexts, _ := s.Left(); contexts != 0 {
		t.Errorf("%d session contexts are left", contexts)
	}
	if m := s.boxes[george].Messages()[0]; m.Read || m.Deleted || m.Receipt {
		t.Errorf("%+v", m)
	}
}

// TestExamineEWS: the way by EWS is gone where there is no other, and as settings have it; what is wrong there is told.
func TestExamineEWS(t *testing.T) {
	const steps = "name good, connection to good, TLS with good, "
	for _, test := range []struct {
		protocol, want string
		without        bool
	}{
		{"ews", steps + "EWS at good, login good, mailbox good, folder good, list good, message good", false},
		{"auto", steps + "MAPI over HTTP at good, EWS at good, login good, mailbox good, folder good, list good, message good", true},
	} {
		s := start(t, map[string]any{"protocol": test.protocol})
		s.WithoutMAPI(test.without)
		if err := s.put(george, []byte(bill)); err != nil {
			t.Fatal(err)
		}
		if got := names(examine(t, s.settings, asGeorge())); got != test.want {
			t.Errorf("%s: %s", test.protocol, got)
		}
		wrong := asGeorge()
		wrong.Credential.Secret = []byte("guessed")
		endsWith(t, examine(t, s.settings, wrong), "login", "wrong-password")
		endsWith(t, examine(t, s.settings, backends.ExamineRequest{Credential: by(chris)}), "login", "no-permission")
		endsWith(t, examine(t, s.settings, folderOf("Nowhere")), "folder", "folder-not-found")
		s.WithoutEWS()
		cause := map[string]string{"ews": "ews-off", "auto": "mapi-http-off"}[test.protocol]
		last := examine(t, s.settings, asGeorge())
		if step := last[len(last)-1]; step.Cause != cause {
			t.Errorf("%s: %+v", test.protocol, step)
		}
	}
}

// TestExamineCauses provokes what can be wrong at a server that is there.
func TestExamineCauses(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings map[string]any
		request  backends.ExamineRequest
		wrong    func(t *testing.T, s *site)
		step     string
		cause    string
	}{
		{name: "wrong password", request: backends.ExamineRequest{Credential: backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte("guessed")}}, step: "login", cause: "wrong-password"},
		{name: "no password", request: backends.ExamineRequest{Credential: backends.Credential{Kind: backends.CredentialPassword, User: george}}, step: "login", cause: "wrong-password"},
		{
			name: "wrong password of the service account", settings: map[string]any{"service": map[string]any{"user": service, "password": "guessed"}},
			request: backends.ExamineRequest{Credential: acting(george)}, step: "login", cause: "service-password",
		},
		{name: "unknown mailbox", request: backends.ExamineRequest{Credential: by("nobody@sakes.example")}, step: "mailbox", cause: "mailbox-unknown"},
		{name: "no permission", request: backends.ExamineRequest{Credential: by(chris)}, step: "session", cause: "no-permission"},
		{
			name: "no permission for the folders", request: backends.ExamineRequest{Credential: by(chris)}, step: "folder", cause: "no-permission",
			wrong: func(_ *testing.T, s *site) { s.boxes[chris].Grant(s.boxes[george], double.Rights{}) },
		},
		{
			name: "no permission of the service account", settings: map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}},
			request: backends.ExamineRequest{Credential: acting("closed@sakes.example")}, step: "session", cause: "no-permission",
			wrong: func(_ *testing.T, s *site) {
				s.AddMailbox("closed@sakes.example", "x", "/o=Sakes/cn=Recipients/cn=closed")
			},
		},
		{name: "busy", step: "login", cause: "server-busy", wrong: func(_ *testing.T, s *site) { s.Busy(1000) }},
		{name: "mailbox moved", step: "session", cause: "mailbox-moved", wrong: refusing(0x00000478)},
		{name: "mailbox in transit", step: "session", cause: "mailbox-moving", wrong: refusing(0x0000050C)},
		{name: "mailbox disabled", step: "session", cause: "account-disabled", wrong: refusing(0x0000096C)},
		{name: "mailbox gone", step: "session", cause: "mailbox-unknown", wrong: refusing(0x000003EB)},
		{name: "logon refused", step: "session", cause: "no-permission", wrong: refusing(0x000003F2)},
		{name: "password expired", step: "session", cause: "password-expired", wrong: refusing(0x80040119)},
		{name: "server paused", step: "session", cause: "server-busy", wrong: refusing(0x0000047F)},
		{name: "no such folder", request: folderOf("Nowhere"), step: "folder", cause: "folder-not-found"},
		{name: "broken message", step: "message", cause: "message-broken", wrong: func(_ *testing.T, s *site) {
			s.boxes[george].Deliver("odd", []byte("no stream"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, test.settings)
			if test.wrong != nil {
				test.wrong(t, s)
			}
			request := test.request
			if request.Credential.Kind == 0 {
				request.Credential = asGeorge().Credential
			}
			endsWith(t, examine(t, s.settings, request), test.step, test.cause)
			if n := s.Refusals(george) + s.Refusals(service); n > 1 {
				t.Errorf("a wrong password was sent %d times", n)
			}
		})
	}
}

func refusing(code uint32) func(*testing.T, *site) {
	return func(_ *testing.T, s *site) { s.boxes[george].RefuseLogons(code) }
}

func folderOf(name string) backends.ExamineRequest {
	r := asGeorge()
	r.Folder = name
	return r
}

// endsWith wants the last step, and no other, to have failed for a cause.
func endsWith(t *testing.T, steps []backends.Step, name, cause string) {
	t.Helper()
	for i, s := range steps {
		if (s.Outcome == backends.StepFailed) != (i == len(steps)-1) {
			t.Errorf("%s", names(steps))
		}
		if strings.Contains(s.Detail+s.Advice, "guessed") || strings.Contains(s.Detail, "-secret") {
			t.Errorf("a password is told: %+v", s)
		}
	}
	if last := steps[len(steps)-1]; !strings.HasPrefix(last.Name, name) || last.Cause != cause || last.Advice == "" || last.Detail == "" {
		t.Errorf("%+v, and should be %s at %s", last, cause, name)
	}
}

// settingsFor are those of a server, trusted by its certificate unless settings say otherwise.
func settingsFor(t *testing.T, server *httptest.Server, settings map[string]any) backends.Settings {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"url": server.URL, "ca": ca, "timeout": "30s"}
	for name, value := range settings {
		all[name] = value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return backends.Settings{Raw: raw, Domains: []string{"sakes.example"}}
}

// TestExamineEndPoint: what a front end answers instead of wanting a login.
func TestExamineEndPoint(t *testing.T) {
	for _, test := range []struct {
		status int
		cause  string
	}{
		{http.StatusNotFound, "mapi-http-off"},
		{http.StatusForbidden, "mapi-http-forbidden"},
		{http.StatusServiceUnavailable, "server-busy"},
		{http.StatusInternalServerError, "server-fails"},
		{http.StatusFound, "redirected"},
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) }))
		defer server.Close()
		endsWith(t, examine(t, settingsFor(t, server, nil), asGeorge()), "MAPI over HTTP", test.cause)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "NTLM")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	endsWith(t, examine(t, settingsFor(t, server, map[string]any{"authentication": "basic"}), asGeorge()), "MAPI over HTTP", "method-not-offered")
}

// certificate is one for 127.0.0.1 that is good until a time.
func certificate(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.sakes.example"}, NotBefore: until.Add(-100 * 24 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serving is a server with a configuration of TLS.
func serving(t *testing.T, config *tls.Config) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// TestExamineConnection: what is wrong before HTTP.
func TestExamineConnection(t *testing.T) {
	good := serving(t, nil)
	old := serving(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // that is what is wrong with it
	over := serving(t, &tls.Config{Certificates: []tls.Certificate{certificate(t, time.Now().Add(-time.Hour))}})
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for _, test := range []struct {
		name        string
		server      *httptest.Server
		settings    map[string]any
		step, cause string
	}{
		{"name", good, map[string]any{"url": "https://mail.sakes.invalid"}, "name", "name-not-found"},
		{"port", good, map[string]any{"url": "https://" + gone.Addr().String()}, "connection", "port-closed"},
		{"no TLS", good, map[string]any{"url": strings.Replace(plain.URL, "http:", "https:", 1)}, "TLS", "no-tls"},
		{"old TLS", old, nil, "TLS", "tls-too-old"},
		{"authority", good, map[string]any{"ca": ""}, "TLS", "certificate-not-trusted"},
		{"pin", good, map[string]any{"ca": "", "pin": "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, 32))}, "TLS", "certificate-not-trusted"},
		{"another name", good, map[string]any{"tls_name": "mail.sakes.example"}, "TLS", "certificate-name"},
		{"expired", over, nil, "TLS", "certificate-expired"},
	} {
		t.Run(test.name, func(t *testing.T) {
			endsWith(t, examine(t, settingsFor(t, test.server, test.settings), asGeorge()), test.step, test.cause)
		})
	}
	t.Run("expires soon", func(t *testing.T) {
		server := serving(t, &tls.Config{Certificates: []tls.Certificate{certificate(t, time.Now().Add(24*time.Hour))}})
		steps := examine(t, settingsFor(t, server, nil), asGeorge())
		if step := steps[2]; step.Outcome != backends.StepWarning || step.Cause != "certificate-expires" {
			t.Errorf("%+v", step)
		}
	})
}

// bridge is a proxy with another certificate than Exchange's, behind which logins by NTLM fail for their channel binding: there is
// a challenge for each first message, and each second one is refused, but at Autodiscover if the password is right.
type bridge struct{ right bool }

func (b bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const challenge = "TlRMTVNTUAACAAAACgAKADgAAAAVgoqiMTIzNDU2NzgAAAAAAAAAAC4ALgBCAAAACgAAAAAAAA9TAEEASwBFAFMAAQAMAFMARQBSAFYARQBSAAIACgBTAEEASwBFAFMABwAIAAECAwQFBgcBAAAAAA==" // of the server SERVER of SAKES, MS-NLMP §2.2.1.2
	octets, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "NTLM "))
	switch {
	case len(octets) <= 8:
		w.Header().Set("WWW-Authenticate", "NTLM")
	case octets[8] == 1:
		w.Header().Set("WWW-Authenticate", "NTLM "+challenge)
	case b.right && r.URL.Path == "/Autodiscover/Autodiscover.xml":
		return
	default:
		w.Header().Set("WWW-Authenticate", "NTLM")
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// TestExamineBinding: a right password that is refused for its channel binding is told apart from a wrong one.
func TestExamineBinding(t *testing.T) {
	for right, cause := range map[bool]string{true: "binding-refused", false: "wrong-password"} {
		server := httptest.NewTLSServer(bridge{right})
		defer server.Close()
		endsWith(t, examine(t, settingsFor(t, server, nil), asGeorge()), "login", cause)
	}
}
