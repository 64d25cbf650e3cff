package exchange

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// The protocols that a server is spoken to with, as settings have them.
const (
	protocolAuto = "auto"
	protocolMAPI = "mapi"
	protocolEWS  = "ews"
	protocolRPC  = "rpc"
)

// roadMost is for how long it is remembered that somebody has no MAPI over HTTP: it may be switched on.
const roadMost = 10 * time.Minute

// roads are who is known to have no MAPI over HTTP. The zero value is ready.
type roads struct {
	mu    sync.Mutex
	until map[string]time.Time // by the address of who signs in; "": the whole server
}

// ews says whether it is EWS that somebody is asked for with.
func (r *roads) ews(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	return now.Before(r.until[fold.Lower(address)]) || now.Before(r.until[""])
}

func (r *roads) remember(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil || len(r.until) >= peopleMost {
		r.until = make(map[string]time.Time)
	}
	r.until[fold.Lower(address)] = time.Now().Add(roadMost)
}

// byEither does something by MAPI over HTTP or by EWS, as the settings have it: with auto by EWS where there is no MAPI over
// HTTP for who signs in.
func byEither[T any](s *Store, l login, byMAPI, byEWS func() (T, error)) (T, error) {
	switch {
	case s.settings.Protocol == protocolMAPI || s.settings.Protocol == protocolRPC:
		return byMAPI()
	case s.settings.Protocol == protocolEWS || s.roads.ews(l.own):
		return byEWS()
	}
	v, err := byMAPI()
	if !errors.Is(err, mapihttp.ErrAbsent) {
		return v, err
	}
	other, failed := byEWS()
	if backends.KindOf(failed) == backends.Unsupported {
		return v, err // there is neither
	}
	if failed == nil {
		s.log.Info().Str("user", l.own).Msg("there is no MAPI over HTTP for this user, and EWS is used: its octets of messages differ, and sizes are counted anew")
		s.roads.remember(l.own)
	}
	return other, failed
}

// lookMost is how long a server may take to say whether it has MAPI over HTTP, before it is described.
const lookMost = 5 * time.Second

// look finds out, without a credential, whether the server has MAPI over HTTP at all: one that has it wants a login. What cannot be found
// out is left to the first login.
func (s *Store) look(ctx context.Context) {
	if s.settings.Protocol != protocolAuto || s.ready() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookMost)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.settings.endPoint(mailboxes, "").String(), http.NoBody)
	if err != nil {
		return
	}
	response, err := s.http.Do(request)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		s.roads.remember("")
	}
}

// renders names what makes mail of properties: we do, or the server.
func (s *Store) renders() string {
	if s.settings.Protocol == protocolEWS || s.settings.Protocol == protocolAuto && s.roads.ews("") {
		return rendererOfServer
	}
	return renderer
}

// rendererOfServer names the server's own making of mail, and what is done to it here where another form is wanted.
const rendererOfServer = "ews/1"
