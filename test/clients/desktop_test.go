//go:build linux

package clients

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// patience is how long a program with windows may take for one step: on a busy machine even its start
// takes long. No test waits for it unless something hangs.
const patience = 90 * time.Second

// onDesktop starts an X server without a screen, which ends with the test, and returns an
// account whose programs show their windows there. Each test has its own: windows on one display
// would take the keyboard from each other.
func (a account) onDesktop(t *testing.T) account {
	t.Helper()
	told, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	server := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1280x960x24", "-nolisten", "tcp", "-noreset")
	server.ExtraFiles = []*os.File{tell}
	err = server.Start()
	tell.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	display, err := bufio.NewReader(told).ReadString('\n')
	if err != nil {
		t.Fatalf("the X server does not come up: %v", err)
	}
	a.display = ":" + strings.TrimSpace(display)
	return a
}

// application is a program with windows that runs.
type application struct {
	account
	end    func() // at once
	exited chan struct{}
}

// trusting is a command in front of a program's that trusts the tests' authority and nobody
// else, for programs that know no authorities but the system's: in a mount namespace of its own
// the system's are replaced.
func (a account) trusting(argv ...string) []string {
	const script = `mount --bind "$0" /etc/ssl/certs/ca-certificates.crt && exec "$@"`
	return append([]string{"unshare", "-rm", "sh", "-c", script, a.ca}, argv...)
}

// open starts a program with windows. What it says is in the test's log once it has ended, and
// it ends with the test at the latest.
func (a account) open(t *testing.T, argv ...string) *application {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := a.command(ctx, argv...)
	said := filepath.Join(a.home, "said")
	file, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	app := &application{account: a, end: cancel, exited: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(app.exited)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			app.picture(t, "failed")
		}
		cancel()
		<-app.exited
		if content, err := os.ReadFile(said); err == nil && t.Failed() {
			t.Logf("%s\n%s", strings.Join(argv, " "), content)
		}
	})
	return app
}

// wantEnd wants the program to end by itself.
func (app *application) wantEnd(t *testing.T) {
	t.Helper()
	select {
	case <-app.exited:
	case <-time.After(patience):
		t.Fatal("the program does not end")
	}
}

// window waits for a window with this in its title.
func (app *application) window(t *testing.T, title string) string {
	t.Helper()
	var ids []string
	harness.Eventually(t, patience, "a window named "+title, func() bool {
		out, _ := app.command(t.Context(), "xdotool", "search", "--onlyvisible", "--name", title).Output()
		ids = strings.Fields(string(out))
		return len(ids) > 0
	})
	return ids[0]
}

// press presses keys in a window.
func (app *application) press(t *testing.T, window string, keys ...string) {
	t.Helper()
	app.run(t, nil, append([]string{"xdotool", "windowfocus", "--sync", window, "key", "--delay", "50"}, keys...)...)
}

// picture keeps a picture of the desktop for whoever wants to look at it.
func (app *application) picture(t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv("DIPYLON_ARTEFACTS")
	if folder == "" {
		folder = filepath.Join("..", ".work", "screenshots")
	}
	path, err := filepath.Abs(filepath.Join(folder, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := app.command(context.Background(), "scrot", "--overwrite", path).CombinedOutput(); err != nil {
		t.Errorf("no picture: %v: %s", err, out)
	}
	t.Logf("a picture of it: %s", path)
}
