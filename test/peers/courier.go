//go:build linux

package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Courier is a running Courier-IMAP server behind a front.
type Courier struct {
	IMAP string // host:port, without TLS
	Dir  string // of the users' Maildirs, by user
}

// StartCourier starts one for these users; nil: ada and bob, as with Dovecot. ./test/run unpacks its
// packages into test/.work/courier.
func StartCourier(t *testing.T, users map[string]string) *Courier {
	t.Helper()
	root := unpacked(t, "courier", "usr/bin/imapd")
	c := &Courier{Dir: t.TempDir()}
	programs := copied(t, root)
	uid, gid, _ := unprivileged(t)
	users = usual(users)
	libraries := "LD_LIBRARY_PATH=" + filepath.Join(programs, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(programs, "usr/lib")
	for user := range users {
		home := filepath.Join(c.Dir, user)
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, arguments := range [][]string{{"Maildir"}, {"-f", "Trash", "Maildir"}, {"-f", "Sent", "Maildir"}} {
			make := exec.Command(filepath.Join(programs, "usr/bin/maildirmake.courier"), arguments...)
			make.Dir, make.Env = home, append(os.Environ(), libraries)
			if out, err := make.CombinedOutput(); err != nil {
				t.Fatalf("maildirmake: %v\n%s", err, out)
			}
		}
	}
	giveAway(t, c.Dir, uid, gid)
	f := &front{users: users, greet: "Courier-IMAP ready.", ready: "front OK", serve: func(user string) *exec.Cmd {
		home := filepath.Join(c.Dir, user)
		imapd := exec.Command(filepath.Join(programs, "usr/bin/imapd"), "Maildir")
		imapd.Dir = home
		imapd.Env = []string{
			libraries, "HOME=" + home, "MAILDIR=Maildir", "AUTHENTICATED=" + user, "AUTHADDR=" + user, "IMAPLOGINTAG=front",
			"PROTOCOL=IMAP", "TCPREMOTEIP=127.0.0.1", "TCPREMOTEPORT=1", "IMAP_KEYWORDS=1", "IMAP_ACL=1", "IMAP_USELOCKS=1", "IMAP_TRASHFOLDERNAME=Trash",
			"IMAP_CAPABILITY=IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE",
		}
		imapd.SysProcAttr = as(uid, gid)
		return imapd
	}}
	c.IMAP = f.start(t)
	return c
}

func usual(users map[string]string) map[string]string {
	if users == nil {
		return map[string]string{"ada@peer.example": "ada-secret", "bob@peer.example": "bob-secret"}
	}
	return users
}

// copied is a copy of unpacked programs that a user who is not root can reach.
func copied(t testing.TB, root string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "programs")
	if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	openUp(t, dir)
	return dir
}

// giveAway makes a user own a folder with all in it.
func giveAway(t testing.TB, dir, uid, gid string) {
	t.Helper()
	openUp(t, dir)
	if os.Geteuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-R", uid+":"+gid, dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
}

// as are the attributes of a process of a user's.
func as(uid, gid string) *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	u, _ := strconv.ParseUint(uid, 10, 32)
	g, _ := strconv.ParseUint(gid, 10, 32)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(g)}}
}
