package admin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
)

const token = "0123456789abcdef0123"

// What changes and tells things is for whoever has the token, health for everybody.
func TestToken(t *testing.T) {
	asked := 0
	commands := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_ = admin.Answer(w, http.StatusOK, asked, nil)
	})
	s := &admin.Server{
		Metrics: prometheus.NewRegistry(), Log: zerolog.Nop(), Ready: func() error { return nil },
		Queue: commands, Track: commands, Token: token,
	}
	ask := started(t, s)
	for _, path := range []string{"/queue/stats", "/track?name=x", "/queue/change"} {
		code, body, header := ask("GET", path, "", "")
		if code != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" || body == "" {
			t.Errorf("%s without the token: %d %s", path, code, body)
		}
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200} {
		if code, body, _ := ask("GET", path, "", ""); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if asked != 0 {
		t.Errorf("%d questions were answered", asked)
	}
}

// A client shows its token to the address that it was given, and to nobody else.
func TestClient(t *testing.T) {
	var shown string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server is asked with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			return
		}
		_ = admin.Answer(w, http.StatusTeapot, nil, errors.New("no coffee"))
	}))
	defer server.Close()
	c, err := admin.Dial(server.URL+"/", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for path, want := range map[string]admin.StatusError{
		"/elsewhere": {Status: 307, Text: "the gateway answers 307 Temporary Redirect"},
		"/here":      {Status: 418, Text: "no coffee", Told: true},
	} {
		said, is := errors.AsType[*admin.StatusError](c.Get(t.Context(), path, new(int)))
		if !is || *said != want || shown != "Bearer "+token {
			t.Errorf("%s: %+v, shown %q", path, said, shown)
		}
	}
	for _, bad := range []string{"", "mail.example:1080", "http://mail.example:1080", "ftp://localhost", "https://", "https://x/path", "https://me@x"} {
		if _, err := admin.Dial(bad, token, nil); err == nil {
			t.Errorf("%q is dialled", bad)
		}
	}
}
