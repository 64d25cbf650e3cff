package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
)

// askedMost bounds what a run is asked for with, in octets.
const askedMost = 1 << 20

// Wanted is which accounts are to be collected now; none: all.
type Wanted struct {
	Accounts []string `json:"accounts"`
}

// Started says by account what [Status.Ended] is at the least when it was collected.
type Started struct {
	Until map[string]int64 `json:"until"`
}

// Handler answers what an administrator asks by HTTP. What it answers is JSON; errors are {"error": text} with 400, 404 or 503.
//
//	GET  /collect/status           a list of [Status]
//	GET  /collect/aside?account=   a list of [SetAside]
//	POST /collect/run              a [Wanted] for a [Started]
//
// It asks for no login: whoever can reach it may do all of this.
func Handler(log zerolog.Logger, c *Collector) http.Handler {
	answer := func(w http.ResponseWriter, what any, err error) {
		status := http.StatusOK
		switch {
		case errors.Is(err, ErrUnknown):
			status = http.StatusNotFound
		case errors.Is(err, errQuestion):
			status = http.StatusBadRequest
		case err != nil:
			status = http.StatusServiceUnavailable
		}
		if err := admin.Answer(w, status, what, err); err != nil {
			log.Debug().Err(err).Msg("an administrator does not read the answer")
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /collect/status", func(w http.ResponseWriter, r *http.Request) {
		all, err := c.All(r.Context())
		answer(w, all, err)
	})
	mux.HandleFunc("GET /collect/aside", func(w http.ResponseWriter, r *http.Request) {
		all, err := Aside(r.Context(), c.DB, r.URL.Query().Get("account"))
		answer(w, all, err)
	})
	mux.HandleFunc("POST /collect/run", func(w http.ResponseWriter, r *http.Request) {
		var wanted Wanted
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, askedMost))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&wanted); err != nil {
			answer(w, nil, errQuestion)
			return
		}
		until, err := c.Start(r.Context(), wanted.Accounts)
		answer(w, Started{until}, err)
	})
	return mux
}

var errQuestion = errors.New("what is to be collected cannot be read")

// Client asks a running gateway.
type Client struct{ Admin *admin.Client }

// Status asks what is known of the accounts.
func (c Client) Status(ctx context.Context) (all []Status, err error) {
	return all, c.said(c.Admin.Get(ctx, "/collect/status", &all))
}

// Aside asks for the messages of an account that are set aside.
func (c Client) Aside(ctx context.Context, account string) (all []SetAside, err error) {
	return all, c.said(c.Admin.Get(ctx, "/collect/aside?account="+url.QueryEscape(account), &all))
}

// Run has accounts collected; none: all.
func (c Client) Run(ctx context.Context, accounts []string) (s Started, err error) {
	body, err := json.Marshal(Wanted{accounts})
	if err != nil {
		return s, err
	}
	return s, c.said(c.Admin.Do(ctx, http.MethodPost, "/collect/run", bytes.NewReader(body), &s))
}

// said is an error of the gateway's in this package's terms.
func (c Client) said(err error) error {
	if answered, is := errors.AsType[*admin.StatusError](err); is && answered.Status == http.StatusNotFound && answered.Told {
		return ErrUnknown
	}
	return err
}
