package maildir

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

var units = map[string]float64{
	"": 1, "b": 1,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

var errOctets = errors.New(`expected a number of octets, or one with a unit such as "500MB" or "1GiB"`)

// parseOctets reads "1GiB", "500 MB", "1.5GB" or a plain number of octets.
func parseOctets(text string) (int64, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	unit, ok := units[text[len(digits):]]
	digits = strings.TrimSpace(digits)
	if !ok || strings.Trim(digits, "0123456789.") != "" {
		return 0, errOctets
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n*unit > math.MaxInt64/2 {
		return 0, errOctets
	}
	return int64(n * unit), nil
}
