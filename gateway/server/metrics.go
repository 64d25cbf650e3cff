package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// metrics is what the gateway counts. The engines count as things happen; what is there at a moment is
// looked up when somebody asks.
type metrics struct {
	registry *prometheus.Registry

	connections, refused, logins, commands *prometheus.CounterVec
	took                                   *prometheus.HistogramVec
	sent, sentBytes, deleted, mismatches   *prometheus.CounterVec
	taken, takenBytes, recipients          *prometheus.CounterVec

	hops, unreachable, backedOff, commonDown, untold, relayedTo *prometheus.CounterVec
	waited                                                      *prometheus.HistogramVec
	outbox, winmail, devices                                    *prometheus.CounterVec
	fetches, fetchedMessages                                    *prometheus.CounterVec
	fetchedAt                                                   *prometheus.GaugeVec
	asked                                                       *prometheus.CounterVec

	deviceMu    sync.Mutex
	deviceNames map[string]bool // that have a label of their own
}

// commandBuckets are from what memory answers to what a slow store does, in seconds.
var commandBuckets = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60}

func newMetrics(g *Server) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "dipylon", Name: name, Help: help}, append([]string{"protocol"}, labels...))
		m.registry.MustRegister(c)
		return c
	}
	m.connections = counter("connections_total", "Connections of clients that were served.")
	m.refused = counter("connections_refused_total", "Connections that were not served, for a limit or while stopping.")
	m.logins = counter("logins_total", "Logins, by what came of them: ok, wrong or failed.", "outcome")
	m.commands = counter("commands_total", "Commands, by what was replied: ok, later (SMTP 4yz) or error.", "command", "outcome")
	m.sent = counter("messages_sent_total", "Messages that clients have read whole.")
	m.sentBytes = counter("sent_bytes_total", "Octets of messages that clients have read whole.")
	m.deleted = counter("messages_deleted_total", "Messages that were removed at QUIT.")
	m.mismatches = counter("size_mismatches_total", "Messages that had another size than the client was told.")
	m.taken = counter("messages_received_total", "Messages that came to their end, by what was replied: ok, later or error.", "outcome")
	m.takenBytes = counter("received_bytes_total", "Octets of messages that were taken.")
	m.recipients = counter("recipients_total", "Recipients of messages that were taken.")
	m.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "dipylon", Name: "command_seconds", Help: "How long commands took.", Buckets: commandBuckets,
	}, []string{"protocol", "command"})
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "dipylon", Name: "track_lost_total", Help: "Events of messages that dipylon track will not know of.",
	}, func() float64 { return float64(g.track.Lost()) }))
	m.relay()
	m.outbox = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "dipylon", Subsystem: "outbox", Name: "messages_total",
		Help: "Messages that stores wanted sent, by what came of them: taken into the queue; failed, for all recipients; or left to the store for now.",
	}, []string{"store", "outcome"})
	m.winmail = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "dipylon", Name: "winmail_total",
		Help: "Parts of TNEF (winmail.dat) in messages that were to be opened: opened, or messages in which one was kept as it came. A message counts each time.",
	}, []string{"outcome"})
	m.deviceCounter()
	m.registry.MustRegister(m.outbox, m.winmail)
	m.collect()
	m.registry.MustRegister(m.took, moment{g}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// readableMost is how long the database has to show that mail in transit can be read.
const readableMost = 2 * time.Second

// newAdmin makes the engine of a listener that administrators' programs ask.
func (g *Server) newAdmin() *admin.Server {
	return &admin.Server{Metrics: g.metrics.registry, Log: g.log, Ready: func() error {
		switch s := g.Snapshot(); {
		case s.Stopping:
			return errors.New("stopping")
		case !s.Ready:
			return errors.New("starting")
		}
		ctx, cancel := context.WithTimeout(g.base, readableMost)
		defer cancel()
		if err := g.spool.Readable(ctx); err != nil {
			g.log.Warn().Err(err).Msg("not ready: mail in transit cannot be read")
			return errors.New("the queue cannot be read, the log says why")
		}
		return nil
	}}
}

func outcomeOf(ok bool) string {
	if ok {
		return "ok"
	}
	return "error"
}

// pop3Metrics counts for a listener. It implements [pop3.Observer].
type pop3Metrics struct {
	*metrics
	protocol string
}

func (m pop3Metrics) SessionOpened(pop3.Conn) { m.connections.WithLabelValues(m.protocol).Inc() }
func (m pop3Metrics) SessionRefused(string)   { m.refused.WithLabelValues(m.protocol).Inc() }

func (m pop3Metrics) SessionClosed(s pop3.Summary) {
	m.sent.WithLabelValues(m.protocol).Add(float64(s.Retr))
	m.sentBytes.WithLabelValues(m.protocol).Add(float64(s.RetrSize))
	m.deleted.WithLabelValues(m.protocol).Add(float64(s.Deleted))
}

func (m pop3Metrics) Login(_ pop3.Conn, _ string, err error) {
	outcome := "ok"
	var reply *pop3.Error
	switch {
	case err == nil:
	case errors.As(err, &reply) && reply.Code == "AUTH" /* RFC 3206 §4 */ :
		outcome = "wrong"
	default:
		outcome = "failed"
	}
	m.logins.WithLabelValues(m.protocol, outcome).Inc()
}

func (m pop3Metrics) Command(e pop3.CommandEvent) {
	m.commands.WithLabelValues(m.protocol, e.Verb, outcomeOf(e.OK)).Inc()
	m.took.WithLabelValues(m.protocol, e.Verb).Observe(e.Took.Seconds())
}

func (m pop3Metrics) SizeMismatch(pop3.SizeMismatch) { m.mismatches.WithLabelValues(m.protocol).Inc() }

// smtpMetrics counts for a listener.
func (m *metrics) smtpMetrics(protocol string) func(smtp.Event) {
	return func(e smtp.Event) {
		switch e.Kind {
		case smtp.Connected:
			m.connections.WithLabelValues(protocol).Inc()
		case smtp.Refused:
			m.refused.WithLabelValues(protocol).Inc()
		case smtp.Authenticated:
			outcome := map[int]string{235: "ok", 535: "wrong"}[e.Code]
			if outcome == "" {
				outcome = "failed"
			}
			m.logins.WithLabelValues(protocol, outcome).Inc()
		case smtp.Replied:
			m.commands.WithLabelValues(protocol, e.Verb, replied(e.Code)).Inc()
			m.took.WithLabelValues(protocol, e.Verb).Observe(e.Took.Seconds())
		case smtp.Finished:
			m.taken.WithLabelValues(protocol, replied(e.Code)).Inc()
			if replied(e.Code) == "ok" {
				m.takenBytes.WithLabelValues(protocol).Add(float64(e.Octets))
				m.recipients.WithLabelValues(protocol).Add(float64(e.Recipients))
			}
		case smtp.Disconnected, smtp.Secured:
		}
	}
}

// collected counts what stores want sent.
func (m *metrics) collected(store, outcome string) { m.outbox.WithLabelValues(store, outcome).Inc() }

// replied is the class of a reply; 0 is a client that was gone.
func replied(code int) string {
	switch code / 100 {
	case 2, 3:
		return "ok"
	case 4:
		return "later"
	}
	return "error"
}

// moment tells what there is when somebody asks. It describes nothing beforehand, as what stores count is
// theirs.
type moment struct{ g *Server }

// Describe implements [prometheus.Collector].
func (moment) Describe(chan<- *prometheus.Desc) {}

// told collects the metrics of one moment.
type told struct {
	out   chan<- prometheus.Metric
	descs map[string]*prometheus.Desc
}

func (t told) number(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	names, values := halves(labels)
	t.out <- prometheus.MustNewConstMetric(t.desc(name, help, names), kind, value, values...)
}

func (t told) desc(name, help string, labels []string) *prometheus.Desc {
	key := name + " " + strings.Join(labels, " ")
	if t.descs[key] == nil {
		t.descs[key] = prometheus.NewDesc(name, help, labels, nil)
	}
	return t.descs[key]
}

// halves parts names from values, which take turns.
func halves(pairs []string) (names, values []string) {
	for i := 0; i < len(pairs); i += 2 {
		names, values = append(names, pairs[i]), append(values, pairs[i+1])
	}
	return names, values
}

// Collect implements [prometheus.Collector].
func (m moment) Collect(out chan<- prometheus.Metric) {
	t, s := told{out, make(map[string]*prometheus.Desc)}, m.g.Snapshot()
	sessions := make(map[string]int)
	for _, l := range s.Listeners {
		sessions[l.Protocol] += 0
	}
	for _, session := range s.Sessions {
		sessions[session.Listener.Protocol]++
	}
	for protocol, n := range sessions {
		t.number(prometheus.GaugeValue, "dipylon_sessions", "Sessions of clients that are open.", float64(n), "protocol", protocol)
	}
	for _, store := range s.Stores {
		t.store(store)
	}
	t.backends(s.Stores)
	t.transfer(s.Config.Transfer, m.g.gate.Kept())
	t.attention(m.g.attention)
	t.partitions(m.g.spool.PartitionFailure())
	if sum, ok := m.g.queued.get(m.g.log); ok {
		t.queue(sum)
	}
}

func (t told) store(s Store) {
	up, well := 0.0, 0.0
	if s.Plugin.Ready {
		up = 1
		if s.Plugin.Health == nil {
			well = 1
		}
		t.number(prometheus.GaugeValue, "dipylon_plugin_start_time_seconds", "When the store's plugin process was ready.",
			float64(s.Plugin.Since.UnixMilli())/1000, "store", s.Name)
	}
	t.number(prometheus.GaugeValue, "dipylon_plugin_up", "Whether the store's plugin process serves.", up, "store", s.Name)
	t.number(prometheus.GaugeValue, "dipylon_store_healthy", "Whether the store said at its last health check that it can be used.", well, "store", s.Name)
	t.number(prometheus.CounterValue, "dipylon_plugin_restarts_total", "Plugin processes of the store that ended without being asked to.",
		float64(s.Plugin.Restarts), "store", s.Name)
	for _, c := range s.Calls {
		for outcome, n := range map[string]int64{"ok": c.Calls - c.Refused - c.Failed, "refused": c.Refused, "failed": c.Failed} {
			t.number(prometheus.CounterValue, "dipylon_store_calls_total", "Calls to the store that have ended: ok, refused for good, or failed for now.",
				float64(n), "store", s.Name, "call", c.Call, "outcome", outcome)
		}
		t.number(prometheus.CounterValue, "dipylon_store_call_seconds_total", "How long calls to the store took in all.",
			c.Took.Seconds(), "store", s.Name, "call", c.Call)
		t.number(prometheus.GaugeValue, "dipylon_store_calls_in_progress", "Calls to the store that have not ended.",
			float64(c.Open), "store", s.Name, "call", c.Call)
	}
}

// backends tells what backends count. A name is the first one's that takes it: what another one of the
// store, or another kind of another store, would tell under it is left out, or Prometheus would refuse
// them, and their log line would come with each of its questions.
func (t told) backends(all []Store) {
	taken := make(map[string]backends.Metric)
	for _, store := range all {
		mine := make(map[string]bool)
		for _, metric := range store.Plugin.Metrics {
			metric.Name = familyOf(metric)
			names := namesOf(metric)
			if mine[metric.Name] || slices.ContainsFunc(names, func(name string) bool {
				other, is := taken[name]
				return is && (other.Name != metric.Name || other.Kind != metric.Kind)
			}) {
				continue
			}
			mine[metric.Name] = true
			for _, name := range names {
				taken[name] = metric
			}
			t.backend(store.Name, metric)
		}
	}
}

// familyOf is the name of a metric's family: a counter's has no "_total" (OpenMetrics §5.1).
func familyOf(m backends.Metric) string {
	if m.Kind == backends.MetricCounter {
		return strings.TrimSuffix(m.Name, "_total")
	}
	return m.Name
}

// namesOf are the names that a family takes: its own and those of its samples (OpenMetrics §5.1).
func namesOf(m backends.Metric) []string {
	names := []string{m.Name}
	for _, suffix := range map[backends.MetricKind][]string{
		backends.MetricCounter:   {"_total", "_created"},
		backends.MetricHistogram: {"_count", "_sum", "_bucket", "_created"},
	}[m.Kind] {
		names = append(names, m.Name+suffix)
	}
	return names
}

// backendHelp stands at all that backends count: two stores' backends need not say the same.
const backendHelp = "Counted by the store's backend, which documents it."

func (t told) backend(store string, m backends.Metric) {
	name := "dipylon_backend_" + m.Name
	switch m.Kind {
	case backends.MetricCounter:
		t.number(prometheus.CounterValue, name+"_total", backendHelp, m.Value, "store", store)
	case backends.MetricGauge:
		t.number(prometheus.GaugeValue, name, backendHelp, m.Value, "store", store)
	case backends.MetricHistogram:
		buckets := make(map[float64]uint64)
		for _, b := range m.Buckets {
			buckets[b.UpTo] = b.Count
		}
		t.out <- prometheus.MustNewConstHistogram(t.desc(name, backendHelp, []string{"store"}), m.Count, m.Sum, buckets, store)
	}
}
