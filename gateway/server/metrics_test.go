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
	out := make(chan prometheus.Metric, 100)
	tell := told{out, make(map[string]*prometheus.Desc)}
	tell.backends([]Store{
		{Name: "one", Plugin: host.Status{Metrics: []backends.Metric{{Name: "logins", Kind: backends.MetricCounter, Value: 7}, {Name: "spare", Kind: backends.MetricGauge, Value: 1}, histogram}}},
		{Name: "two", Plugin: host.Status{Metrics: []backends.Metric{{Name: "logins", Kind: backends.MetricGauge, Value: 8}, {Name: "spare", Kind: backends.MetricGauge, Value: 2}}}, Calls: []stores.Count{}},
	})
	close(out)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(given(out))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		got = append(got, fmt.Sprintf("%s %s %d", f.GetName(), f.GetType(), len(f.GetMetric())))
	}
	want := "dipylon_backend_logins_total COUNTER 1, dipylon_backend_spare GAUGE 2, dipylon_backend_wait_seconds HISTOGRAM 1"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

// given is a collector of metrics that there are.
type given <-chan prometheus.Metric

func (given) Describe(chan<- *prometheus.Desc) {}
func (g given) Collect(out chan<- prometheus.Metric) {
	for m := range g {
		out <- m
	}
}
