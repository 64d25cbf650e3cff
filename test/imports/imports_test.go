// Package imports has the test of which packages may import
// which others.
package imports

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dipylon/dipylon/"

// rule says what the packages below a folder may import of ours. The first rule whose folder
// fits is the one that counts.
type rule struct {
	folder string
	may    []string // folders; a folder stands for all below it, with a "$" at its end for itself alone
}

var rules = []rule{
	// The engines are libraries: they know the protocol and nothing of stores.
	// What an address is, is the protocol's own (RFC 5321 §4.1.2): smtp parses each once, for all
	// who are behind it.
	{"gateway/pop3", []string{"gateway/pop3", "gateway/endpoint", "gateway/events", "backends/mail/sasl$", "backends/mail/uidl$"}},
	{"gateway/smtp", []string{"gateway/smtp", "gateway/endpoint", "gateway/events", "backends/mail/address", "backends/mail/sasl$"}},
	{"gateway/endpoint", nil},
	{"gateway/events", nil},
	// The binary has the built-in backends inside.
	{"gateway/dipylon", []string{"gateway", "plugins", "backends", "config"}},
	{"gateway", []string{"gateway", "plugins/host", "backends$", "backends/mail", "backends/argon2id", "config"}},
	{"plugins/host", []string{"plugins/host", "plugins/proto", "backends$", "backends/mail"}},
	{"plugins/serve", []string{"plugins/serve", "plugins/proto", "backends$", "backends/mail"}},
	{"plugins/proto", []string{"plugins/proto", "backends$", "backends/mail"}},
	// An example imports no more than somebody else's backend would.
	{"plugins/example-go", []string{"plugins/serve", "backends$", "backends/mail"}},
	{"plugins", []string{"plugins", "backends$"}},
	{"backends$", []string{"backends/mail/sasl$"}}, // the contract
	// What mail is, for both sides: it knows neither of them.
	{"backends/mail", []string{"backends/mail"}},
	{"backends", []string{"backends", "plugins/serve"}},
	{"config", []string{"config", "backends/mail"}},
	{"test/databases", []string{"test", "gateway/state"}},
	{"test", []string{"test", "plugins", "backends"}},
}

func below(pkg, folder string) bool {
	if itself, alone := strings.CutSuffix(folder, "$"); alone {
		return pkg == itself
	}
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

// wrong says which imports of a package are against the rules.
func wrong(pkg string, imports []string) []string {
	at := slices.IndexFunc(rules, func(r rule) bool { return below(pkg, r.folder) })
	if at < 0 {
		return []string{"(no rule fits " + pkg + ")"}
	}
	var found []string
	for _, path := range imports {
		theirs, ours := strings.CutPrefix(path, module)
		if ours && !slices.ContainsFunc(rules[at].may, func(folder string) bool { return below(theirs, folder) }) {
			found = append(found, theirs)
		}
	}
	return found
}

func TestImports(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); seen++ {
		fields := strings.Fields(lines.Text())
		pkg := strings.TrimPrefix(fields[0], module)
		for _, path := range wrong(pkg, fields[1:]) {
			t.Errorf("%s must not import %s", pkg, path)
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

// TestRulesRefuse sees to it that the rules can refuse at all.
func TestRulesRefuse(t *testing.T) {
	for pkg, path := range map[string]string{
		"gateway/pop3":             "backends",
		"gateway/smtp":             "gateway/replies",
		"gateway/maildrop":         "backends/maildir",
		"gateway/routing":          "plugins/serve",
		"backends":                 "backends/maildir",
		"backends/maildir":         "gateway/maildrop",
		"backends/mail/crlf":       "backends",
		"backends/mail/smtpclient": "backends/remote",
		"backends/imap":            "config",
		"plugins/host":             "gateway/routing",
		"plugins/example-go":       "plugins/host",
		"config":                   "backends",
		"elsewhere":                "",
	} {
		t.Run(fmt.Sprint(pkg, " ", path), func(t *testing.T) {
			if len(wrong(pkg, []string{module + path})) == 0 {
				t.Errorf("%s may import %s", pkg, path)
			}
		})
	}
	if found := wrong("gateway/maildrop", []string{"fmt", module + "backends", module + "plugins/host", module + "gateway/pop3"}); len(found) > 0 {
		t.Errorf("gateway/maildrop may not import %q", found)
	}
}
