//go:build linux

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reader fetches all messages of a maildrop with a client, and deletes them where it is asked to.
type reader struct {
	name  string
	modes []mode
	fetch func(t *testing.T, a account, remove bool) [][]byte
	// changes is what the client itself does to a message; nil: nothing.
	changes func(string) string
}

var everyMode = []mode{cleartext, starttls, implicit}

var readers = []reader{
	{name: "curl", modes: everyMode, fetch: readCurl},
	{name: "fetchmail", modes: everyMode, fetch: readFetchmail},
	{name: "getmail", modes: []mode{cleartext, implicit}, fetch: readGetmail, changes: unfolded}, // it has no STLS
	{name: "mpop", modes: everyMode, fetch: readMpop},
	{name: "mutt", modes: everyMode, fetch: readMutt("mutt")},
	{name: "neomutt", modes: everyMode, fetch: readMutt("neomutt")},
	{name: "s-nail", modes: everyMode, fetch: readSNail, changes: inMbox},
	{name: "alpine", modes: everyMode, fetch: readAlpine, changes: inMbox},
	{name: "poplib", modes: everyMode, fetch: readPoplib},
	{name: "Net-POP3", modes: everyMode, fetch: readNetPOP3},
	{name: "fdm", modes: everyMode, fetch: readFdm},
	{name: "ruby-net-pop", modes: []mode{cleartext, implicit}, fetch: readNetPOP},            // it has no STLS
	{name: "Mail-POP3Client", modes: []mode{cleartext, implicit}, fetch: readMailPOP3Client}, // nor has this
	{name: "node-pop3", modes: []mode{cleartext, implicit}, fetch: readNodePOP3},             // nor this
}

var fold = regexp.MustCompile(`\n[ \t]+`)

// unfolded undoes the folding of header fields, which Python's email package does anew.
func unfolded(message string) string {
	header, body, _ := strings.Cut(message, "\n\n")
	return fold.ReplaceAllString(header, " ") + "\n\n" + body
}

var quotedFrom = regexp.MustCompile(`(?m)^>+From `)

// inMbox forgets what an mbox file does not tell: how many empty lines were at the end, and
// whether a quoted From line was quoted before.
func inMbox(message string) string {
	return strings.TrimRight(quotedFrom.ReplaceAllString(message, "From "), "\n") + "\n"
}

func readCurl(t *testing.T, a account, remove bool) [][]byte {
	url := map[mode]string{cleartext: "pop3://localhost:", starttls: "pop3://localhost:", implicit: "pop3s://localhost:"}[a.mode] + a.port + "/"
	options := []string{"curl", "-sS", "--user", a.user + ":" + a.password, "--cacert", a.ca}
	if a.mode == starttls {
		options = append(options, "--ssl-reqd")
	}
	// One curl is one session: it keeps its connection from one URL to the next.
	got := a.folder(t, "got")
	retr, dele := slices.Clone(options), append(slices.Clone(options), "--head", "--request", "DELE")
	for line := range strings.Lines(string(a.run(t, nil, append(slices.Clone(options), url)...))) {
		number, _, _ := strings.Cut(line, " ")
		retr = append(retr, "--output", filepath.Join(got, number), url+number)
		dele = append(dele, "--output", filepath.Join(a.home, "answer"), url+number)
	}
	a.run(t, nil, retr...)
	if remove {
		a.run(t, nil, dele...)
	}
	return files(t, got)
}

// mda writes a program that puts its standard input into a new file of a folder.
func mda(t *testing.T, a account, folder string) string {
	return a.script(t, "mda", "#!/bin/sh\nexec cat > \"$(mktemp "+folder+"/XXXXXXXX)\"\n")
}

func readFetchmail(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	security := map[mode]string{
		cleartext: `sslproto ''`,
		starttls:  `sslproto 'TLS1.2+' sslcertck sslcertfile "{ca}"`,
		implicit:  `ssl sslcertck sslcertfile "{ca}"`,
	}[a.mode]
	keep := map[bool]string{true: "nokeep", false: "keep"}[remove]
	rc := a.write(t, "fetchmailrc", a.fill(`poll localhost proto POP3 port {port} user "{user}" password "{password}" `+
		security+` `+keep+` fetchall no rewrite mda "`+mda(t, a, got)+`"`+"\n"))
	a.run(t, nil, "fetchmail", "-f", rc, "--nodetach", "--nosyslog", "--pidfile", filepath.Join(a.home, "fetchmail.pid"))
	return files(t, got)
}

