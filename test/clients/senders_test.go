//go:build linux

package clients

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// sender submits messages (in canonical form) with a client: programs are started for each, and
// libraries send all in one session.
type sender struct {
	name  string
	modes []mode
	send  func(t *testing.T, a account, to string, messages [][]byte)
	// composes says that the client makes the message itself: the body it is given is what
	// arrives, behind a header of its own.
	composes bool
}

var senders = []sender{
	{name: "swaks", modes: everyMode, send: each(sendSwaks)},
	{name: "msmtp", modes: everyMode, send: each(sendMsmtp)},
	{name: "curl", modes: everyMode, send: each(sendCurl)},
	{name: "s-nail", modes: everyMode, send: each(sendSNail), composes: true},
	{name: "smtplib", modes: everyMode, send: sendSmtplib},
	{name: "Net-SMTP", modes: everyMode, send: sendNetSMTP},
	{name: "ruby-net-smtp", modes: everyMode, send: sendRubySMTP},
	{name: "nodemailer", modes: everyMode, send: sendNodemailer},
}

// each is a sender of many messages with a client that sends one.
func each(send func(t *testing.T, a account, to string, message []byte)) func(*testing.T, account, string, [][]byte) {
	return func(t *testing.T, a account, to string, messages [][]byte) {
		for _, message := range messages {
			send(t, a, to, message)
		}
	}
}

// writeAll writes messages into files and returns their paths.
func (a account) writeAll(t *testing.T, messages [][]byte) []string {
	t.Helper()
	var paths []string
	for i, message := range messages {
		paths = append(paths, a.write(t, fmt.Sprint("message", i), string(message)))
	}
	return paths
}

func sendSwaks(t *testing.T, a account, to string, message []byte) {
	file := a.write(t, "message", strings.TrimSuffix(string(message), "\r\n")) // swaks adds it
	security := map[mode][]string{
		cleartext: nil,
		starttls:  {"--tls", "--tls-verify", "--tls-ca-path", a.ca},
		implicit:  {"--tlsc", "--tls-verify", "--tls-ca-path", a.ca},
	}[a.mode]
	a.run(t, nil, append([]string{
		"swaks", "--server", "localhost", "--port", a.port, "--from", a.user, "--to", to,
		"--auth", "PLAIN", "--auth-user", a.user, "--auth-password", a.password, "--data", "@" + file,
	}, security...)...)
}

func sendMsmtp(t *testing.T, a account, to string, message []byte) {
	security := map[mode]string{
		cleartext: "tls off\nauth plain\n",
		starttls:  "tls on\ntls_starttls on\ntls_trust_file {ca}\nauth on\n",
		implicit:  "tls on\ntls_starttls off\ntls_trust_file {ca}\nauth login\n",
	}[a.mode]
	rc := a.write(t, "msmtprc", a.fill("account default\nhost localhost\nport {port}\nfrom {user}\nuser {user}\npassword {password}\n"+security))
	a.run(t, bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")), "msmtp", "-C", rc, to)
}

func sendCurl(t *testing.T, a account, to string, message []byte) {
	file := a.write(t, "message", string(message))
	url := map[mode]string{cleartext: "smtp://localhost:", starttls: "smtp://localhost:", implicit: "smtps://localhost:"}[a.mode] + a.port
	options := []string{
		"curl", "-sS", "--url", url, "--user", a.user + ":" + a.password, "--cacert", a.ca,
		"--mail-from", a.user, "--mail-rcpt", to, "--upload-file", file,
	}
	if a.mode == starttls {
		options = append(options, "--ssl-reqd")
	}
	a.run(t, nil, options...)
}

func sendSNail(t *testing.T, a account, to string, message []byte) {
	_, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	scheme := map[mode]string{cleartext: "submission", starttls: "submission", implicit: "submissions"}[a.mode]
	options := []string{
		"s-nail", "-n", "-S", "v15-compat", "-S", "netrc-lookup=no", "-S", "from=" + a.user, "-S", "smtp-auth=plain",
		"-S", "tls-ca-file=" + a.ca, "-S", "tls-ca-no-defaults", "-S", "tls-verify=strict", "-S", "nosave", "-S", "sendwait",
		"-S", "sendcharsets=utf-8", "-S", "mime-encoding=8bit",
	}
	if a.mode == starttls {
		options = append(options, "-S", "smtp-use-starttls")
	}
	mta := fmt.Sprintf("mta=%s://%s:%s@localhost:%s", scheme, inURL(a.user), inURL(a.password), a.port)
	a.run(t, bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), append(options, "-S", mta, "-s", "sent by s-nail", to)...)
}

func sendSmtplib(t *testing.T, a account, to string, messages [][]byte) {
	program := a.write(t, "send.py", `
import smtplib, ssl, sys
mode, port, user, password, ca, to, *files = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if mode == "implicit":
    smtp = smtplib.SMTP_SSL("localhost", int(port), context=context, timeout=60)
else:
    smtp = smtplib.SMTP("localhost", int(port), timeout=60)
if mode == "starttls":
    smtp.starttls(context=context)
smtp.login(user, password)
for file in files:
    message = open(file, "rb").read()
    refused = smtp.sendmail(user, [to], message, mail_options=["BODY=8BITMIME"])
    assert not refused, refused
smtp.quit()
`)
	a.run(t, nil, append([]string{"python3", program, string(a.mode), a.port, a.user, a.password, a.ca, to}, a.writeAll(t, messages)...)...)
}

func sendNetSMTP(t *testing.T, a account, to string, messages [][]byte) {
	program := a.write(t, "send.pl", `
use strict; use warnings; use Net::SMTP;
my ($mode, $port, $user, $password, $ca, $to, @files) = @ARGV;
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => "localhost");
my $smtp = Net::SMTP->new("localhost", Port => $port, Hello => "client.corpus.example", Timeout => 60, $mode eq "implicit" ? (SSL => 1, %tls) : ()) or die "connect: $@";
$smtp->starttls(%tls) or die "STARTTLS: $@" if $mode eq "starttls";
$smtp->auth($user, $password) or die "auth: " . $smtp->message;
for my $file (@files) {
	open my $in, "<:raw", $file or die $!;
	my $message = do { local $/; <$in> };
	$message =~ s/\r\n/\n/g;
	$smtp->mail($user, Bits => "8") && $smtp->to($to) && $smtp->data($message) or die "send: " . $smtp->message;
}
$smtp->quit;
`)
	a.run(t, nil, append([]string{"perl", program, string(a.mode), a.port, a.user, a.password, a.ca, to}, a.writeAll(t, messages)...)...)
}
