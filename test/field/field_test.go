// Package field has the page of faults that were found in the field, and the test that holds it to the
// tests that there are.
package field

import (
	"testing"

	"github.com/dipylon/dipylon/test/named"
)

// TestEachKindHasItsTest finds each test that the page names.
func TestEachKindHasItsTest(t *testing.T) {
	if kinds := named.Rows(t, "README.md", "../..", "kind"); kinds < 100 {
		t.Errorf("the page has %d kinds", kinds)
	}
}
