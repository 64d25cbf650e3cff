package config

import (
	"strings"
	"testing"
)

// TestRelayTimings: what is particular about urgent mail, and about what is not, is checked with what it follows from.
func TestRelayTimings(t *testing.T) {
	parse := func(relay string) error {
		_, err := Parse("dipylon.yaml", "/", []byte("stores:\n  - {name: sakes, plugin: maildir, domains: [sakes.example]}\nrelay: {"+relay+"}\n"), options())
		return err
	}
	for _, good := range []string{
		"", "expire: 1m, delay_notice: 1m", "urgent: {retry: [1s], expire: 1h}", "urgent: {delay_notice: 2d}", "non_urgent: {expire: 42d, delay_notice: 42d}",
		"expire: 1d, non_urgent: {delay_notice: 33h}",
	} {
		if err := parse(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for text, want := range map[string]string{
		"delay_notice: 6d":                                       "relay.delay_notice: nobody would be told",
		"urgent: {delay_notice: 49h}":                            "relay.urgent.delay_notice: nobody would be told",
		"urgent: {expire: 30s}":                                  "relay.urgent.expire:",
		"non_urgent: {retry: [500ms]}":                           "relay.non_urgent.retry[0]:",
		"expire: 1d, non_urgent: {delay_notice: 34h}":            "relay.non_urgent.delay_notice: nobody would be told",
		"urgent: {retry: [" + strings.Repeat("1m, ", 101) + "]}": "relay.urgent.retry: there are more than 100 waits",
		"retry: []":             "relay.retry: there is no wait",
		"urgent: {waits: [1m]}": "relay.urgent.waits:",
	} {
		if err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		} else if n := strings.Count(err.Error(), "nobody would be told"); n > 1 {
			t.Errorf("%s is told %d times", text, n)
		}
	}
}
