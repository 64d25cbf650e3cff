package pop3

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// reference is a test that the README names: a folder, a test's name, perhaps that of a case.
var reference = regexp.MustCompile("`([a-z0-9/]+) ((?:Test|Fuzz)\\w+)(?:/([^`]+))?`")

// TestEachRuleHasItsTest finds each test that the README names, by its name in the source.
func TestEachRuleHasItsTest(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string][]byte)
	rules := 0
	for line := range strings.Lines(string(readme)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| rule ") {
			continue
		}
		rules++
		named := reference.FindAllStringSubmatch(line, -1)
		if len(named) == 0 || len(named) != strings.Count(line, "`")/2 {
			t.Errorf("not all of these are names of tests: %s", line)
		}
		for _, n := range named {
			folder, name, part := n[1], n[2], n[3]
			if sources[folder] == nil {
				sources[folder] = testsIn(t, folder)
			}
			if !bytes.Contains(sources[folder], []byte("func "+name+"(")) {
				t.Errorf("%s has no %s", folder, name)
			}
			if part != "" && !bytes.Contains(sources[folder], []byte(strconv.Quote(part))) {
				t.Errorf("%s has no case %q", folder, part)
			}
		}
	}
	if rules < 50 {
		t.Errorf("the README has %d rules", rules)
	}
}

// testsIn is the source of all the tests in a folder.
func testsIn(t *testing.T, folder string) []byte {
	t.Helper()
	if folder != "pop3" {
		folder = filepath.Join("..", "..", filepath.FromSlash(folder))
	} else {
		folder = "."
	}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(source)
	}
	return all.Bytes()
}
