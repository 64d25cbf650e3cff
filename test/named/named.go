// Package named has the check that tests which a page names are there: a rule whose test has been
// renamed or removed is no longer kept.
package named

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// reference is a test that a page names in backquotes: a folder, a test's name, perhaps that of a case.
var reference = regexp.MustCompile("`([a-z0-9/-]+) ((?:Test|Fuzz)\\w+)(?:/([^`]+))?`")

// Rows reads the tables of a page and finds each test that a row names by its name in the source.
// Every row has to name one, but those whose first cell is one of the titles. root is the repository's
// folder, which the folders are below. It returns how many rows there are.
func Rows(t *testing.T, page, root string, titles ...string) (rows int) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string][]byte)
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || isTitle(line, titles) {
			continue
		}
		rows++
		found := reference.FindAllStringSubmatch(line, -1)
		if len(found) == 0 || len(found) != strings.Count(line, "`")/2 {
			t.Errorf("not all of these are names of tests: %s", line)
		}
		for _, n := range found {
			folder := n[1]
			if sources[folder] == nil {
				sources[folder] = testsIn(t, filepath.Join(root, filepath.FromSlash(folder)))
			}
			lacks(t, sources[folder], folder, n[2], n[3])
		}
	}
	return rows
}

func isTitle(line string, titles []string) bool {
	for _, title := range titles {
		if strings.HasPrefix(line, "| "+title+" |") {
			return true
		}
	}
	return false
}

func lacks(t *testing.T, source []byte, folder, name, part string) {
	t.Helper()
	if !bytes.Contains(source, []byte("func "+name+"(")) {
		t.Errorf("%s has no %s", folder, name)
	}
	if part != "" && !bytes.Contains(source, []byte(strconv.Quote(part))) {
		t.Errorf("%s has no case %q", folder, part)
	}
}

// testsIn is the source in a folder. Suites that others run have their cases in files that are no tests
// themselves.
func testsIn(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(source)
	}
	return all.Bytes()
}
