package imports

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

//go:generate go test . -run TestPicture -update

var update = flag.Bool("update", false, "write the picture of the imports into gateway/README.md")

// below the gateway, as far as the picture shows it.
var floor = []string{"backends", "config", "plugins/host"}

const (
	page         = "../../gateway/README.md"
	pictureBegin = "<!-- Made by go generate ./test/imports -->\n```\n"
	pictureEnd   = "```\n"
)

// TestPicture: the picture in the gateway's README shows the imports that there are.
func TestPicture(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), pictureBegin)
	old, after, ends := strings.Cut(rest, pictureEnd)
	if !begins || !ends {
		t.Fatalf("%s has no place for the picture, which begins with %q", page, pictureBegin)
	}
	made := picture(gatewayOf(packages(t)))
	switch {
	case made == old:
	case *update:
		if err := os.WriteFile(page, []byte(before+pictureBegin+made+pictureEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the picture is stale: run go generate ./test/imports. It would be:\n%s", made)
	}
}

// gatewayOf leaves the gateway's packages, and what is below them.
func gatewayOf(all map[string][]string) map[string][]string {
	left := make(map[string][]string)
	for pkg, imports := range all {
		from, is := shown(pkg)
		if !is || slices.Contains(floor, from) || isTestHelp(pkg) {
			continue
		}
		left[from] = nil
		for _, path := range imports {
			if to, is := shown(path); is {
				left[from] = append(left[from], to)
			}
		}
	}
	return left
}

// shown is the name that a package has in the picture.
func shown(pkg string) (name string, is bool) {
	if inside, is := strings.CutPrefix(pkg, "gateway/"); is {
		return inside, true
	}
	return pkg, slices.Contains(floor, pkg)
}

// isTestHelp says whether a package is for tests alone, as httptest is.
func isTestHelp(pkg string) bool { return strings.HasSuffix(pkg, "test") }

// picture has a line for each package, the highest first: a package is higher than all that it
// imports. What follows from other imports is left out.
func picture(imports map[string][]string) string {
	width := 0
	for pkg := range imports {
		width = max(width, len(pkg))
	}
	height := heights(imports)
	names := slices.SortedFunc(maps.Keys(imports), func(a, b string) int {
		return cmp.Or(height[b]-height[a], cmp.Compare(a, b))
	})
	var b strings.Builder
	for _, pkg := range names {
		direct := slices.DeleteFunc(slices.Clone(imports[pkg]), func(path string) bool {
			return slices.ContainsFunc(imports[pkg], func(other string) bool { return other != path && reaches(imports, other, path) })
		})
		slices.SortFunc(direct, func(a, b string) int { return cmp.Or(height[b]-height[a], cmp.Compare(a, b)) })
		if len(direct) == 0 {
			fmt.Fprintln(&b, pkg)
			continue
		}
		fmt.Fprintf(&b, "%-*s → %s\n", width, pkg, strings.Join(direct, ", "))
	}
	return b.String()
}

// heights counts, for each package, the longest way down. There are no circles: Go refuses them.
func heights(imports map[string][]string) map[string]int {
	known := make(map[string]int)
	var of func(string) int
	of = func(pkg string) int {
		if h, is := known[pkg]; is {
			return h
		}
		h := 0
		for _, path := range imports[pkg] {
			h = max(h, of(path)+1)
		}
		known[pkg] = h
		return h
	}
	for pkg := range imports {
		of(pkg)
	}
	return known
}

func reaches(imports map[string][]string, from, to string) bool {
	return from == to || slices.ContainsFunc(imports[from], func(path string) bool { return reaches(imports, path, to) })
}

// TestPictureOf: what is high comes first, and what follows from other imports is left out.
func TestPictureOf(t *testing.T) {
	got := picture(gatewayOf(map[string][]string{
		"gateway/top":               {"gateway/middle", "gateway/low", "backends", "elsewhere"},
		"gateway/middle":            {"gateway/low", "gateway/middle/inner"},
		"gateway/middle/inner":      {"gateway/aside"},
		"gateway/middle/middletest": {"gateway/top"},
		"gateway/low":               {"backends"},
		"gateway/aside":             nil,
		"elsewhere":                 {"gateway/top"},
	}))
	want := "top          → middle\nmiddle       → low, middle/inner\nlow          → backends\nmiddle/inner → aside\naside\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
