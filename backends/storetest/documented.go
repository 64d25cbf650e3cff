package storetest

import (
	"os"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// Documented makes sure that each setting of a store is documented: in its schema, and on a page, which
// names it in backquotes.
func Documented(t testing.TB, schema []backends.Setting, page string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(schema) == 0 {
		t.Error("there is no setting")
	}
	plain := strings.NewReplacer("[]", "", ".*", "")
	for _, s := range schema {
		if s.Doc == "" {
			t.Errorf("%s is not documented", s.Path)
		}
		if !strings.Contains(string(text), "`"+plain.Replace(s.Path)+"`") {
			t.Errorf("%s says nothing of %s", page, s.Path)
		}
	}
}
