package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/plugins/host"
)

// say sends lines, one after each answer of one line, and returns the last answer.
func say(t *testing.T, address string, lines ...string) (answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, line := range append(lines, "") {
		if answer, err = in.ReadString('\n'); err != nil {
			t.Fatalf("behind %q: %v", answer, err)
		}
		if line != "" {
			if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, in) // until the server has closed it
	return answer
}

// TestMetrics: what clients do is counted, and told by HTTP in the form that Prometheus' own checker
// approves.
func TestMetrics(t *testing.T) {
	dir := rootsIn(t)
	text := strings.Replace(oneStore, "stores:", `  - {protocol: admin, address: "127.0.0.1:0"}`+"\npop3: {plaintext_login: true}\nstores:", 1)
	g, ended, end := run(t, parse(t, dir, text))
	listeners := g.Snapshot().Listeners
	say(t, listeners[0].Address, "USER nobody@one.example", "PASS wrong", "QUIT")
	say(t, listeners[1].Address, "HELO c.example", "MAIL FROM:<a@far.example>", "RCPT TO:<nobody@one.example>", "QUIT")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + listeners[2].Address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`dipylon_connections_total{protocol="pop3"} 1`,
		`dipylon_connections_total{protocol="smtp"} 1`,
		`dipylon_logins_total{outcome="wrong",protocol="pop3"} 1`,
		`dipylon_commands_total{command="PASS",outcome="error",protocol="pop3"} 1`,
		`dipylon_commands_total{command="RCPT",outcome="error",protocol="smtp"} 1`,
		`dipylon_command_seconds_count{command="QUIT",protocol="pop3"} 1`,
		`dipylon_store_calls_total{call="Open",outcome="refused",store="one"} 1`,
		`dipylon_store_calls_total{call="Resolve",outcome="ok",store="one"} 1`,
		`dipylon_plugin_up{store="one"} 1`,
		`dipylon_store_healthy{store="one"} 1`,
		`dipylon_sessions{protocol="admin"} 0`,
		`dipylon_queue_recipients{state="in_flight"} 0`,
		`dipylon_queue_oldest_due_seconds 0`,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	page, err := os.ReadFile("../admin/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(body), "\n") {
		if name, ours := strings.CutPrefix(line, "# TYPE dipylon_"); ours && !strings.Contains(string(page), "`dipylon_"+strings.Fields(name)[0]+"`") {
			t.Errorf("the page does not have %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(string(body))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("Prometheus' checker: %v %v", problems, err)
	}
	if t.Failed() {
		t.Log(string(body))
	}
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestBackendMetrics: what backends count is told, and two that mean other things by a name harm nothing.
func TestBackendMetrics(t *testing.T) {
	histogram := backends.Metric{Name: "wait_seconds", Kind: backends.MetricHistogram, Count: 3, Sum: 2, Buckets: []backends.Bucket{{UpTo: 1, Count: 2}}}
	got := gathered(t,
		Store{Name: "one", Plugin: host.Status{Metrics: []backends.Metric{{Name: "logins", Kind: backends.MetricCounter, Value: 7}, {Name: "spare", Kind: backends.MetricGauge, Value: 1}, histogram}}},
		Store{Name: "two", Plugin: host.Status{Metrics: []backends.Metric{{Name: "logins", Kind: backends.MetricGauge, Value: 8}, {Name: "spare", Kind: backends.MetricGauge, Value: 2}}}, Calls: []stores.Count{}},
	)
	want := "dipylon_backend_logins_total COUNTER 1, dipylon_backend_spare GAUGE 2, dipylon_backend_wait_seconds HISTOGRAM 1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestBackendMetricsCollide: a store whose numbers would stand under one name, as a counter's with and
// without its "_total" or a histogram's count, has the first of them told, and harms neither itself nor
// others.
func TestBackendMetricsCollide(t *testing.T) {
	counter := func(name string) backends.Metric {
		return backends.Metric{Name: name, Kind: backends.MetricCounter, Value: 1}
	}
	gauge := func(name string) backends.Metric {
		return backends.Metric{Name: name, Kind: backends.MetricGauge, Value: 1}
	}
	histogram := func(name string) backends.Metric {
		return backends.Metric{Name: name, Kind: backends.MetricHistogram, Count: 1, Sum: 1}
	}
	for name, c := range map[string]struct {
		one, two []backends.Metric
		want     string
	}{
		"a counter twice":            {[]backends.Metric{counter("a"), counter("a_total")}, nil, "a_total COUNTER 1"},
		"a gauge and a counter":      {[]backends.Metric{gauge("a_total"), counter("a")}, nil, "a_total GAUGE 1"},
		"of two stores":              {[]backends.Metric{counter("a")}, []backends.Metric{gauge("a_total"), counter("a_total")}, "a_total COUNTER 2"},
		"other stores' kinds":        {[]backends.Metric{counter("a")}, []backends.Metric{gauge("a")}, "a_total COUNTER 1"},
		"a histogram and its count":  {[]backends.Metric{histogram("a"), gauge("a_count"), gauge("a_sum"), gauge("a_bucket"), gauge("a_created")}, nil, "a HISTOGRAM 1"},
		"a count and its histogram":  {[]backends.Metric{gauge("a_count"), histogram("a")}, nil, "a_count GAUGE 1"},
		"a histogram over stores":    {[]backends.Metric{gauge("a_sum")}, []backends.Metric{histogram("a"), gauge("a_sum")}, "a_sum GAUGE 2"},
		"a counter and its creation": {[]backends.Metric{counter("a"), gauge("a_created")}, nil, "a_total COUNTER 1"},
		"what only looks like it":    {[]backends.Metric{gauge("a_count"), gauge("a"), counter("b_total_seen")}, nil, "a GAUGE 1, a_count GAUGE 1, b_total_seen_total COUNTER 1"},
	} {
		t.Run(name, func(t *testing.T) {
			families := gathered(t, Store{Name: "one", Plugin: host.Status{Metrics: c.one}}, Store{Name: "two", Plugin: host.Status{Metrics: c.two}})
			if got := strings.ReplaceAll(families, "dipylon_backend_", ""); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// gathered is what is told of the stores' backends: each name with its kind, and how many stores have it.
func gathered(t *testing.T, all ...Store) string {
	t.Helper()
	out := make(chan prometheus.Metric, 100)
	told{out, make(map[string]*prometheus.Desc)}.backends(all)
	close(out)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(given(out))
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, f := range families {
		got = append(got, fmt.Sprintf("%s %s %d", f.GetName(), f.GetType(), len(f.GetMetric())))
	}
	return strings.Join(got, ", ")
}

// given is a collector of metrics that there are.
type given <-chan prometheus.Metric

func (given) Describe(chan<- *prometheus.Desc) {}
func (g given) Collect(out chan<- prometheus.Metric) {
	for m := range g {
		out <- m
	}
}
