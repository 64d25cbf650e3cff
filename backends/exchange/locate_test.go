package exchange_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
)

// guide is a server that Autodiscover asks, which leads to another.
type guide struct {
	*httptest.Server
	refused, asked atomic.Int32
	root           atomic.Value // where it leads
}

func startGuide(t *testing.T, root string) *guide {
	g := &guide{}
	g.root.Store(root)
	g.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		name, _, _ := strings.Cut(user, "@")
		if !given || password != name+"-secret" {
			if given {
				g.refused.Add(1)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="guide"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		g.asked.Add(1)
		_, _ = fmt.Fprintf(w, `<Autodiscover><Response><Account><Action>settings</Action><Protocol Type="mapiHttp"><MailStore>`+
			`<InternalUrl>%s/mapi/emsmdb/?MailboxId=x</InternalUrl></MailStore></Protocol></Account></Response></Autodiscover>`, g.root.Load())
	}))
	t.Cleanup(g.Close)
	return g
}

// located are the settings of a site that Autodiscover finds by a guide.
func located(t *testing.T, s *site, g *guide, more map[string]any) backends.Settings {
	t.Helper()
	all := map[string]any{}
	if err := json.Unmarshal(s.settings.Raw, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "url")
	all["autodiscover"] = []string{strings.TrimPrefix(g.URL, "https://")}
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Server.Certificate().Raw})
	if err := os.WriteFile(trusted, slices.Concat(s.Certificate, own), 0o600); err != nil {
		t.Fatal(err)
	}
	all["ca"] = trusted
	for name, value := range more {
		all[name] = value
	}
	settings := s.settings
	settings.Raw, _ = json.Marshal(all)
	return settings
}

func configured(t *testing.T, settings backends.Settings) *exchange.Store {
	t.Helper()
	store := exchange.New()
	exchange.Patient(store)
	if err := store.Configure(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// TestLocate: a server that the settings do not name is found with the first login that is right, and asked for once.
func TestLocate(t *testing.T) {
	s := start(t, nil)
	g := startGuide(t, s.Root)
	store := configured(t, located(t, s, g, nil))
	if err := store.Health(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := asGeorge().Credential
	wrong.Secret = []byte("guessed")
	if _, err := store.Login(t.Context(), wrong); backends.KindOf(err) != backends.BadCredentials || g.refused.Load() != 1 || s.Refusals(george) != 0 {
		t.Errorf("%v, and the password was sent %d and %d times", err, g.refused.Load(), s.Refusals(george))
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			m, err := store.Open(t.Context(), backends.OpenRequest{Credential: asGeorge().Credential})
			if err != nil {
				t.Error(err)
				return
			}
			_ = m.Close()
		})
	}
	all.Wait()
	if n := g.asked.Load(); n != 1 {
		t.Errorf("Autodiscover was asked %d times", n)
	}
	if _, err := store.Login(t.Context(), by("nobody@sakes.example")); backends.KindOf(err) != backends.Permanent {
		t.Error(err)
	}
	if err := store.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLocateStrangers: nobody is led to a host that is not listed.
func TestLocateStrangers(t *testing.T) {
	s := start(t, nil)
	g := startGuide(t, "https://evil.example")
	settings := located(t, s, g, nil)
	_, err := configured(t, settings).Login(t.Context(), asGeorge().Credential)
	if backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "evil.example") {
		t.Error(err)
	}
	endsWith(t, examine(t, settings, asGeorge()), "Autodiscover", "no-server-found")
}

// TestLocateService: the service account finds the server for those whom it acts for.
func TestLocateService(t *testing.T) {
	s := start(t, nil)
	g := startGuide(t, s.Root)
	store := configured(t, located(t, s, g, map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}}))
	if a, err := store.Login(t.Context(), acting(george)); err != nil || a.Address != george {
		t.Errorf("%+v, %v", a, err)
	}
	store = configured(t, located(t, s, g, map[string]any{"service": map[string]any{"user": service, "password": "guessed"}}))
	for range 3 {
		if _, err := store.Login(t.Context(), acting(george)); backends.KindOf(err) != backends.Temporary {
			t.Error(err)
		}
	}
	if n := g.refused.Load(); n != 1 {
		t.Errorf("the password of the service account was sent %d times", n)
	}
}

// TestLocateForMail: who sends, and mail that comes in, find the server as well.
func TestLocateForMail(t *testing.T) {
	s := start(t, nil)
	g := startGuide(t, s.Root)
	more := map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}, "delivery": map[string]any{"create": true}, "submission": true}
	verdicts, err := configured(t, located(t, s, g, more)).Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(george)})
	if err != nil || len(verdicts) != 1 || verdicts[0].Failure != nil {
		t.Errorf("%+v, %v", verdicts, err)
	}
	session, err := configured(t, located(t, s, g, more)).OpenSending(t.Context(), asGeorge().Credential)
	if err != nil {
		t.Fatal(err)
	}
	_ = session.Close()
}

// TestExamineLocated: the way begins with Autodiscover.
func TestExamineLocated(t *testing.T) {
	s := start(t, nil)
	g := startGuide(t, s.Root)
	settings := located(t, s, g, nil)
	if got := names(examine(t, settings, asGeorge())); got != "Autodiscover good, "+wellServed+"skipped" {
		t.Error(got)
	}
	if got := names(examine(t, settings, backends.ExamineRequest{})); got != "Autodiscover good" {
		t.Error(got)
	}
	wrong := asGeorge()
	wrong.Credential.Secret = []byte("guessed")
	endsWith(t, examine(t, settings, wrong), "Autodiscover", "wrong-password")
}

func TestAutodiscoverSettings(t *testing.T) {
	good := []string{`{}`, `{"autodiscover": ["mail.sakes.example", "cas.sakes.example:8443", "*.far.example"]}`}
	for i, raw := range append(good, `{"autodiscover": ["https://mail.sakes.example"]}`, `{"autodiscover": ["*"]}`, `{"autodiscover": ["*."]}`,
		`{"autodiscover": ["a@b"]}`, `{"url": "https://mail.sakes.example", "autodiscover": ["mail.sakes.example"]}`) {
		err := exchange.New().Configure(t.Context(), backends.Settings{Domains: []string{"sakes.example"}, Raw: []byte(raw), Check: true})
		if (err == nil) != (i < len(good)) || err != nil && !strings.HasPrefix(err.Error(), "autodiscover: ") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
