//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/test/owners"
)

// TestRootMakesNothingThatTheServiceCannotUse: the README has root add the first accounts, ask
// "check --connect" and make passwords before the gateway, which is somebody else, has ever run. All
// that such a command, or the backend that it starts, makes belongs to whoever owns the folder around it.
func TestRootMakesNothingThatTheServiceCannotUse(t *testing.T) {
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4711
	} else {
		t.Log("this process is not root: what it makes is its own")
	}
	const whole = `hostname: mail.sakes.example
state: var/state
tls: {certificate: mail.crt, key: mail.key}
listeners: [{protocol: pop3, address: "127.0.0.1:0"}]
stores:
  - name: mail
    plugin: maildir
    domains: [sakes.example]
    settings: {root: var/deep/mail, act_for: true}
`
	const config = "--config=dipylon.yaml"
	add := []string{"maildir", "user", "add", "--root", "var/deep/mail", "anna@sakes.example"}
	for name, commands := range map[string][][]string{
		"accounts":  {add},
		"check":     {{"check", "--connect", config}},
		"passwords": {add, {"password", "add", config, "anna@sakes.example"}},
		"uidl":      {add, {"uidl", "export", config, "--impersonate", "--user", "anna@sakes.example", "mail"}},
		"all, the backend first": {
			{"check", "--connect", config}, add, {"password", "add", config, "anna@sakes.example"}, {"state", "verify", config},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			certificate, key, err := server.MakeSelfSigned("mail.sakes.example", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string]string{"dipylon.yaml": whole, "mail.crt": string(certificate), "mail.key": string(key)} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			home := filepath.Join(dir, "var")
			if err := os.Mkdir(home, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(home, owner, -1); err != nil {
				t.Fatal(err)
			}
			for _, args := range commands {
				command := exec.CommandContext(t.Context(), "dipylon", args...)
				command.Dir, command.Stdin = dir, strings.NewReader("secret\n")
				if out, err := command.CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			owners.Check(t, home, owner, 3)
		})
	}
}
