//go:build linux

package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Mailutils is a running GNU Mailutils imap4d behind a front.
type Mailutils struct {
	IMAP string // host:port, without TLS
	Dir  string // of the users' folders, by user
}

// StartMailutils starts one for these users; nil: ada and bob, as with Dovecot. ./test/run unpacks its
// packages into test/.work/mailutils.
func StartMailutils(t *testing.T, users map[string]string) *Mailutils {
	t.Helper()
	root := unpacked(t, "mailutils", "usr/sbin/imap4d")
	m := &Mailutils{Dir: t.TempDir()}
	programs := copied(t, root)
	uid, gid, _ := unprivileged(t)
	users = usual(users)
	for user := range users {
		home := filepath.Join(m.Dir, user)
		for _, folder := range []string{"INBOX", "Trash", "Sent"} {
			for _, part := range []string{"new", "cur", "tmp"} {
				if err := os.MkdirAll(filepath.Join(home, folder, part), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(t, filepath.Join(home, "imap4d.conf"), fmt.Sprintf(mailutilsConfig, home, home))
	}
	giveAway(t, m.Dir, uid, gid)
	f := &front{users: users, greet: "GNU imap4d ready", ready: "* PREAUTH", serve: func(user string) *exec.Cmd {
		home := filepath.Join(m.Dir, user)
		imap4d := exec.Command(filepath.Join(programs, "usr/sbin/imap4d"), "--config-file", filepath.Join(home, "imap4d.conf"), "--inetd", "--preauth")
		imap4d.Dir = home
		imap4d.Env = []string{"HOME=" + home, "LD_LIBRARY_PATH=" + filepath.Join(programs, "usr/lib/x86_64-linux-gnu")}
		imap4d.SysProcAttr = as(uid, gid)
		return imap4d
	}}
	m.IMAP = f.start(t)
	return m
}

const mailutilsConfig = `mailbox { mailbox-type maildir; mailbox-pattern "maildir:%s/INBOX"; };
namespace personal { prefix "" { directory "%s"; delimiter "/"; mailbox-type maildir; }; };
logging { syslog no; };
`
