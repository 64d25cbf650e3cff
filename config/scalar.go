package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of octets. It is written with a unit, "25MiB", or as a plain number.
type Size int64

// sizeUnits in the order in which a size is printed.
var sizeUnits = []struct {
	name   string
	octets int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

// ParseSize reads "25MiB", "1.5 GiB", "300kB", "512". Units are of 1024 with an i in them and
// of 1000 without; the case of the letters does not matter.
func ParseSize(s string) (Size, error) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := s[len(number):]
	number = strings.TrimSpace(number)
	octets := int64(1)
	if unit != "" {
		octets = 0
		for _, u := range sizeUnits {
			if strings.EqualFold(u.name, unit) {
				octets = u.octets
			}
		}
		if octets == 0 {
			return 0, fmt.Errorf("%q is not a size: no unit %q", s, unit)
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/octets {
			return 0, fmt.Errorf("%q is not a size that can be counted", s)
		}
		return Size(n * octets), nil
	}
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*float64(octets) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return Size(f * float64(octets)), nil
}

// String gives the size in the largest unit that has no remainder.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.octets == 0 {
			return strconv.FormatInt(int64(s)/u.octets, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalYAML writes the size with its unit.
func (s Size) MarshalYAML() (any, error) { return s.String(), nil }

const day = 24 * time.Hour

// Duration is a time span, written "1h30m", "90s" or, in days, "14d".
type Duration time.Duration

// ParseDuration reads what [time.ParseDuration] does, and whole days. A plain 0 is a
// duration; other numbers need a unit. Durations below zero are refused.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		return Duration(time.Duration(n) * day), nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && s != "" && strings.Trim(s, "0123456789") == "":
		return 0, fmt.Errorf("%q has no unit", s)
	case err != nil || d < 0:
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	return Duration(d), nil
}

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the shortest form that [ParseDuration] reads.
func (d Duration) String() string {
	if t := time.Duration(d); t != 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalYAML writes the duration with its unit.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }
