package server

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/config"
)

func TestCollectWarnings(t *testing.T) {
	cfg, err := config.Parse("dipylon.yaml", t.TempDir(), []byte(`
stores: [{name: one, plugin: maildir, domains: [one.example]}]
collect:
  - {name: a, protocol: pop3, host: pop.example, tls: none, user: a, password: secret, to: a@one.example}
  - {name: b, protocol: pop3, host: 127.0.0.1, tls: none, user: a, password: secret, to: a@one.example}
  - {name: c, protocol: imap, host: pop.example, user: a, password: secret, to: a@one.example}
  - {name: d, protocol: imap, host: pop.example, user: a, folder: Archive, password: secret, to: a@one.example}
`), config.Options{Builtins: []string{"maildir", "imap"}})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, w := range CollectWarnings(cfg) {
		texts = append(texts, w.Path+": "+w.Text)
	}
	want := "collect[0].tls: the password and all mail can be read on the way to pop.example\n" +
		"collect[2]: it is the mailbox that a collects: each message comes to one of them or to both"
	if got := strings.Join(texts, "\n"); got != want {
		t.Error(got)
	}
}
