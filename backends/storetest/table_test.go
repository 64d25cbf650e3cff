package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	failed, err := storetest.Table(&b, []storetest.Result{
		{Group: "describe", Name: "limits", Took: 1400 * time.Microsecond},
		{Group: "maildrop", Name: "sizes", Err: errors.Join(errors.New("one"), errors.New("two")), Took: 2345 * time.Millisecond},
		{Group: "maildrop", Name: "top-0", Skipped: "the store is no Reader"},
	})
	want := `describe
  ok           limits                           1ms
maildrop
  FAIL         sizes                            2.3s
      one
      two
  not offered  top-0                            the store is no Reader

1 passed, 1 failed, 0 not tested, 1 not offered
`
	if d := gocmp.Diff(want, b.String()); d != "" || err != nil || failed != 1 {
		t.Errorf("%d failed, error %v\n%s", failed, err, d)
	}
}

// TestTableIsPrintable: whatever a store says, a terminal is not told what to do.
func TestTableIsPrintable(t *testing.T) {
	var b strings.Builder
	evil := "a\x1b]0;title\x07b\x9bc\x00\u202ed\re\x7f\xff"
	if _, err := storetest.Table(&b, []storetest.Result{
		{Group: "maildrop", Name: "sizes", Err: errors.New(evil + "\nnext" + evil)},
		{Group: "maildrop", Name: "top-0", Skipped: evil},
		{Group: "maildrop", Name: "top-1", Skipped: evil, Untested: true},
	}); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q reaches the terminal: %q", r, b.String())
		}
	}
	if !strings.Contains(b.String(), "      next") {
		t.Error("the second line of an error is lost")
	}
}

func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range storetest.Names() {
		if seen[name] || strings.ContainsAny(name, " \t") {
			t.Errorf("the name %q is there twice, or cannot be typed", name)
		}
		seen[name] = true
	}
}

func ExampleCheck() {
	store := memstore.New()
	err := store.Configure(context.Background(), backends.Settings{Raw: []byte(`{"accounts": [
		{"user": "anna", "password": "secret", "address": "anna@sakes.example"}
	]}`)})
	if err != nil {
		fmt.Println(err)
	}
	target := storetest.TargetFor(store, storetest.Options{
		User: "anna", Password: "secret", Address: "anna@sakes.example", InMemory: true,
		Large: 1 << 20, Many: 30,
	})
	var failed []storetest.Result
	err = storetest.Check(context.Background(), target, func(r storetest.Result) {
		if r.Err != nil {
			failed = append(failed, r)
		}
	})
	if err != nil {
		fmt.Println(err)
	}
	_, _ = storetest.Table(os.Stdout, failed)
	// Output:
	// 0 passed, 0 failed, 0 not tested, 0 not offered
}
