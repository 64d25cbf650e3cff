package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// TestReadyAtOnce: however many ask at the same time, one question is asked, and all have its answer. The next one
// asks anew.
func TestReadyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := 0, make(chan error)
		s := &Server{Metrics: prometheus.NewRegistry(), Log: zerolog.Nop(), Ready: func() error {
			asked++
			return <-answer
		}}
		s.init()
		for n, said := range []error{errors.New("starting"), nil} {
			want := http.StatusOK
			if said != nil {
				want = http.StatusServiceUnavailable
			}
			var asking sync.WaitGroup
			for range 50 {
				asking.Go(func() {
					w := httptest.NewRecorder()
					s.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/readyz", nil))
					if w.Code != want {
						t.Errorf("%d, want %d", w.Code, want)
					}
				})
			}
			synctest.Wait()
			answer <- said
			asking.Wait()
			if asked != n+1 {
				t.Errorf("%d questions", asked)
			}
		}
	})
}
