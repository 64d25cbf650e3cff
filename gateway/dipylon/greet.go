package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
)

// account is the one that the built-in configuration has.
type account struct {
	address  string
	password string // only when it was made just now
	root     string
}

// firstAccount makes an account in the store of the built-in configuration, if it has none.
func firstAccount(ctx context.Context, cfg *config.Config) (*account, error) {
	store := cfg.Stores[0]
	users, err := maildir.UsersOf(backends.Settings{
		Store: store.Name, Hostname: cfg.Hostname, Domains: store.Domains, Raw: store.Settings.JSON, BaseDir: cfg.Dir(),
	})
	if err != nil {
		return nil, fmt.Errorf("the accounts: %w", err)
	}
	list, err := users.List()
	if err != nil {
		return nil, fmt.Errorf("the accounts: %w", err)
	}
	if len(list) > 0 {
		return &account{address: list[0].Address, root: users.Root}, nil
	}
	made := &account{address: "me@" + store.Domains[0], password: newPassword(), root: users.Root}
	err = users.Add(ctx, maildir.User{Address: made.address}, []byte(made.password))
	if err != nil && !errors.Is(err, maildir.ErrUserExists) {
		return nil, fmt.Errorf("the first account: %w", err)
	}
	return made, nil
}

// greet prints the addresses, and, for whoever has just tried it out, how to use them.
func (r *runner) greet() {
	seen := r.gateway.Snapshot()
	out := r.cmd.OutOrStdout()
	var b strings.Builder
	addresses := make(map[string]string)
	for _, l := range seen.Listeners {
		fmt.Fprintf(&b, "%-12s %s\n", l.Protocol, l.Address)
		addresses[l.Protocol] = l.Address
	}
	if r.account != nil {
		r.account.describe(&b, addresses, server.SelfSignedFiles(seen.Config.StateFolder).Certificate)
	}
	if _, err := fmt.Fprint(out, b.String()); err != nil {
		r.log.Warn().Err(err).Msg("the addresses could not be printed")
	}
}

// describe tells of the account, and how to read and send mail with it.
func (a *account) describe(b *strings.Builder, addresses map[string]string, certificate string) {
	password := a.password
	fmt.Fprintf(b, "\nAccount:  %s\n", a.address)
	if password == "" {
		password = "PASSWORD"
		fmt.Fprintf(b, "Password: the one that was printed when it was made. To set another:\n"+
			"  %s maildir user passwd --root %s %s\n", thisProgram(), quote(a.root), a.address)
	} else {
		fmt.Fprintf(b, "Password: %s   (it is not shown again)\n", password)
	}
	login := "--cacert " + quote(certificate) + " --user " + quote(a.address+":"+password)
	fmt.Fprintf(b, `
Send a message, list the mailbox, and read the first one:
  printf 'From: %[2]s\nSubject: hello\n\nIt works.\n' | curl %[1]s --mail-from %[2]s --mail-rcpt %[2]s --upload-file - --crlf smtps://%[3]s
  curl %[1]s pop3s://%[4]s/
  curl %[1]s pop3s://%[4]s/1
`, login, a.address, addresses[config.ProtocolSubmissions], addresses[config.ProtocolPOP3S])
}

// thisProgram is how to call this program from a shell: "go run" leaves no file that could be called.
func thisProgram() string {
	self, err := os.Executable()
	switch {
	case err != nil:
		return "dipylon"
	case strings.Contains(filepath.ToSlash(self), "/go-build"):
		return "go run ./gateway/dipylon"
	}
	if found, err := exec.LookPath("dipylon"); err == nil {
		if same, err := filepath.EvalSymlinks(found); err == nil && same == self {
			return "dipylon"
		}
	}
	return quote(self)
}

// quote makes one word of a text for a shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-@:+=,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
