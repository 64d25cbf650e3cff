//go:build linux

package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestWinmailMade has a message leave by a route that makes a winmail.dat for a partner: Debian's tnef finds in it what was
// attached. Another recipient of the same message gets it as it was sent.
func TestWinmailMade(t *testing.T) {
	t.Parallel()
	far := (&fakesmtp.Server{}).Start(t)
	g := harness.Start(t, harness.Options{More: harness.Mapping{
		"routes": []harness.Mapping{{
			"name": "partner", "domains": []string{"far.example"}, "to": "smtp", "hosts": []string{far.Address}, "tls": "clear",
			"winmail": "make", "winmail_for": []string{"eve@far.example"},
		}},
		"smtp": harness.Mapping{"relay_for": []string{"127.0.0.0/8"}},
	}})
	const message = "From: sender@corpus.example\r\nSubject: A bill\r\nMessage-ID: <bill@corpus.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nThe bill\r\n--b\r\nContent-Type: application/pdf; name=bill.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--b--\r\n"
	s := mx(t, g)
	if _, err := s.Send(envelope(harness.User{Address: "eve@far.example"}, harness.User{Address: "bob@far.example"}), strings.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
	harness.Eventually(t, 3*time.Minute, "two messages are with the partner", func() bool { return len(far.Received()) == 2 })
	for _, m := range far.Received() {
		if m.Paths[0] == "bob@far.example" {
			if !strings.HasSuffix(m.Content, message) {
				t.Errorf("bob got\n%s", m.Content)
			}
			continue
		}
		if got := unpacked(t, m.Content); got != "%PDF" {
			t.Errorf("tnef finds %q in\n%s", got, m.Content)
		}
	}
}

// unpacked is the file bill.pdf that Debian's tnef finds in the winmail.dat of a message.
func unpacked(t *testing.T, message string) string {
	t.Helper()
	root, err := entity.Read(strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	for part := range root.Leaves() {
		if part.Filename() != "winmail.dat" {
			continue
		}
		octets, err := io.ReadAll(part.Decoded())
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		file := filepath.Join(folder, "winmail.dat")
		if err := os.WriteFile(file, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("tnef", "-C", folder, file).CombinedOutput(); err != nil {
			t.Fatalf("tnef: %v (./test/run install)\n%s", err, out)
		}
		found, err := os.ReadFile(filepath.Join(folder, "bill.pdf"))
		if err != nil {
			t.Error(err)
		}
		return string(found)
	}
	return ""
}
