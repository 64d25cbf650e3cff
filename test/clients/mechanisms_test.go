//go:build linux

package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// identity is somebody who can log in in every way there is.
type identity struct {
	account
	token       string // a bearer token
	application string // an application password of the gateway's
	cert, key   string // files of a client's certificate
}

// secret is what a mechanism wants.
func (i identity) secret(mechanism string) string {
	switch {
	case strings.HasPrefix(mechanism, "SCRAM-"):
		return i.application
	case strings.HasSuffix(mechanism, "OAUTH2"), mechanism == "OAUTHBEARER":
		return i.token
	}
	return i.password
}

// way is a client with a mechanism that it is told to use.
type way struct {
	client, mechanism string
	use               func(t *testing.T, i identity, mechanism string) // fails the test where the login fails
}

// ways of reading: each lists or fetches the one message that there is.
var waysOfReading = []way{
	{"curl", "PLAIN", popCurl},
	{"curl", "LOGIN", popCurl},
	{"curl", "NTLM", popCurl},
	{"curl", "OAUTHBEARER", popCurl},
	{"curl", "EXTERNAL", popCurl},
	{"mpop", "PLAIN", popMpop},
	{"mpop", "LOGIN", popMpop},
	{"mpop", "SCRAM-SHA-256", popMpop},
	{"mpop", "XOAUTH2", popMpop},
	{"mpop", "OAUTHBEARER", popMpop},
	{"mpop", "EXTERNAL", popMpop},
}

// ways of sending: each submits a message.
var waysOfSending = []way{
	{"curl", "PLAIN", smtpCurl},
	{"curl", "LOGIN", smtpCurl},
	{"curl", "NTLM", smtpCurl},
	{"curl", "OAUTHBEARER", smtpCurl},
	{"curl", "EXTERNAL", smtpCurl},
	{"msmtp", "PLAIN", smtpMsmtp},
	{"msmtp", "LOGIN", smtpMsmtp},
	{"msmtp", "SCRAM-SHA-256", smtpMsmtp},
	{"msmtp", "XOAUTH2", smtpMsmtp},
	{"msmtp", "OAUTHBEARER", smtpMsmtp},
	{"msmtp", "EXTERNAL", smtpMsmtp},
	{"swaks", "PLAIN", smtpSwaks},
	{"gsasl", "SCRAM-SHA-256", smtpGsasl},
	{"gsasl", "SCRAM-SHA-256-PLUS", smtpGsasl},
}

// mechanismWorld is a gateway before a store that knows tokens, certificates and exchanges of its
// own, with one account for each way.
func mechanismWorld(t *testing.T, ways map[string][]way) (*harness.Gateway, map[string]identity) {
	t.Helper()
	g := harness.Prepare(t, harness.Options{})
	all := make(map[string]identity)
	var accounts []harness.Mapping
	for protocol, some := range ways {
		for _, w := range some {
			name := strings.ToLower(w.client + "-" + w.mechanism + "-" + protocol)
			i := identity{token: "t0ken-of." + name, account: account{
				mode: implicit, user: name + "@" + harness.Domain, password: "secret of " + name, ca: g.Authority.CAFile, home: t.TempDir(),
			}}
			i.cert, i.key = g.Authority.IssueClient(t, name, i.user)
			accounts = append(accounts, harness.Mapping{
				"user": name, "address": i.user, "password": i.password, "token": i.token, "certificate": digestOf(t, i.cert),
			})
			all[w.client+" "+w.mechanism+" "+protocol] = i
		}
	}
	g.Configure(t, func(o *harness.Options) {
		o.Stores = []harness.Mapping{{
			"name": "memory", "plugin": harness.Mapping{"command": []string{harness.Helper(t, "./test/plugins/memory")}}, "domains": []string{harness.Domain},
			"settings": harness.Mapping{"impersonation": true, "accounts": accounts},
		}}
		var listeners []harness.Mapping
		for _, p := range []string{"pop3", "pop3s", "smtp", "submission", "submissions"} {
			listeners = append(listeners, harness.Mapping{"protocol": p, "address": "127.0.0.1:0", "client_ca": g.Authority.CAFile})
		}
		o.More = harness.Mapping{"listeners": listeners, "login": harness.Mapping{"mechanisms": []string{
			"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", "EXTERNAL", "NTLM",
		}}}
	})
	for key, i := range all {
		if strings.Contains(key, "SCRAM-") {
			out, err := g.Command("password", "add", "--config", g.ConfigFile, i.user).Output()
			if err != nil {
				t.Fatal(err)
			}
			i.application = strings.TrimSpace(string(out))
			all[key] = i
		}
	}
	g.Run(t)
	return g, all
}

func digestOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// TestMechanisms has clients that nobody here wrote log in by each mechanism.
func TestMechanisms(t *testing.T) {
	g, identities := mechanismWorld(t, map[string][]way{"pop3": waysOfReading, "submission": waysOfSending})
	for protocol, ways := range map[string][]way{"pop3": waysOfReading, "submission": waysOfSending} {
		for _, w := range ways {
			t.Run(protocol+"/"+w.client+"/"+w.mechanism, func(t *testing.T) {
				t.Parallel()
				i := identities[w.client+" "+w.mechanism+" "+protocol]
				i.port = g.Port(map[string]string{"pop3": "pop3s", "submission": "submissions"}[protocol])
				if w.client == "gsasl" {
					i.port = g.Port("submission") // it knows STARTTLS alone
				}
				deliver(t, g, harness.User{Address: i.user}, [][]byte{[]byte(testLetter)})
				before := g.Log.Len()
				w.use(t, i, w.mechanism)
				entry := g.Log.Wait(t, before, `"message":"login"`, `"outcome":"accepted"`, i.user[:strings.IndexByte(i.user, '@')])
				if got := entry.Field("mechanism"); got != w.mechanism {
					t.Errorf("the gateway was logged in to by %q", got)
				}
			})
		}
	}
}

const testLetter = "From: erika@corpus.example\r\nSubject: by some mechanism\r\n\r\nIt works.\r\n"

func wantTestLetter(t *testing.T, got []byte) {
	t.Helper()
	if !strings.Contains(strings.ReplaceAll(string(got), "\r\n", "\n"), "\n\nIt works.\n") {
		t.Errorf("got %q", got)
	}
}

// TestMechanismsRefuse has clients whose secrets are wrong, or whose certificate nobody trusts.
func TestMechanismsRefuse(t *testing.T) {
	t.Parallel()
	token := way{client: "curl", mechanism: "OAUTHBEARER"}
	proof := way{client: "msmtp", mechanism: "SCRAM-SHA-256"}
	bound := way{client: "gsasl", mechanism: "SCRAM-SHA-256-PLUS"}
	external := way{client: "curl", mechanism: "EXTERNAL"}
	g, identities := mechanismWorld(t, map[string][]way{"submission": {token, proof, bound, external}})
	find := func(w way, protocol string) identity {
		i := identities[w.client+" "+w.mechanism+" submission"]
		i.port = g.Port(protocol)
		return i
	}
	refused := func(i identity, argv ...string) {
		t.Helper()
		before := g.Log.Len()
		if out, err := i.try(t, strings.NewReader(testLetter), nil, argv...); err == nil {
			t.Errorf("%q is let in: %s", argv, out)
		}
		g.Log.Wait(t, before, `"message":"login"`, `"outcome":"refused"`, i.user[:strings.IndexByte(i.user, '@')])
	}

	i := find(token, "pop3s")
	i.token += "x"
	refused(i, append([]string{"curl", "-sS", "pop3s://localhost:" + i.port}, curlLogin(i, token.mechanism)...)...)

	i = find(proof, "submissions")
	i.application = "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa"
	refused(i, "msmtp", "-C", i.write(t, "msmtprc", "account default\nfrom "+i.user+"\n"+mLogin(i, proof.mechanism)), i.user)

	i = find(bound, "submission")
	refused(i, "gsasl", "--smtp", "--mechanism", bound.mechanism, "--authentication-id", i.user, "--password", i.password,
		"--x509-ca-file", i.ca, "--no-client-first", "localhost", i.port)

	// A certificate of somebody else's authority ends the handshake: nobody gets as far as a login.
	i = find(external, "pop3s")
	i.cert, i.key = harness.NewAuthority(t).IssueClient(t, "stranger", i.user)
	before := g.Log.Len()
	if out, err := i.try(t, strings.NewReader(""), nil, append([]string{"curl", "-sS", "pop3s://localhost:" + i.port}, curlLogin(i, external.mechanism)...)...); err == nil {
		t.Errorf("a stranger is let in: %s", out)
	}
	for _, e := range g.Log.Since(before) {
		if strings.Contains(e.Text, `"message":"login"`) {
			t.Errorf("a stranger has come as far as a login: %s", e.Text)
		}
	}
}

