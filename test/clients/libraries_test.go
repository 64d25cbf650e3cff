//go:build linux

package clients

import (
	"fmt"
	"os"
	"testing"

	"github.com/dipylon/dipylon/test/nodejs"
)

// readFdm has fdm verify by the authorities that OpenSSL is told of in its environment.
func readFdm(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	kind := map[mode]string{cleartext: "pop3", starttls: "pop3", implicit: "pop3s"}[a.mode]
	security := map[mode]string{starttls: " starttls"}[a.mode]
	keep := map[bool]string{false: " keep", true: ""}[remove]
	rc := a.write(t, "fdm.conf", a.fill(`set lock-file "{home}/fdm.lock"`+"\nset no-received\n"+
		`account "test" `+kind+` server "localhost" port {port} user "{user}" pass "{password}"`+security+keep+"\n"+
		`action "keep" pipe "`+mda(t, a, got)+`"`+"\nmatch all action \"keep\"\n"))
	// As root it fetches as a user of its own, who has to find room for what comes.
	a.run(t, nil, "env", "SSL_CERT_FILE="+a.ca, "TMPDIR="+os.TempDir(), "fdm", "-f", rc, "-u", "root", "fetch")
	return files(t, got)
}

func readNetPOP(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	program := a.write(t, "read.rb", `
require "net/pop"
mode, port, user, password, ca, folder, remove = ARGV
pop = Net::POP3.new("localhost", port.to_i)
pop.enable_ssl({verify_mode: OpenSSL::SSL::VERIFY_PEER, ca_file: ca}) if mode == "implicit"
pop.start(user, password) do
  total = 0
  pop.mails.each do |mail|
    mail.unique_id
    content = mail.pop
    raise "#{mail.number}: #{content.bytesize} octets, and not #{mail.length}" unless content.bytesize == mail.length
    total += content.bytesize
    File.binwrite("#{folder}/#{mail.number}", content)
    mail.delete if remove == "true"
  end
  raise "#{total} octets, and not #{pop.n_bytes}" unless total == pop.n_bytes
end
`)
	a.run(t, nil, "ruby", program, string(a.mode), a.port, a.user, a.password, a.ca, got, fmt.Sprint(remove))
	return files(t, got)
}

func readMailPOP3Client(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	program := a.write(t, "read.pl", `
use strict; use warnings; use IO::Socket::SSL; use Mail::POP3Client;
my ($mode, $port, $user, $password, $ca, $folder, $remove) = @ARGV;
IO::Socket::SSL::set_defaults(SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_scheme => "pop3", SSL_verifycn_name => "localhost");
my $pop = Mail::POP3Client->new(HOST => "localhost", PORT => $port, TIMEOUT => 60, USESSL => $mode eq "implicit", AUTH_MODE => "PASS");
$pop->User($user);
$pop->Pass($password);
$pop->Connect or die "connect: " . $pop->Message;
for my $n (1 .. $pop->Count) {
	open my $out, ">:raw", "$folder/$n" or die $!;
	print $out scalar $pop->HeadAndBody($n);
	close $out;
	$pop->Delete($n) or die "delete $n: " . $pop->Message if $remove eq "true";
}
$pop->Close or die "close: " . $pop->Message;
`)
	a.run(t, nil, "perl", program, string(a.mode), a.port, a.user, a.password, a.ca, got, fmt.Sprint(remove))
	return files(t, got)
}

func sendRubySMTP(t *testing.T, a account, to string, messages [][]byte) {
	program := a.write(t, "send.rb", `
require "net/smtp"
mode, port, user, password, ca, to, *files = ARGV
smtp = Net::SMTP.new("localhost", port.to_i)
context = Net::SMTP.default_ssl_context
context.cert_store = OpenSSL::X509::Store.new.add_file(ca)
context.verify_mode = OpenSSL::SSL::VERIFY_PEER
smtp.disable_tls; smtp.disable_starttls
smtp.enable_tls(context) if mode == "implicit"
smtp.enable_starttls(context) if mode == "starttls"
smtp.start("client.corpus.example", user, password, :plain) do
  files.each { |file| smtp.send_message(File.binread(file), user, to) }
end
`)
	a.run(t, nil, append([]string{"ruby", program, string(a.mode), a.port, a.user, a.password, a.ca, to}, a.writeAll(t, messages)...)...)
}

// node runs a program for Node, which finds the packages that install-node has installed.
func (a account) node(t *testing.T, program string, args ...string) {
	t.Helper()
	a.run(t, nil, append([]string{"env", "NODE_PATH=" + nodejs.Packages(), "NODE_EXTRA_CA_CERTS=" + a.ca, "node", program}, args...)...)
}

// readNodePOP3 undoes the dots that this client leaves doubled, and gives back the last line end
// that it takes for the terminator's.
func readNodePOP3(t *testing.T, a account, remove bool) [][]byte {
	got := a.folder(t, "got")
	program := a.write(t, "read.cjs", `
const Pop3 = require("node-pop3"), fs = require("fs");
const [mode, port, user, password, folder, remove] = process.argv.slice(2);
async function main() {
  const pop = new Pop3({host: "localhost", port: Number(port), tls: mode === "implicit", servername: "localhost", user, password, timeout: 60000});
  for (const [number] of await pop.UIDL()) {
    const [, stream] = await pop.command("RETR", number);
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const content = Buffer.concat(chunks).toString("latin1") + "\r\n";
    fs.writeFileSync(folder + "/" + number, content.replace(/^\.\./gm, "."), "latin1");
    if (remove === "true") await pop.DELE(number);
  }
  await pop.QUIT();
}
main().catch(error => { console.error(error); process.exit(1); });
`)
	a.node(t, program, string(a.mode), a.port, a.user, a.password, got, fmt.Sprint(remove))
	return files(t, got)
}

func sendNodemailer(t *testing.T, a account, to string, messages [][]byte) {
	program := a.write(t, "send.cjs", `
const nodemailer = require("nodemailer"), fs = require("fs");
const [mode, port, user, pass, to, ...files] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  pool: true, maxConnections: 1, host: "localhost", port: Number(port), secure: mode === "implicit",
  requireTLS: mode === "starttls", ignoreTLS: mode === "cleartext", auth: {user, pass},
});
async function main() {
  for (const file of files) {
    await transport.sendMail({envelope: {from: user, to, use8BitMime: true}, raw: fs.readFileSync(file)});
  }
  transport.close();
}
main().catch(error => { console.error(error); process.exit(1); });
`)
	a.node(t, program, append([]string{string(a.mode), a.port, a.user, a.password, to}, a.writeAll(t, messages)...)...)
}
