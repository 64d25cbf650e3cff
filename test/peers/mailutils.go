//go:build linux

package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StartMailutils starts GNU Mailutils' imap4d, whose folders are Maildirs in a home.
func StartMailutils(t testing.TB, users map[string]string) *Fronted {
	t.Helper()
	return startFronted(t, users, unpackedServer{
		name: "mailutils", program: "usr/sbin/imap4d", greet: "GNU imap4d ready", ready: "* PREAUTH",
		prepare: func(_, home string) {
			for _, folder := range []string{"INBOX", "Trash", "Sent"} {
				for _, part := range []string{"new", "cur", "tmp"} {
					if err := os.MkdirAll(filepath.Join(home, folder, part), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			write(t, filepath.Join(home, "imap4d.conf"), fmt.Sprintf(mailutilsConfig, home, home))
		},
		serve: func(programs, home, _ string) *exec.Cmd {
			imap4d := exec.Command(filepath.Join(programs, "usr/sbin/imap4d"), "--config-file", filepath.Join(home, "imap4d.conf"), "--inetd", "--preauth")
			imap4d.Env = []string{"HOME=" + home, "LD_LIBRARY_PATH=" + filepath.Join(programs, "usr/lib/x86_64-linux-gnu")}
			return imap4d
		},
	})
}

const mailutilsConfig = `mailbox { mailbox-type maildir; mailbox-pattern "maildir:%s/INBOX"; };
namespace personal { prefix "" { directory "%s"; delimiter "/"; mailbox-type maildir; }; };
logging { syslog no; };
`
