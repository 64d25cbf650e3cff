package pop3

import (
	"testing"

	"github.com/dipylon/dipylon/test/named"
)

// TestEachRuleHasItsTest finds each test that the README names, by its name in the source.
func TestEachRuleHasItsTest(t *testing.T) {
	if rules := named.Rows(t, "README.md", "../..", "rule"); rules < 50 {
		t.Errorf("the README has %d rules", rules)
	}
}
