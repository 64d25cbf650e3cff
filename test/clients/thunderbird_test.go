//go:build linux

package clients

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// bird is a Thunderbird that runs.
type bird struct {
	*application
	*marionette
}

// birdAccount is one of its accounts; its key is the number.
type birdAccount struct {
	account
	number     int
	submission string // the port
	friend     harness.User
}

// TestThunderbird has Thunderbird fetch the mail of three accounts, one for each mode, and leave
// it, show a message, and send one from its window; started again it fetches nothing twice, and
// deletes what it has.
func TestThunderbird(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{PlaintextLogin: true})
	desktop := account{home: t.TempDir(), ca: g.Authority.CAFile}.onDesktop(t)
	messages := contents(t, everyday...)
	var accounts []birdAccount
	for i, m := range everyMode {
		user := g.AddUser(t, "thunderbird-"+string(m))
		deliver(t, g, user, messages)
		a := newAccount(t, g, m, protocolOf(m, "pop3", "pop3s"), user)
		a.home, a.display = desktop.home, desktop.display
		accounts = append(accounts, birdAccount{
			account: a, number: i + 1, submission: g.Port(protocolOf(m, "submission", "submissions")),
			friend: g.AddUser(t, "thunderbird-"+string(m)+"-to"),
		})
	}

	b := openBird(t, desktop, accounts, false)
	b.trust(t, accounts)
	b.fetch(t, g, accounts, len(messages), 0)
	for _, a := range accounts {
		t.Run(string(a.mode), func(t *testing.T) {
			b.wantShown(t, a, len(messages))
			b.picture(t, "shown")
			wantSame(t, b.kept(t, a), messages, inMbox)
			place := g.Log.Len()
			b.send(t, a)
			g.Log.Wait(t, place, `"protocol":"submission`, `"from":"`+a.user+`"`, `"code":250`)
			wantLetter(t, fetchAndDelete(t, g, a.friend))
		})
	}
	b.quit(t)

	b = openBird(t, desktop, accounts, true)
	b.fetch(t, g, accounts, 0, len(messages))
	b.quit(t)
	for _, a := range accounts {
		wantMessages(t, g, harness.User{Address: a.user, Password: a.password}, 0)
	}
}

// openBird writes a profile's settings and starts the program with it.
func openBird(t *testing.T, desktop account, accounts []birdAccount, remove bool) *bird {
	t.Helper()
	profile := filepath.Join(desktop.home, "profile")
	if err := os.MkdirAll(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(profile, "MarionetteActivePort"))
	desktop.write(t, "profile/user.js", birdSettings(accounts, remove))
	app := desktop.open(t, "thunderbird", "--profile", profile, "--no-remote", "--marionette", "--remote-allow-system-access")
	return &bird{application: app, marionette: openMarionette(t, profile)}
}

// birdSettings are the lines of a user.js: the accounts, and nothing that leaves this machine or
// asks its user anything.
func birdSettings(accounts []birdAccount, remove bool) string {
	var lines strings.Builder
	set := func(name string, value any) {
		if text, ok := value.(string); ok {
			value = strconv.Quote(text)
		}
		fmt.Fprintf(&lines, "user_pref(%q, %v);\n", name, value)
	}
	var keys, smtp []string
	for _, a := range accounts {
		n := strconv.Itoa(a.number)
		keys, smtp = append(keys, "account"+n), append(smtp, "smtp"+n)
		security := map[mode]int{cleartext: 0, starttls: 2, implicit: 3}[a.mode]
		for name, value := range map[string]any{
			"account.account" + n + ".identities": "id" + n, "account.account" + n + ".server": "server" + n,
			"server.server" + n + ".type": "pop3", "server.server" + n + ".hostname": "localhost",
			"server.server" + n + ".port": number(a.port), "server.server" + n + ".socketType": security,
			"server.server" + n + ".userName": a.user, "server.server" + n + ".name": a.user,
			"server.server" + n + ".leave_on_server":  !remove,
			"server.server" + n + ".login_at_startup": false, "server.server" + n + ".check_new_mail": false,
			"identity.id" + n + ".fullName": "Erika", "identity.id" + n + ".useremail": a.user,
			"identity.id" + n + ".smtpServer": "smtp" + n, "identity.id" + n + ".valid": true,
			"smtpserver.smtp" + n + ".hostname": "localhost", "smtpserver.smtp" + n + ".port": number(a.submission),
			"smtpserver.smtp" + n + ".username": a.user, "smtpserver.smtp" + n + ".try_ssl": security,
			"smtpserver.smtp" + n + ".authMethod": 3,
		} {
			set("mail."+name, value)
		}
	}
	for name, value := range map[string]any{
		"mail.accountmanager.accounts": strings.Join(keys, ","), "mail.accountmanager.defaultaccount": keys[0],
		"mail.smtpservers": strings.Join(smtp, ","), "mail.smtp.defaultserver": smtp[0],
		"mail.provider.suppress_dialog_on_startup": true, "mail.shell.checkDefaultClient": false,
		"mail.rights.version": 1, "mail.warn_on_send_accel_key": false, "mailnews.start_page.enabled": false,
		"mailnews.send_plaintext_flowed": false, "mail.strictly_mime": true, "mailnews.show_send_progress": false, "app.donation.eoy.version.viewed": 999,
		"datareporting.policy.dataSubmissionEnabled": false, "toolkit.telemetry.enabled": false, "app.update.enabled": false,
		"marionette.port": 0,
		// Whatever else it asks of the web goes to a port where nobody is.
		"network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9,
		"network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9, "network.dns.disablePrefetch": true,
	} {
		set(name, value)
	}
	return lines.String()
}