// curlLogin are curl's options for a mechanism.
func curlLogin(i identity, mechanism string) []string {
	options := []string{"--cacert", i.ca, "--login-options", "AUTH=" + mechanism}
	switch mechanism {
	case "OAUTHBEARER": // where it is offered, curl uses it for XOAUTH2 as well
		return append(options, "--user", i.user, "--oauth2-bearer", i.token)
	case "EXTERNAL":
		return append(options, "--user", i.user+":", "--cert", i.cert, "--key", i.key)
	}
	return append(options, "--user", i.user+":"+i.secret(mechanism))
}

func popCurl(t *testing.T, i identity, mechanism string) {
	wantTestLetter(t, i.run(t, nil, append([]string{"curl", "-sS", "pop3s://localhost:" + i.port + "/1"}, curlLogin(i, mechanism)...)...))
}

func smtpCurl(t *testing.T, i identity, mechanism string) {
	file := i.write(t, "message", strings.ReplaceAll(testLetter, "erika@corpus.example", i.user))
	i.run(t, nil, append([]string{
		"curl", "-sS", "smtps://localhost:" + i.port, "--mail-from", i.user, "--mail-rcpt", i.user, "--upload-file", file,
	}, curlLogin(i, mechanism)...)...)
}

// mLogin is what mpop and msmtp are told of a mechanism.
func mLogin(i identity, mechanism string) string {
	text := "host localhost\nport {port}\ntls on\ntls_starttls off\ntls_trust_file {ca}\nauth " + strings.ToLower(mechanism) + "\nuser {user}\n"
	if mechanism == "EXTERNAL" {
		return i.fill(text) + "tls_cert_file " + i.cert + "\ntls_key_file " + i.key + "\n"
	}
	return i.fill(text) + "password " + i.secret(mechanism) + "\n"
}

func popMpop(t *testing.T, i identity, mechanism string) {
	got := i.folder(t, "got", "new", "cur", "tmp")
	rc := i.write(t, "mpoprc", "account default\n"+mLogin(i, mechanism)+"keep on\nuidls_file "+i.home+"/uidls\ndelivery maildir "+got+"\n")
	i.run(t, nil, "mpop", "-C", rc)
	wantTestLetter(t, bytes.Join(files(t, got), nil))
}

func smtpMsmtp(t *testing.T, i identity, mechanism string) {
	rc := i.write(t, "msmtprc", "account default\nfrom "+i.user+"\n"+mLogin(i, mechanism))
	message := strings.ReplaceAll(strings.ReplaceAll(testLetter, "erika@corpus.example", i.user), "\r\n", "\n")
	i.run(t, []byte(message), "msmtp", "-C", rc, i.user)
}

func smtpSwaks(t *testing.T, i identity, mechanism string) {
	i.run(t, nil, "swaks", "--server", "localhost", "--port", i.port, "--from", i.user, "--to", i.user,
		"--auth", mechanism, "--auth-user", i.user, "--auth-password", i.secret(mechanism),
		"--tlsc", "--tls-verify", "--tls-ca-path", i.ca)
}

func smtpGsasl(t *testing.T, i identity, mechanism string) {
	options := []string{
		"gsasl", "--smtp", "--mechanism", mechanism, "--authentication-id", i.user, "--password", i.secret(mechanism),
		"--x509-ca-file", i.ca, "--no-client-first",
	}
	if !strings.HasSuffix(mechanism, "-PLUS") {
		options = append(options, "--no-cb") // or else it tells that somebody has hidden -PLUS from it
	}
	out := i.run(t, nil, append(options, "localhost", i.port)...)
	if !strings.Contains(string(out), "235") {
		t.Errorf("it said %s", out)
	}
}
