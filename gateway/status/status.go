// Package status is what a running gateway says of itself: listeners, stores, sessions, mail in transit, what ends some day and
// what needs attention. "dipylon status" asks for it.
package status

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/queue"
)

// Status is what a gateway is at one moment. Its names in JSON stay.
type Status struct {
	Version  string    `json:"version"`
	Hostname string    `json:"hostname"`
	Now      time.Time `json:"now"`
	Started  time.Time `json:"started"`
	// Configured is since when the configuration is in force.
	Configured time.Time      `json:"configured"`
	Ready      bool           `json:"ready"` // it serves
	Stopping   bool           `json:"stopping"`
	Listeners  []Listener     `json:"listeners"` // in the configuration's order
	Stores     []Store        `json:"stores"`    // likewise
	Sessions   map[string]int `json:"sessions"`  // that are open, by protocol
	Queue      Queue          `json:"queue"`
	// Ends are the certificates, secrets, passwords and so on that end some day, what ends first in front.
	Ends []attention.Concern `json:"ends"`
	// Attention is what needs an administrator's, the worst first.
	Attention []attention.Concern `json:"attention"`
}

// Listener is a listener of the configuration.
type Listener struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	// TLS is implicit (from the first octet), starttls, or none.
	TLS          string        `json:"tls"`
	Certificates []Certificate `json:"certificates,omitempty"`
}

// Certificate is one that a listener shows.
type Certificate struct {
	File  string    `json:"file"`
	Names []string  `json:"names"`
	Until time.Time `json:"until"`
	// SelfSigned says that the gateway has made it.
	SelfSigned bool `json:"self_signed,omitempty"`
}

// Store is a store of the configuration, and how its plugin is.
type Store struct {
	Name    string   `json:"name"`
	Backend string   `json:"backend"` // its name and version; empty: it has not said yet
	Domains []string `json:"domains"`
	Ready   bool     `json:"ready"`   // its plugin serves
	Healthy bool     `json:"healthy"` // and said at the last check that the store can be used
	// Generation counts the plugin's processes, Restarts those that ended without being asked to.
	Generation int       `json:"generation"`
	Restarts   int       `json:"restarts"`
	PID        int       `json:"pid,omitempty"`
	Since      time.Time `json:"since,omitzero"`      // when the process was ready
	NextStart  time.Time `json:"next_start,omitzero"` // when one is tried, while none is ready
	Problem    string    `json:"problem,omitempty"`   // why it is not ready or not healthy
}

// Queue is mail in transit, counted in recipients.
type Queue struct {
	// Problem says why it could not be counted; empty: it was.
	Problem   string    `json:"problem,omitempty"`
	Waiting   int64     `json:"waiting"`
	InFlight  int64     `json:"in_flight"`
	Uncertain int64     `json:"uncertain"`
	Held      int64     `json:"held"`
	Oldest    time.Time `json:"oldest,omitzero"` // when the first message of those that may be tried was taken in
	Due       time.Time `json:"due,omitzero"`    // when the first recipient is, or was, to be tried
	// Destinations are those with most recipients.
	Destinations []queue.Statistic `json:"destinations"`
}

// DestinationsMost is how many destinations are told.
const DestinationsMost = 10

// Worst is the severity of the worst thing that needs attention; a gateway that does not serve is critical.
func (s Status) Worst() attention.Severity {
	worst := attention.Later
	for _, c := range s.Attention {
		worst = max(worst, c.Severity)
	}
	if !s.Ready || s.Stopping {
		worst = attention.Critical
	}
	return worst
}

// path is where a gateway is asked.
const path = "/status"

// Handler answers GET /status with a [Status] in JSON.
func Handler(log zerolog.Logger, now func(context.Context) Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := admin.Answer(w, http.StatusOK, now(r.Context()), nil); err != nil {
			log.Debug().Err(err).Msg("an administrator does not read the answer")
		}
	})
}

// Ask asks a running gateway.
func Ask(ctx context.Context, c *admin.Client) (s Status, err error) {
	err = c.Get(ctx, path, &s)
	return s, err
}
