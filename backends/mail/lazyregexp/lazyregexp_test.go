package lazyregexp

import (
	"regexp"
	"slices"
	"sync"
	"testing"
)

// TestCompiledAtFirstUse: outside of tests an expression costs nothing before it is used, and several may use it first.
func TestCompiledAtFirstUse(t *testing.T) {
	r := &Regexp{expression: `^a(b+)c$`}
	if r.compiled != nil {
		t.Fatal("it is compiled before its first use")
	}
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			if !r.MatchString("abbc") || r.Match([]byte("ac")) {
				t.Error("it does not match as it should")
			}
		})
	}
	users.Wait()
	if r.compiled == nil {
		t.Error("it is not kept")
	}
}

// TestWrongExpressionIsSeenByEachTest: a test's process compiles at once.
func TestWrongExpressionIsSeenByEachTest(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a wrong expression went unnoticed")
		}
	}()
	New(`(`)
}

// TestMethods compares each method with that of the regular expression.
func TestMethods(t *testing.T) {
	const expression, text = `(\w)(\d+)`, "a1 b22 c"
	lazy, eager := New(expression), regexp.MustCompile(expression)
	equal := func(name string, same bool) {
		t.Helper()
		if !same {
			t.Errorf("%s differs", name)
		}
	}
	upper := func(string) string { return "U" }
	equal("Match", lazy.Match([]byte(text)) == eager.MatchString(text))
	equal("MatchString", lazy.MatchString("none") == eager.MatchString("none"))
	equal("FindStringSubmatch", slices.Equal(lazy.FindStringSubmatch(text), eager.FindStringSubmatch(text)))
	equal("FindStringSubmatchIndex", slices.Equal(lazy.FindStringSubmatchIndex(text), eager.FindStringSubmatchIndex(text)))
	equal("FindSubmatchIndex", slices.Equal(lazy.FindSubmatchIndex([]byte(text)), eager.FindStringSubmatchIndex(text)))
	equal("FindSubmatch", string(lazy.FindSubmatch([]byte(text))[2]) == "1")
	equal("FindAllString", slices.Equal(lazy.FindAllString(text, -1), eager.FindAllString(text, -1)))
	equal("FindAllStringSubmatch", slices.EqualFunc(lazy.FindAllStringSubmatch(text, -1), eager.FindAllStringSubmatch(text, -1), slices.Equal))
	equal("ReplaceAllString", lazy.ReplaceAllString(text, "$2") == eager.ReplaceAllString(text, "$2"))
	equal("ReplaceAllStringFunc", lazy.ReplaceAllStringFunc(text, upper) == eager.ReplaceAllStringFunc(text, upper))
}
