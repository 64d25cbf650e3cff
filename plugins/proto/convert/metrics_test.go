package convert_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
)

// TestMetrics: what is in order crosses as it is, and one odd metric costs only itself.
func TestMetrics(t *testing.T) {
	good := []backends.Metric{
		{Name: "connections", Help: "that are open", Kind: backends.MetricGauge, Value: -3},
		{Name: "logins", Kind: backends.MetricCounter, Value: 17},
		{Name: "wait_seconds", Kind: backends.MetricHistogram, Count: 9, Sum: 1.5, Buckets: []backends.Bucket{{UpTo: 0.1, Count: 4}, {UpTo: 1, Count: 8}}},
	}
	odd := []backends.Metric{
		{Name: "", Kind: backends.MetricGauge},
		{Name: "Connections", Kind: backends.MetricGauge},
		{Name: "a{b=\"c\"}", Kind: backends.MetricGauge},
		{Name: "of_no_kind"},
		{Name: "of_another", Kind: 9},
		{Name: "backwards", Kind: backends.MetricCounter, Value: -1},
		{Name: "nan", Kind: backends.MetricGauge, Value: math.NaN()},
		{Name: "infinite", Kind: backends.MetricHistogram, Sum: math.Inf(1)},
		{Name: "not_cumulative", Kind: backends.MetricHistogram, Count: 9, Buckets: []backends.Bucket{{UpTo: 1, Count: 4}, {UpTo: 2, Count: 3}}},
		{Name: "not_in_order", Kind: backends.MetricHistogram, Count: 9, Buckets: []backends.Bucket{{UpTo: 1, Count: 4}, {UpTo: 1, Count: 5}}},
		{Name: "more_than_all", Kind: backends.MetricHistogram, Count: 3, Buckets: []backends.Bucket{{UpTo: 1, Count: 4}}},
		{Name: "too_many", Kind: backends.MetricHistogram, Buckets: buckets(backends.BucketsMost + 1)},
		good[0],
	}
	all := append(append(good[:1:1], odd...), good[1:]...)
	if got := convert.MetricsFromProto(convert.MetricsToProto(all)); !reflect.DeepEqual(got, good) {
		t.Errorf("got %+v", got)
	}
	var many []backends.Metric
	for i := range 2 * backends.MetricsMost {
		many = append(many, backends.Metric{Name: fmt.Sprint("m", i), Kind: backends.MetricGauge})
	}
	if got := convert.MetricsFromProto(convert.MetricsToProto(many)); len(got) != backends.MetricsMost {
		t.Errorf("%d metrics are taken", len(got))
	}
}

func buckets(n int) (all []backends.Bucket) {
	for i := range n {
		all = append(all, backends.Bucket{UpTo: float64(i)})
	}
	return all
}
