//go:build linux

package clients

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// mailer is a mail program with windows of the Sylpheed family: an account is a file, mail is
// kept in MH folders, and a program that runs takes commands from a second one.
type mailer struct {
	program  string
	settings string // the folder of its settings
	common   string // what belongs into the file of the settings that are no account's
	// show has the first message of the inbox shown, and waits until it is.
	show func(t *testing.T, app *application, all int)
	send string // the keys that send a message from its window
}

var mailers = []mailer{
	{program: "claws-mail", settings: ".claws-mail", common: "clawsrc", show: selectInClaws, send: "ctrl+Return"},
	{program: "sylpheed", settings: ".sylpheed-2.0", common: "sylpheedrc", show: openInSylpheed, send: "ctrl+shift+e"},
}

// TestMailers has each program fetch mail and leave it, show a message, and send one from its
// window; started again it fetches nothing twice, and deletes what it has.
func TestMailers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{PlaintextLogin: true})
	for _, p := range mailers {
		for _, m := range everyMode {
			t.Run(p.program+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				name := p.program + "-" + string(m)
				user, other := g.AddUser(t, name), g.AddUser(t, name+"-to")
				messages := contents(t, everyday...)
				deliver(t, g, user, messages)
				a := newAccount(t, g, m, protocolOf(m, "pop3", "pop3s"), user).onDesktop(t)
				submission := g.Port(protocolOf(m, "submission", "submissions"))

				p.configure(t, a, submission, false)
				app := p.open(t, a, g, len(messages), 0)
				inbox := filepath.Join(a.home, "Mail", "inbox")
				harness.Eventually(t, patience, "mail in the inbox", func() bool { return len(files(t, inbox)) == len(messages) })
				p.show(t, app, len(messages))
				app.picture(t, "shown")
				wantSame(t, files(t, inbox), messages, nil)
				place := g.Log.Len()
				p.write(t, app, other.Address)
				g.Log.Wait(t, place, `"protocol":"submission`, `"from":"`+user.Address+`"`, `"code":250`)
				wantLetter(t, fetchAndDelete(t, g, other))
				p.exit(t, app)

				p.configure(t, a, submission, true)
				app = p.open(t, a, g, 0, len(messages))
				p.exit(t, app)
				wantMessages(t, g, user, 0)
			})
		}
	}
}

// configure makes an account by the program's files, or changes it.
func (p mailer) configure(t *testing.T, a account, submission string, remove bool) {
	t.Helper()
	for _, dir := range []string{p.settings, "Mail/inbox", "Mail/sent", "Mail/draft", "Mail/queue", "Mail/trash"} {
		if err := os.MkdirAll(filepath.Join(a.home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a.write(t, p.settings+"/"+p.common, "[Common]\nenable_aspell=0\noutgoing_charset=UTF-8\n")
	a.write(t, p.settings+"/folderlist.xml", `<?xml version="1.0" encoding="UTF-8"?>
<folderlist><folder type="mh" name="Mail" path="Mail">
<folderitem name="inbox" type="inbox" path="inbox"/><folderitem name="sent" type="outbox" path="sent"/>
<folderitem name="drafts" type="draft" path="draft"/><folderitem name="queue" type="queue" path="queue"/>
<folderitem name="trash" type="trash" path="trash"/>
</folder></folderlist>
`)
	security := map[mode]string{cleartext: "0", implicit: "1", starttls: "2"}[a.mode]
	removed := map[bool]string{false: "0", true: "1"}[remove]
	// With ssl_certs_auto_accept it takes certificates that are valid, and no others, without asking.
	a.write(t, p.settings+"/accountrc", a.fill("[Account: 1]\naccount_name=test\nis_default=1\nname=Erika\naddress={user}\n"+
		"protocol=0\nreceive_server=localhost\nset_popport=1\npop_port={port}\nssl_pop="+security+"\nuser_id={user}\npassword={password}\n"+
		"receive_at_get_all=1\ninbox=#mh/Mail/inbox\nremove_mail="+removed+"\nmessage_leave_time=0\nmessage_leave_hour=0\n"+
		"smtp_server=localhost\nset_smtpport=1\nsmtp_port="+submission+"\nssl_smtp="+security+"\n"+
		"ssl_certs_auto_accept=1\nuse_smtp_auth=1\nsmtp_user_id={user}\nsmtp_password={password}\n"))
}

// open starts the program, which fetches mail at once, and wants that many messages to be
// retrieved and deleted in its session.
func (p mailer) open(t *testing.T, a account, g *harness.Gateway, retrieved, deleted int) *application {
	t.Helper()
	place := g.Log.Len()
	app := a.open(t, a.trusting(p.program, "--receive-all")...)
	wantSession(t, g, a.user, place, retrieved, deleted)
	return app
}

// exit has the program end as its menu does.
func (p mailer) exit(t *testing.T, app *application) {
	t.Helper()
	app.run(t, nil, p.program, "--exit")
	app.wantEnd(t)
}

// selectInClaws shows the first message in the main window, where it becomes a read one.
func selectInClaws(t *testing.T, app *application, all int) {
	t.Helper()
	app.run(t, nil, "claws-mail", "--select", "#mh/Mail/inbox/1")
	harness.Eventually(t, patience, "one message read", func() bool {
		out, _ := app.command(t.Context(), "claws-mail", "--status-full", "#mh/Mail/inbox").Output()
		numbers, _, _ := strings.Cut(string(out), "#")
		return strings.Join(strings.Fields(numbers), " ") == fmt.Sprint(all-1, all-1, all) // new, unread, all
	})
}

// openInSylpheed shows the first message in a window of its own.
func openInSylpheed(t *testing.T, app *application, _ int) {
	t.Helper()
	app.run(t, nil, "sylpheed", "--open", "#mh/Mail/inbox/1")
	app.window(t, "^prose - Sylpheed$")
}

// letter is what is written in a window and sent from there.
const letter = "First line of a letter\n.a dot begins this one\n\nFrom here on: Grüße, χαίρετε\n"

// write writes a letter in the program's window, and sends it from there.
func (p mailer) write(t *testing.T, app *application, to string) {
	t.Helper()
	mailto := url.URL{Scheme: "mailto", Opaque: to, RawQuery: "subject=A%20letter&body=" + url.PathEscape(letter)}
	app.run(t, nil, p.program, "--compose", mailto.String())
	window := app.window(t, "A letter|Compose message")
	app.picture(t, "written")
	app.press(t, window, p.send)
}

// wantSession waits for the end of a user's next session, and wants it to have retrieved and
// deleted so many messages.
func wantSession(t *testing.T, g *harness.Gateway, user string, place, retrieved, deleted int) {
	t.Helper()
	session := g.Log.Wait(t, place, `"user":"`+user+`"`, `"message":"disconnected"`)
	if got := fmt.Sprint(session.Fields["retr"], session.Fields["deleted"]); got != fmt.Sprint(retrieved, deleted) {
		t.Errorf("%s messages were retrieved and deleted, and should have been %d and %d", got, retrieved, deleted)
	}
}

// wantLetter wants the letter, and nothing else.
func wantLetter(t *testing.T, got [][]byte) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d messages came, and one letter was sent", len(got))
	}
	m, err := mail.ReadMessage(strings.NewReader(string(got[0])))
	if err != nil {
		t.Fatal(err)
	}
	if subject := m.Header.Get("Subject"); subject != "A letter" {
		t.Errorf("the letter's subject is %q", subject)
	}
	body := m.Body
	switch strings.ToLower(m.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(m.Body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, m.Body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") + "\n"; got != letter {
		t.Errorf("the letter is %q", got)
	}
}
