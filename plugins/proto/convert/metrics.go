package convert

import (
	"math"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// MetricsToProto makes what is sent of metrics.
func MetricsToProto(metrics []backends.Metric) (all []*pb.Metric) {
	for _, m := range metrics {
		out := &pb.Metric{
			Name: m.Name, Help: m.Help, Kind: pb.Metric_Kind(m.Kind), Value: m.Value, Count: m.Count, Sum: m.Sum,
		}
		for _, b := range m.Buckets {
			out.Buckets = append(out.Buckets, &pb.Metric_Bucket{UpTo: b.UpTo, Count: b.Count})
		}
		all = append(all, out)
	}
	return all
}

var metricName = lazyregexp.New(`^[a-z][a-z0-9_]{0,63}$`)

// MetricsFromProto reads metrics. One that is odd is left out, and so is what is too much.
func MetricsFromProto(all []*pb.Metric) (metrics []backends.Metric) {
	seen := make(map[string]bool)
	for _, in := range all {
		if len(metrics) == backends.MetricsMost {
			return metrics
		}
		m, ok := metricFromProto(in)
		if !ok || seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		metrics = append(metrics, m)
	}
	return metrics
}

func metricFromProto(in *pb.Metric) (m backends.Metric, ok bool) {
	m = backends.Metric{Name: in.GetName(), Help: Line(in.GetHelp(), 200), Kind: backends.MetricKind(in.GetKind())}
	if !metricName.MatchString(m.Name) {
		return m, false
	}
	switch m.Kind {
	case backends.MetricCounter, backends.MetricGauge:
		m.Value = in.GetValue()
		return m, isNumber(m.Value) && (m.Kind == backends.MetricGauge || m.Value >= 0)
	case backends.MetricHistogram:
		m.Count, m.Sum = in.GetCount(), in.GetSum()
		ok = isNumber(m.Sum) && len(in.GetBuckets()) <= backends.BucketsMost
		least, most := math.Inf(-1), uint64(0)
		for _, b := range in.GetBuckets() {
			ok = ok && isNumber(b.GetUpTo()) && b.GetUpTo() > least && b.GetCount() >= most && b.GetCount() <= m.Count
			least, most = b.GetUpTo(), b.GetCount()
			m.Buckets = append(m.Buckets, backends.Bucket{UpTo: least, Count: most})
		}
		return m, ok
	}
	return m, false
}

func isNumber(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
