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
	{"gateway/pop3", []string{"gateway/pop3", "gateway/crew", "gateway/endpoint", "gateway/events", "backends/mail/sasl$", "backends/mail/uidl$", "backends/pause$"}},
	{"gateway/smtp", []string{"gateway/smtp", "gateway/crew", "gateway/endpoint", "gateway/events", "backends/mail/address", "backends/mail/sasl$", "backends/mail/xtext$", "backends/peek$"}},
	{"gateway/admin", []string{"gateway/events"}},
	{"gateway/relay/mx", nil},
	// Mail in transit: what takes it out of the spool knows next hops and stores, and neither how mail comes in.
	{"gateway/relay", []string{
		"gateway/content", "gateway/events", "gateway/notice", "gateway/reports", "gateway/receivers", "gateway/relay/mx", "gateway/route", "gateway/spool",
		"gateway/stores", "backends$", "backends/mail",
		"backends/pause$",
	}},
	{"gateway/notice", []string{"backends$", "backends/mail"}},
	{"gateway/attention", nil}, // who has a concern registers it
	{"gateway/crew", nil},
	{"gateway/endpoint", nil},
	{"gateway/events", nil},
	{"gateway/edge", nil},
	// What is kept, and what it means: neither protocol, nor whoever uses it.
	{"gateway/state", []string{"backends/durable$", "backends/tempfolder$", "backends/pause$", "backends/peek$"}},
	{"gateway/spool", []string{"gateway/state", "backends$", "backends/durable$", "backends/mail", "backends/pause$"}},
	{"gateway/quota", []string{"gateway/state"}},
	{"gateway/vault", []string{"gateway/state", "backends$", "backends/vault$"}},
	{"gateway/track", []string{"gateway/admin", "gateway/events", "gateway/state"}},
	{"gateway/folder", []string{"gateway/state", "backends$", "backends/pause$", "backends/mail"}},
	{"gateway/index", []string{"gateway/folder", "gateway/state", "backends$", "backends/mail"}},
	// What knows stores, and no protocol.
	{"gateway/stores", []string{"gateway/stores", "gateway/events", "backends$", "backends/mail"}},
	{"gateway/doctor", []string{"backends$", "backends/mail", "backends/pause$", "backends/probe$"}},
	{"gateway/route", []string{"gateway/stores", "backends/mail"}},
	// What an administrator does with mail in transit, and how a running gateway is asked to do it.
	{"gateway/queue", []string{"gateway/admin", "gateway/events", "gateway/route", "gateway/spool", "backends/mail"}},
	{"gateway/dequeue", []string{"gateway/events", "gateway/route", "gateway/spool"}},
	{"gateway/status", []string{"gateway/admin", "gateway/attention", "gateway/queue"}},
	{"gateway/reports", []string{"gateway/notice", "gateway/route", "gateway/spool", "backends/mail"}},
	{"gateway/login", []string{"gateway/events", "gateway/state", "gateway/stores", "backends$", "backends/argon2id", "backends/mail", "backends/pause$"}},
	{"gateway/passwords", []string{"gateway/login", "gateway/state", "backends$", "backends/mail"}},
	{"gateway/devices", []string{"gateway/content", "gateway/login", "gateway/passwords", "gateway/quota", "gateway/state", "backends$", "backends/mail", "backends/pause$"}},
	{"gateway/policy", []string{"backends$", "backends/mail", "config"}},
	{"gateway/content", []string{"backends/mail", "backends/mapi"}},
	// A protocol on stores: maildrop is POP3's, routing is SMTP's, and neither knows the other.
	{"gateway/replies", []string{"gateway/pop3", "gateway/smtp", "backends$", "backends/mail"}},
	{"gateway/receivers", []string{"gateway/content", "gateway/replies", "gateway/smtp", "gateway/stores", "backends$", "backends/mail"}},
	{"gateway/maildrop", []string{
		"gateway/content", "gateway/devices", "gateway/events", "gateway/folder", "gateway/index", "gateway/login", "gateway/policy",
		"gateway/pop3", "gateway/replies", "gateway/state", "gateway/stores", "backends$", "backends/mail",
	}},
	{"gateway/routing", []string{
		"gateway/content", "gateway/dequeue", "gateway/devices", "gateway/events", "gateway/login", "gateway/notice", "gateway/policy",
		"gateway/receivers", "gateway/replies", "gateway/reports", "gateway/route", "gateway/smtp", "gateway/spool", "gateway/state", "gateway/stores",
		"backends$", "backends/mail",
	}},
	// What stores want sent: which message, and what they are told of it.
	{"gateway/outbox", []string{"gateway/events", "gateway/folder", "gateway/routing", "gateway/stores", "backends$", "backends/pause$"}},
	// Mail of servers elsewhere: how it is read there, and who gets it here.
	{"gateway/collect", []string{
		"gateway/admin", "gateway/content", "gateway/events", "gateway/folder", "gateway/receivers", "gateway/state", "gateway/stores", "backends$", "backends/argon2id$", "backends/mail", "backends/pause$",
	}},
	{"gateway/asking", []string{"gateway/collect", "gateway/folder", "gateway/state", "backends$", "backends/mail", "backends/pause$"}},
	// Whoever puts it all together starts plugins, and knows the configuration.
	{"gateway/server", []string{"gateway", "plugins/host", "backends$", "backends/filelock$", "backends/mail", "backends/probe$", "config"}},
	// What commands and the administration do, without a command line.
	{"gateway/manage", []string{
		"gateway/admin", "gateway/collect", "gateway/devices", "gateway/doctor", "gateway/folder", "gateway/index", "gateway/login", "gateway/maildrop", "gateway/passwords", "gateway/policy", "gateway/queue",
		"gateway/route", "gateway/server", "gateway/spool", "gateway/state", "gateway/status", "gateway/stores", "gateway/vault", "plugins/host", "backends$", "backends/mail",
		"backends/tempfolder$", "config",
	}},
	// The binary has the built-in backends inside.
	{"gateway/dipylon", []string{"gateway", "plugins", "backends", "config"}},
	{"plugins/host", []string{"plugins/host", "plugins/proto", "backends$", "backends/descriptors$", "backends/mail", "backends/tempfolder$", "backends/vault$"}},
	{"plugins/serve", []string{"plugins/serve", "plugins/proto", "backends$", "backends/mail", "backends/vault$"}},
	{"plugins/proto", []string{"plugins/proto", "backends$", "backends/mail", "backends/vault$"}},
	// An example imports no more than somebody else's backend would.
	{"plugins/example-go", []string{"plugins/serve", "backends$", "backends/mail"}},
	{"plugins", []string{"plugins", "backends$"}},
	// What the contract, the configuration and the state share with the backends.
	{"backends/spelling", nil},
	{"backends/vault", nil},
	{"backends/descriptors", nil},
	{"backends/durable", nil},
	{"backends/pause", nil},
	{"backends/peek", nil},
	{"backends/filelock", nil},
	{"backends/pickup", []string{"backends$", "backends/mail"}},
	{"backends/tempfolder", []string{"backends/filelock$"}},
	{"backends/probe", []string{"backends$", "backends/mail"}}, // steps of an examination: stores' and routes'
	{"backends$", []string{"backends/spelling$", "backends/vault$", "backends/mail/sasl$"}}, // the contract
	// Operations as octets, however they travel, and one way that they do.
	{"backends/exchange/dcerpc", nil}, // calls of procedures, whatever they are and whoever signs in
	{"backends/exchange/drop", []string{"backends$", "backends/mail", "backends/durable$", "backends/pause$", "backends/pickup$", "backends/probe$"}}, // files, and no server
	{"backends/exchange/autodiscover", []string{"backends$", "backends/mail", "backends/remote$"}},
	{"backends/exchange/rop", []string{"backends/mapi$", "backends/pause$"}},
	{"backends/exchange/kerberos", []string{"backends/mail/channelbinding$", "backends/mail/fold$"}},
	{"backends/exchange/signin", []string{"backends$", "backends/exchange/kerberos$", "backends/mail", "backends/remote$"}},
	{"backends/exchange/ews", []string{"backends$", "backends/remote$"}},
	{"backends/exchange/mapihttp", []string{"backends$", "backends/exchange/rop$", "backends/mapi$", "backends/remote$"}},
	{"backends/exchange/mapirpc", []string{
		"backends$", "backends/exchange/dcerpc$", "backends/exchange/mapihttp$", "backends/exchange/rop$", "backends/mail/ntlm$", "backends/mapi$", "backends/remote$",
	}},
	// What mail is, for both sides: it knows neither of them.
	// A refresh token is kept in the vault that gateways share, or in a file, which processes lock.
	{"backends/mail/oauth", []string{"backends/mail", "backends/durable$", "backends/filelock$", "backends/pause$", "backends/vault$"}},
	{"backends/mail", []string{"backends/mail"}},
	{"backends/mapi/rtf", []string{"backends/mail"}},              // octets alone, without properties
	{"backends/mapi/recurrence", nil},                             // as rtf
	{"backends/mapi", []string{"backends/mapi", "backends/mail"}}, // knows no store and no network
	{"backends", []string{"backends", "plugins/serve"}},
	{"config", []string{"config", "backends/mail", "backends/spelling$"}},
	{"test/exchange", nil}, // its codec is its own
	{"test/databases", []string{"test", "gateway/state"}},
	{"test/faults", []string{"test", "gateway/spool", "gateway/state"}}, // the ledger reads what waits
	{"test", []string{"test", "plugins", "backends"}},
}

