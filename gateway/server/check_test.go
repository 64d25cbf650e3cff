package server

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
)

// TestPolicyProblems: what a store cannot do is told of each level at which it stands, with its place,
// and with what can be written there.
func TestPolicyProblems(t *testing.T) {
	const file = `policy: {body: html}
stores:
  - name: one
    plugin: maildir
    domains: [one.example]
    policy: {encoding: uuencode, charset: koi8-r, rich_text: true}
    mailboxes:
      - {address: ada@one.example, policy: {body: both, deleted: trash}}
      - {address: bob@one.example, policy: {body: enriched, encoding: mime}}
`
	cfg, err := config.Parse("gate.yaml", "/", []byte(file), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	uuencode := []backends.Encoding{backends.EncodingUUENCODE}
	for name, tt := range map[string]struct {
		can    backends.Reading
		reader bool
		want   []string
	}{
		"messages as they came": {backends.Reading{}, true, []string{
			`gate.yaml:8:57: stores[0].mailboxes[0].policy.deleted: "trash" is what the backend of store one, fake, cannot do with deleted messages (write remove or keep)`,
			`gate.yaml:6:14: stores[0].policy.encoding: "uuencode" is what the backend of store one, fake, cannot render messages with (write mime)`,
			`gate.yaml:1:10: policy.body: "html" is what the backend of store one, fake, cannot render messages with (write best)`,
			`gate.yaml:8:45: stores[0].mailboxes[0].policy.body: "both" is what the backend of store one, fake, cannot render messages with (write best)`,
			`gate.yaml:9:45: stores[0].mailboxes[1].policy.body: "enriched" is what the backend of store one, fake, cannot render messages with (write best)`,
		}},
		"some": {backends.Reading{
			Disposals: []backends.Disposal{backends.DisposalTrash}, Encodings: uuencode,
			Bodies: []backends.BodyForm{backends.BodyText, backends.BodyHTML, backends.BodyTextAndHTML},
		}, true, []string{
			`gate.yaml:9:45: stores[0].mailboxes[1].policy.body: "enriched" is what the backend of store one, fake, cannot render messages with (write best or text or html or both)`,
		}},
		"it is not read": {backends.Reading{}, false, nil},
	} {
		can := backends.Description{Name: "fake", Capabilities: backends.Capabilities{Reader: tt.reader}, Reading: tt.can}
		var got []string
		for _, p := range policyProblems(cfg, cfg.Stores[0], can) {
			got = append(got, p.String())
		}
		if g, w := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); g != w {
			t.Errorf("%s:\n%s\nwanted:\n%s", name, g, w)
		}
	}
}