// number is a port as a setting has it.
func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

// trust has it trust the tests' authority and know the passwords.
func (b *bird) trust(t *testing.T, accounts []birdAccount) {
	t.Helper()
	content, err := os.ReadFile(b.ca)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	var logins [][]string
	for _, a := range accounts {
		logins = append(logins, []string{"mailbox://localhost", a.user, a.password}, []string{"smtp://localhost", a.user, a.password})
	}
	b.wantDone(t, `
		Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(args[0], "CT,,");
		for (const [origin, user, password] of args[1]) {
			const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
			login.init(origin, null, origin, user, password, "", "");
			await Services.logins.addLoginAsync(login);
		}
		return "done";`, base64.StdEncoding.EncodeToString(block.Bytes), logins)
}

// wantDone runs a script that says at its end that it is done.
func (b *bird) wantDone(t *testing.T, body string, args ...any) {
	t.Helper()
	if said := b.script(t, body, args...); said != "done" {
		t.Fatalf("the script says %v:\n%s", said, body)
	}
}

// fetch has it fetch the mail of all accounts, and wants that many messages to be retrieved and
// deleted in each session.
func (b *bird) fetch(t *testing.T, g *harness.Gateway, accounts []birdAccount, retrieved, deleted int) {
	t.Helper()
	place := g.Log.Len()
	b.wantDone(t, `
		for (const account of MailServices.accounts.accounts)
			if (account.incomingServer.type == "pop3")
				account.incomingServer.getNewMessages(account.incomingServer.rootFolder, msgWindow, null);
		return "done";`)
	for _, a := range accounts {
		wantSession(t, g, a.user, place, retrieved, deleted)
	}
}

// sample is in the message that is shown, in ISO 8859-1.
const sample = "Grüße aus Köln, garçon, niño, ÿ"

// wantShown selects an account's inbox and a message in it, and waits until its text is in the
// window and its list has them all.
func (b *bird) wantShown(t *testing.T, a birdAccount, all int) {
	t.Helper()
	harness.Eventually(t, patience, "the message shown", func() bool {
		shown, _ := b.script(t, `
			const server = MailServices.accounts.getAccount(args[0]).incomingServer;
			const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
			const pane = document.getElementById("tabmail").currentAbout3Pane;
			if (pane.gFolder != inbox) pane.displayFolder(inbox.URI);
			const wanted = [...inbox.messages].find(message => message.subject == "iso-8859-1");
			if (!wanted || pane.gDBView.rowCount != args[1]) return "";
			const row = pane.gDBView.findIndexOfMsgHdr(wanted, false);
			if (pane.threadTree.selectedIndex != row) pane.threadTree.selectedIndex = row;
			const message = document.getElementById("tabmail").currentAboutMessage;
			const shown = message.getMessagePaneBrowser().contentDocument;
			if (!shown.URL.includes(inbox.filePath.path + "?")) return "";
			await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
			return shown.body.textContent;`,
			"account"+strconv.Itoa(a.number), all).(string)
		return strings.Contains(shown, sample)
	})
}

// kept are the messages in the file of an account's inbox.
func (b *bird) kept(t *testing.T, a birdAccount) [][]byte {
	t.Helper()
	path, _ := b.script(t, `
		const server = MailServices.accounts.getAccount(args[0]).incomingServer;
		return server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox).filePath.path;`, "account"+strconv.Itoa(a.number)).(string)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return splitMbox(content)
}

// send has a window for a new message opened, with a letter in it, and sends it by a key.
func (b *bird) send(t *testing.T, a birdAccount) {
	t.Helper()
	b.wantDone(t, `
		const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
		[fields.to, fields.subject, fields.body] = args.slice(1);
		const parameters = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
		parameters.identity = MailServices.accounts.allIdentities.find(identity => identity.email == args[0]);
		parameters.composeFields = fields;
		parameters.format = Ci.nsIMsgCompFormat.PlainText;
		MailServices.compose.OpenComposeWindowWithParams(null, parameters);
		return "done";`, a.user, a.friend.Address, "A letter", letter)
	window := b.window(t, "^Write: A letter")
	b.picture(t, "written")
	b.press(t, window, "ctrl+Return")
}

// quit has it end as its menu does. Now and then it hangs at that, without an answer: it is ended then, as what it
// remembers of mail is written before.
func (b *bird) quit(t *testing.T) {
	t.Helper()
	b.ask(t, "Marionette:Quit", map[string]any{"flags": []string{"eAttemptQuit"}})
	select {
	case <-b.exited:
	case <-time.After(patience):
		t.Log("it hangs at its end")
		b.end()
		<-b.exited
	}
}