// readGetmail gives it a program that ends when it is waited for: getmail does not notice the end
// of one that is faster than it is, and gives up after three minutes.
func readGetmail(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	program := a.script(t, "deliver", "#!/bin/sh\n"+mda(t, a, got)+`
# A handler for SIGCHLD is there, and it sleeps.
until tr '\n' ' ' </proc/$PPID/status | grep -q 'State:.S .*SigCgt:.[0-9a-f]*[13579bdf][0-9a-f]\{4\} '; do :; done
`)
	kind := map[mode]string{cleartext: "SimplePOP3Retriever", implicit: "SimplePOP3SSLRetriever\nca_certs = {ca}"}[a.mode]
	dir := a.folder(t, "getmail")
	a.write(t, "getmail/getmailrc", a.fill("[retriever]\ntype = "+kind+"\nserver = localhost\nport = {port}\nusername = {user}\npassword = {password}\n"+
		"[destination]\ntype = MDA_external\npath = "+program+"\nallow_root_commands = true\n"+
		fmt.Sprintf("[options]\nread_all = true\ndelete = %t\ndelivered_to = false\nreceived = false\n", remove)))
	a.run(t, nil, "getmail", "--getmaildir", dir)
	return files(t, got)
}

func readMpop(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got", "new", "cur", "tmp")
	security := map[mode]string{
		cleartext: "tls off\nauth user\n",
		starttls:  "tls on\ntls_starttls on\ntls_trust_file {ca}\n",
		implicit:  "tls on\ntls_starttls off\ntls_trust_file {ca}\n",
	}[a.mode]
	keep := map[bool]string{true: "off", false: "on"}[remove]
	rc := a.write(t, "mpoprc", a.fill("account default\nhost localhost\nport {port}\nuser {user}\npassword {password}\n"+security+
		"keep "+keep+"\nonly_new off\nreceived_header off\nuidls_file {home}/uidls\ndelivery maildir "+got+"\n"))
	a.run(t, nil, "mpop", "-C", rc)
	return files(t, got)
}

// readMutt drives mutt and neomutt, which want a terminal, by keys that are pushed in advance.
func readMutt(program string) func(*testing.T, account, bool) [][]byte {
	return func(t *testing.T, a account, remove bool) [][]byte {
		got := a.folder(t, "got", "new", "cur", "tmp")
		security := map[mode]string{
			cleartext: "set ssl_starttls=no\nset ssl_force_tls=no\n",
			starttls:  "set ssl_starttls=yes\nset ssl_force_tls=yes\n",
			implicit:  "set ssl_force_tls=yes\n",
		}[a.mode]
		scheme := map[mode]string{cleartext: "pop", starttls: "pop", implicit: "pops"}[a.mode]
		keys := map[bool]string{false: "copy-message", true: "save-message"}[remove]
		end := map[bool]string{false: "<exit>", true: "<quit>"}[remove]
		rc := a.write(t, "muttrc", a.fill("set from={user}\nset pop_user=\"{user}\"\nset pop_pass=\"{password}\"\nset pop_checkinterval=0\n"+
			"set ssl_ca_certificates_file={ca}\nset ssl_verify_host=yes\nset quit=yes\nset delete=yes\nset confirmcreate=no\nset confirmappend=no\n"+
			"set folder={home}\nset mbox_type=maildir\nset wait_key=no\nset move=no\nset timeout=1\nset sleep_time=0\n"+security+
			"push \"<tag-pattern>~A<enter><tag-prefix><"+keys+">"+got+"<enter>"+end+"\"\n"))
		a.runOnTerminal(t, program+" -n -F "+rc+" -f "+scheme+"://localhost:"+a.port)
		return files(t, got)
	}
}

func readSNail(t *testing.T, a account, remove bool) [][]byte {
	mbox := filepath.Join(a.home, "got.mbox")
	os.Remove(mbox)
	options := []string{
		"s-nail", "-n", "-#", "-S", "v15-compat", "-S", "inbox=/dev/null", "-S", "netrc-lookup=no", "-S", "pop3-auth=plain",
		"-S", "tls-ca-file=" + a.ca, "-S", "tls-ca-no-defaults", "-S", "tls-verify=strict",
	}
	scheme := map[mode]string{cleartext: "pop3", starttls: "pop3", implicit: "pop3s"}[a.mode]
	if a.mode == starttls {
		options = append(options, "-S", "pop3-use-starttls")
	}
	url := scheme + "://" + inURL(a.user) + ":" + inURL(a.password) + "@localhost:" + a.port
	commands := "copy * " + mbox + "\nxit\n"
	if remove {
		commands = "copy * " + mbox + "\ndelete *\nquit\n"
	}
	a.run(t, []byte(commands), append(options, "-f", url)...)
	content, err := os.ReadFile(mbox)
	if err != nil {
		t.Fatal(err)
	}
	return splitMbox(content)
}