func below(pkg, folder string) bool {
	if itself, alone := strings.CutSuffix(folder, "$"); alone {
		return pkg == itself
	}
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

// wrong says which of a package's imports, of ours, are against the rules.
func wrong(pkg string, imports []string) []string {
	at := slices.IndexFunc(rules, func(r rule) bool { return below(pkg, r.folder) })
	if at < 0 {
		return []string{"(no rule fits " + pkg + ")"}
	}
	var found []string
	for _, theirs := range imports {
		if !slices.ContainsFunc(rules[at].may, func(folder string) bool { return below(theirs, folder) }) {
			found = append(found, theirs)
		}
	}
	return found
}

// packages are all of ours, with what each imports of ours.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var ours []string
		for _, path := range strings.Fields(lines.Text()) {
			if path, is := strings.CutPrefix(path, module); is {
				ours = append(ours, path)
			}
		}
		all[ours[0]] = ours[1:]
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages were found", len(all))
	}
	return all
}

func TestImports(t *testing.T) {
	for pkg, imports := range packages(t) {
		for _, path := range wrong(pkg, imports) {
			t.Errorf("%s must not import %s", pkg, path)
		}
	}
}

// TestRulesRefuse sees to it that the rules can refuse at all.
func TestRulesRefuse(t *testing.T) {
	for _, test := range []struct{ pkg, path string }{
		{"backends", "backends/maildir"},
		{"backends/imap", "config"},
		{"backends/mail/crlf", "backends"},
		{"backends/mail/smtpclient", "backends/remote"},
		{"backends/maildir", "gateway/maildrop"},
		{"config", "backends"},
		{"gateway/folder", "gateway/maildrop"},
		{"gateway/login", "config"},
		{"gateway/maildrop", "backends/maildir"},
		{"gateway/maildrop", "gateway/routing"},
		{"gateway/maildrop", "gateway/smtp"},
		{"gateway/maildrop", "plugins/host"},
		{"gateway/pop3", "backends"},
		{"gateway/routing", "gateway/maildrop"},
		{"gateway/routing", "plugins/serve"},
		{"gateway/server", "backends/maildir"},
		{"gateway/smtp", "gateway/replies"},
		{"gateway/stores", "gateway/login"},
		{"gateway/unheard-of", "backends"},
		{"plugins/example-go", "plugins/host"},
		{"plugins/host", "gateway/routing"},
		{"elsewhere", ""},
	} {
		t.Run(fmt.Sprint(test.pkg, " ", test.path), func(t *testing.T) {
			if len(wrong(test.pkg, []string{test.path})) == 0 {
				t.Errorf("%s may import %s", test.pkg, test.path)
			}
		})
	}
	if found := wrong("gateway/maildrop", []string{"backends", "backends/mail/crlf", "gateway/pop3"}); len(found) > 0 {
		t.Errorf("gateway/maildrop may not import %q", found)
	}
}
