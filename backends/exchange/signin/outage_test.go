package signin_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// TestOutageIsNoProof: an answer that did not look at the password says nothing of it. It does not reset the count of those that were
// refused, and the password does not become one that is always sent.
func TestOutageIsNoProof(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusForbidden, http.StatusNotFound, http.StatusFound} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			sent, out := 0, false
			web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch _, _, with := r.BasicAuth(); {
				case !with:
				case out:
					w.WriteHeader(status)
					return
				default:
					sent++
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			defer web.Close()
			trusted := x509.NewCertPool()
			trusted.AddCert(web.Certificate())
			server, err := signin.New(signin.Config{
				URL: web.URL, TLS: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, Method: signin.Basic, Lockout: signin.NewLockout(2, time.Hour),
			})
			if err != nil {
				t.Fatal(err)
			}
			try := func(password string) error {
				l := server.Login(signin.Credential{User: "george", Password: password})
				defer l.CloseIdleConnections()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+"/mapi/x", strings.NewReader("there"))
				if err != nil {
					t.Fatal(err)
				}
				response, err := l.RoundTrip(r)
				if err == nil {
					_ = response.Body.Close()
				}
				return err
			}
			for i, step := range []struct {
				password string
				out      bool
				want     backends.Kind
				sent     int
			}{
				{"wrong 1", false, backends.BadCredentials, 1},
				{"wrong 2", true, 0, 1},
				{"wrong 3", false, backends.BadCredentials, 2},
				{"wrong 2", false, backends.Throttled, 2},
				{"wrong 4", false, backends.Throttled, 2},
			} {
				out = step.out
				if err := try(step.password); backends.KindOf(err) != step.want || sent != step.sent {
					t.Errorf("%d: %v after %d", i, err, sent)
				}
			}
		})
	}
}