// readAlpine drives alpine, which takes a password from the keyboard alone.
func readAlpine(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	mbox := a.write(t, "got/mbox", "") // it asks whether to make a folder that is not there
	security := map[mode]string{cleartext: "/notls", starttls: "/tls", implicit: "/ssl"}[a.mode]
	keep := map[bool]string{false: ",save-will-not-delete", true: ""}[remove]
	rc := a.write(t, "pinerc", a.fill(`inbox-path={localhost:{port}/pop3/user="{user}"`+security+"}INBOX\nsystem-certs-file={ca}\n"+
		"user-domain=store.example\nbusy-cue-rate=0\nstatus-message-delay=-1\nfolder-collections="+got+"/[]\nmail-directory="+got+"\nlast-version-used=6.26\n"+
		"feature-list=enable-aggregate-command-set,quit-without-confirm,expunge-without-confirm,disable-password-file-saving,quell-folder-internal-msg"+keep+"\n"))
	a.runOnTerminal(t, "stty cols 132 rows 40; alpine -i -p "+rc, // its lines are cut at the screen's edge
		line{seen: "ENTER PASSWORD", typed: a.password + "\r"},
		line{seen: "Folder: INBOX", typed: ";aasmbox\rq"}) // select all, apply, save to mbox; quit
	content, err := os.ReadFile(mbox)
	if err != nil {
		t.Fatal(err)
	}
	return splitMbox(content)
}

// inURL is a user or password as it stands in a URL.
func inURL(s string) string { return strings.NewReplacer("@", "%40", " ", "%20").Replace(s) }

// separator is what stands between the messages of an mbox file: who leaves other lines that
// begin with From unquoted counts on the time in this one.
var separator = regexp.MustCompile(`(?m)^From \S+ +\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}.*\n`)

// splitMbox takes an mbox file (with >From quoting, LF line ends) apart.
func splitMbox(content []byte) [][]byte {
	places := separator.FindAllIndex(content, -1)
	var messages [][]byte
	for i, place := range places {
		end := len(content)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		messages = append(messages, content[place[1]:end])
	}
	return messages
}

func readPoplib(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	program := a.write(t, "read.py", `
import poplib, ssl, sys
mode, port, user, password, ca, folder, remove = sys.argv[1:]
poplib._MAXLINE = 1 << 24
context = ssl.create_default_context(cafile=ca)
if mode == "implicit":
    pop = poplib.POP3_SSL("localhost", int(port), context=context, timeout=60)
else:
    pop = poplib.POP3("localhost", int(port), timeout=60)
if mode == "starttls":
    pop.stls(context=context)
pop.user(user)
pop.pass_(password)
count, octets = pop.stat()
total = 0
for n in range(1, count + 1):
    message = b"".join(line + b"\r\n" for line in pop.retr(n)[1])
    assert len(message) == int(pop.list(n).split()[2]), n
    total += len(message)
    open("%s/%d" % (folder, n), "wb").write(message)
    if remove == "true":
        pop.dele(n)
assert total == octets, (total, octets)
assert len(set(pop.uidl()[1])) == (0 if remove == "true" else count)
pop.quit()
`)
	a.run(t, nil, "python3", program, string(a.mode), a.port, a.user, a.password, a.ca, got, fmt.Sprint(remove))
	return files(t, got)
}

func readNetPOP3(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	program := a.write(t, "read.pl", `
use strict; use warnings; use Net::POP3;
my ($mode, $port, $user, $password, $ca, $folder, $remove) = @ARGV;
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => "localhost");
my $pop = Net::POP3->new("localhost", Port => $port, Timeout => 60, $mode eq "implicit" ? (SSL => 1, %tls) : ()) or die "connect: $@";
$pop->starttls(%tls) or die "STLS: $@" if $mode eq "starttls";
my $count = $pop->login($user, $password);
die "login: " . $pop->message unless defined $count;
my $sizes = $pop->list;
for my $n (sort { $a <=> $b } keys %$sizes) {
	my $lines = $pop->get($n) or die "get $n: " . $pop->message;
	open my $out, ">:raw", "$folder/$n" or die $!;
	print $out @$lines;
	close $out;
	$pop->delete($n) or die "delete $n" if $remove eq "true";
}
$pop->quit or die "quit: " . $pop->message;
`)
	a.run(t, nil, "perl", program, string(a.mode), a.port, a.user, a.password, a.ca, got, fmt.Sprint(remove))
	return files(t, got)
}
