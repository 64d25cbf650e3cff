package backends

// Meter is a store that counts what it does. The gateway asks with each health check, and shows the
// numbers under the store's name.
type Meter interface {
	// Metrics are the numbers as they are now. It does not wait.
	Metrics() []Metric
}

// MetricKind says how a metric's numbers are to be read (OpenMetrics §5.1).
type MetricKind uint8

// The kinds. The numbers are on the wire.
const (
	MetricCounter   MetricKind = 1 // Value only grows, while the process lives
	MetricGauge     MetricKind = 2 // Value is what is there now
	MetricHistogram MetricKind = 3 // Count, Sum and Buckets only grow, while the process lives
)

// The bounds of what a store counts; what is beyond is left out.
const (
	MetricsMost = 100 // metrics of one store
	BucketsMost = 50  // of one histogram
)

// Metric is one number of a store's, or one distribution.
type Metric struct {
	// Name is 1 to 64 lower case letters, digits and underscores, a letter first; the unit, in base
	// units, is its last word: "connections", "throttled_seconds". The gateway puts in front whose
	// it is, and "_total" behind a counter's. What would stand under a name that another one takes is left
	// out: a histogram takes its own with "_count", "_sum" and "_bucket", too.
	Name string
	Help string // a sentence
	Kind MetricKind

	Value float64 // of a counter or a gauge

	Count   uint64 // of a histogram: how many values
	Sum     float64
	Buckets []Bucket // in the order of their bounds, the infinite one left out
}

// Bucket is how many values of a histogram are at or below a bound.
type Bucket struct {
	UpTo  float64
	Count uint64
}
