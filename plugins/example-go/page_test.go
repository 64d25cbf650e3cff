package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPage: the code on the page is this code, and the page has all of it.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../afternoon.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(page, -1)
	shown := ""
	for _, s := range snippets {
		shown += string(s[1]) + "\n"
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	sources := ""
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(string(text), "package main\n") // main.go has a comment before it
		if code == "" || !strings.Contains(shown, "package main\n"+code) {
			t.Errorf("the page does not show %s as it is", name)
		}
		sources += string(text)
	}
	for _, s := range snippets {
		if !strings.Contains(sources, string(s[1])) {
			t.Errorf("this is on the page, and not in the sources:\n%s", s[1])
		}
	}
}
