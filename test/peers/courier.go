//go:build linux

package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StartCourier starts Courier-IMAP, whose mailbox is the folder Maildir of a home.
func StartCourier(t testing.TB, users map[string]string) *Fronted {
	t.Helper()
	libraries := func(programs string) string {
		return "LD_LIBRARY_PATH=" + filepath.Join(programs, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(programs, "usr/lib")
	}
	return startFronted(t, users, unpackedServer{
		name: "courier", program: "usr/bin/imapd", greet: "Courier-IMAP ready.", ready: "front OK",
		prepare: func(programs, home string) {
			for _, arguments := range [][]string{{"Maildir"}, {"-f", "Trash", "Maildir"}, {"-f", "Sent", "Maildir"}} {
				make := exec.Command(filepath.Join(programs, "usr/bin/maildirmake.courier"), arguments...)
				make.Dir, make.Env = home, append(os.Environ(), libraries(programs))
				if out, err := make.CombinedOutput(); err != nil {
					t.Fatalf("maildirmake: %v\n%s", err, out)
				}
			}
		},
		serve: func(programs, home, user string) *exec.Cmd {
			imapd := exec.Command(filepath.Join(programs, "usr/bin/imapd"), "Maildir")
			imapd.Env = []string{
				libraries(programs), "HOME=" + home, "MAILDIR=Maildir", "AUTHENTICATED=" + user, "AUTHADDR=" + user, "IMAPLOGINTAG=front",
				"PROTOCOL=IMAP", "TCPREMOTEIP=127.0.0.1", "TCPREMOTEPORT=1", "IMAP_KEYWORDS=1", "IMAP_ACL=1", "IMAP_USELOCKS=1", "IMAP_TRASHFOLDERNAME=Trash",
				"IMAP_CAPABILITY=IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE",
			}
			return imapd
		},
	})
}
