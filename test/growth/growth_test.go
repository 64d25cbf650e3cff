//go:build linux

package growth

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/growth/scan"
)

// growthMost is by how much the work may grow when the input does fourfold: n log n is under 5
// for each n here, n√n is 8, and n² is 16.
const growthMost = 6

// pass is work on an input whose length is proportional to n.
type pass struct {
	name string
	n    int
	run  func(t *testing.T, n int)
}

// chosen, in the environment of the test that counts, is a pass and an n.
const chosen = "DIPYLON_GROWTH"

// TestGrowth: no pass over what a stranger sent takes more than n log n (I11).
func TestGrowth(t *testing.T) {
	binary := counting(t)
	for i, p := range passes {
		t.Run(p.name, func(t *testing.T) {
			some, many := binary.count(t, fmt.Sprintf("p %d %d", i, p.n)), binary.count(t, fmt.Sprintf("p %d %d", i, 4*p.n))
			compare(t, "steps", some.steps, many.steps)
			compare(t, "octets allocated", some.octets, many.octets)
		})
	}
}

func compare(t *testing.T, what string, some, many int64) {
	t.Helper()
	if some == 0 || float64(many)/float64(some) > growthMost {
		t.Errorf("%d %s became %d with four times the input", some, what, many)
	}
}

// TestCounting: what is quadratic is seen to be, also where only scanning or copying is.
func TestCounting(t *testing.T) {
	binary := counting(t)
	for i, p := range quadratic {
		t.Run(p.name, func(t *testing.T) {
			some, many := binary.count(t, fmt.Sprintf("q %d %d", i, p.n)), binary.count(t, fmt.Sprintf("q %d %d", i, 4*p.n))
			if 10*some.steps > many.steps && 10*some.octets > many.octets {
				t.Errorf("%+v and %+v do not show it", some, many)
			}
		})
	}
}

// TestPass is one pass in the binary that counts.
func TestPass(t *testing.T) {
	var kind string
	var i, n int
	if _, err := fmt.Sscan(os.Getenv(chosen), &kind, &i, &n); err != nil {
		return // it is run on the side of the others, which ask for it
	}
	p := map[string][]pass{"p": passes, "q": quadratic}[kind][i]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.run(t, n)
	runtime.ReadMemStats(&after)
	fmt.Printf("allocated %d\n", after.TotalAlloc-before.TotalAlloc)
}

// counter is the binary that counts.
type counter string

type work struct{ steps, octets int64 }

func (c counter) count(t *testing.T, what string) (w work) {
	t.Helper()
	profile := filepath.Join(t.TempDir(), "profile")
	command := exec.CommandContext(t.Context(), string(c), "-test.run=^TestPass$", "-test.coverprofile="+profile, "-test.timeout=5m")
	command.Env = append(os.Environ(), chosen+"="+what)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "allocated ")
	if _, err := fmt.Sscan(text, &w.octets); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.Open(profile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if bytes.HasSuffix(lines.Bytes(), []byte(" 0")) {
			continue // it was not run, as most of it
		}
		// where statements count
		if fields := strings.Fields(lines.Text()); len(fields) == 3 {
			statements, _ := strconv.ParseInt(fields[1], 10, 64)
			count, _ := strconv.ParseInt(fields[2], 10, 64)
			w.steps += statements * count
		}
	}
	return w
}

// ours are the packages that look at what a stranger sent.
var ours = []string{
	"backends", "backends/mail/buffer", "backends/mail/crlf", "backends/mail/header", "backends/mail/smtpclient", "backends/maildir", "backends/mail/uidl",
	"backends/mail/address", "backends/mail/entity", "backends/mail/htmltext", "backends/mapi", "backends/mapi/fasttransfer", "backends/mapi/mime", "backends/mapi/recurrence", "backends/mapi/msg", "backends/mapi/rtf", "backends/mapi/tnef", "gateway/content", "gateway/index", "gateway/pop3", "gateway/routing", "gateway/smtp",
	"test/growth/scan",
}

const module = "github.com/dipylon/dipylon/"

// built is where the binary that counts is, for all tests: "" before the first.
var built string

// TestMain removes it.
func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(filepath.Dir(built)) // the system's folder of temporary files is swept by others
	}
	os.Exit(code)
}

// counting builds the binary that counts, if it was not built yet.
func counting(t *testing.T) counter {
	t.Helper()
	if built != "" {
		return counter(built)
	}
	dir, err := os.MkdirTemp("", "dipylon-growth-*")
	if err != nil {
		t.Fatal(err)
	}
	built = filepath.Join(dir, "growth.test")
	counted := "net/mail,golang.org/x/net/idna," + module + strings.Join(ours, ","+module)
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-covermode=atomic", "-coverpkg="+counted, "-overlay="+overlay(t, dir), "-o", built, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return counter(built)
}

var (
	fast    = regexp.MustCompile(`\b(bytes|strings)\.(` + strings.Join(scan.Functions, "|") + `)\(`)
	imports = regexp.MustCompile(`(?m)^package \w+$`)
)

// overlay has our packages look for octets in Go, with package scan, where it counts.
func overlay(t *testing.T, dir string) string {
	t.Helper()
	replaced := make(map[string]string)
	for _, p := range ours {
		files, err := filepath.Glob(filepath.Join("../..", p, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", p, err)
		}
		for _, file := range files {
			if to := filepath.Join(dir, strconv.Itoa(len(replaced))+".go"); !strings.HasSuffix(file, "_test.go") && slow(t, file, to) {
				from, err := filepath.Abs(file)
				if err != nil {
					t.Fatal(err)
				}
				replaced[from] = to
			}
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil || len(replaced) == 0 {
		t.Fatalf("nothing is replaced: %v", err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// slow writes a file that looks for octets with package scan, and says whether there was need.
func slow(t *testing.T, from, to string) bool {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if !fast.Match(text) || !imports.Match(text) {
		return false
	}
	used := make(map[string]bool)
	for _, match := range fast.FindAllSubmatch(text, -1) {
		used[string(match[1])] = true
	}
	text = fast.ReplaceAll(text, []byte("scan.$2("))
	head := imports.FindIndex(text)[1]
	text = slices.Insert(text, head, []byte("; import scan \""+module+"test/growth/scan\"")...)
	for name := range used { // nothing else of it may be left
		text = append(text, "\nvar _ "+name+".Reader\n"...)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return true
}
