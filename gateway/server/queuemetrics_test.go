package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
)

// TestQueueCount: mail in transit is counted once a minute, and where that takes long, whatever comes of it, less often.
func TestQueueCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted, takes := 0, time.Duration(0)
		var fails error
		c := &queueCount{now: time.Now, count: func(context.Context) (spool.Summary, error) {
			counted++
			time.Sleep(takes)
			return spool.Summary{Recipients: map[spool.State]int64{spool.Held: int64(counted)}}, fails
		}}
		for _, step := range []struct {
			later, takes time.Duration
			fails        error
			held         int64 // 0: nothing is told
		}{
			{0, 0, nil, 1},
			{59 * time.Second, 0, nil, 1},
			{time.Second, 3 * time.Second, nil, 2},
			{299 * time.Second, 0, nil, 2},
			{time.Second, 0, errors.New("no"), 0},
			{59 * time.Second, 0, nil, 0},
			{time.Second, 0, nil, 4},
			{time.Minute, 3 * time.Second, errors.New("no"), 0},
			{299 * time.Second, 0, nil, 0},
			{time.Second, 0, nil, 6},
		} {
			time.Sleep(step.later)
			takes, fails = step.takes, step.fails
			if sum, ok := c.get(zerolog.Nop()); ok != (step.held > 0) || ok && sum.Recipients[spool.Held] != step.held {
				t.Errorf("%+v: %v, %v", step, sum, ok)
			}
		}
	})
}

// TestQueueMetrics: what is overdue is told in seconds, and what is due later is not overdue.
func TestQueueMetrics(t *testing.T) {
	now := time.Now()
	for due, want := range map[time.Time]float64{{}: 0, now.Add(time.Minute): 0, now.Add(-90 * time.Second): 90} {
		out := make(chan prometheus.Metric, 10)
		told{out, make(map[string]*prometheus.Desc)}.queue(spool.Summary{At: now, Due: due})
		close(out)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(given(out))
		families, err := registry.Gather()
		if err != nil || len(families) != 2 || families[0].GetMetric()[0].GetGauge().GetValue() != want {
			t.Errorf("due %v: %v, %v", due, families, err)
		}
	}
}

// TestCommandSocket: the queue is handled through the socket, which is its owner's alone and goes with the
// gateway, and not through a listener. A queue that cannot be read shows in /readyz.
func TestCommandSocket(t *testing.T) {
	dir := rootsIn(t)
	cfg := parse(t, dir, strings.Replace(oneStore, "stores:", `  - {protocol: admin, address: "127.0.0.1:0"}`+"\nstores:", 1))
	file := SocketFile(cfg)
	for _, left := range []string{file, filepath.Join(cfg.StateFolder, "tmp", filepath.Base(file))} { // by a process that was killed
		if err := errors.Join(state.MakeFolder(filepath.Dir(left)), os.WriteFile(left, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	g, ended, end := run(t, cfg)
	info, err := os.Stat(file)
	if err != nil || info.Mode()&os.ModeSocket == 0 || info.Mode().Perm() != 0o600 {
		t.Fatalf("the socket is %v, %v", info, err)
	}
	client := queue.NewClient(admin.DialSocket(file))
	defer client.Close()
	if err := client.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if stats, err := client.Stats(t.Context(), 10); err != nil || len(stats) != 0 {
		t.Errorf("%v, %v", stats, err)
	}
	ask := func(path string) (int, string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + g.Snapshot().Listeners[2].Address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		return response.StatusCode, string(body)
	}
	if code, _ := ask("/queue/stats"); code != http.StatusNotFound {
		t.Errorf("the listener answers %d for the queue", code)
	}
	if code, body := ask("/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d %s", code, body)
	}
	err = g.db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("ALTER TABLE spool_recipients RENAME TO away")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, body := ask("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "queue") {
		t.Errorf("readyz without a queue: %d %s", code, body)
	}
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}
