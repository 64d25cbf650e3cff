package jmap

import (
	"os"
	"strings"
	"testing"
)

// TestSchema: each setting is documented, here and on the page.
func TestSchema(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("[]", "", ".*", "")
	for _, s := range schema() {
		if s.Doc == "" {
			t.Errorf("%s is not documented", s.Path)
		}
		if !strings.Contains(string(page), "`"+plain.Replace(s.Path)+"`") {
			t.Errorf("README.md says nothing of %s", s.Path)
		}
	}
}
