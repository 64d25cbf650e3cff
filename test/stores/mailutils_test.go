//go:build linux

package stores

import (
	"maps"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// GNU Mailutils parses a header and writes it anew: blanks about a colon, what follows a NUL, and fields
// that begin with Status go, and an empty line is added behind a header without one. Where it finds no
// header it refuses, and does not say for ever.
var (
	mailutilsRefuses = []string{"header/no-colon", "header/no-blank-line", "header/blank-line-with-space"}
	mailutilsAlters  = []string{
		"octets/all", "octets/nul", "octets/many-nul",
		"header/folded-empty-start", "header/empty-values", "header/no-space", "header/space-before-colon",
		"header/odd-names", "header/mbox-leftovers",
	}
)

// TestMailutils is the store in front of which the others' test cannot be: it does not keep sessions of one
// mailbox apart, and has no UIDPLUS. One session at a time has every message as it was sent, its size, and the
// same unique-ids as the one before.
func TestMailutils(t *testing.T) {
	t.Parallel()
	m := peers.StartMailutils(t, map[string]string{address("corpus"): secret("corpus")})
	s := store{
		plugin: "imap", settings: appendSettings(m.IMAP), families: []string{"octets", "header"},
		refuses: mailutilsRefuses, refusal: "451 4.3.0", alters: mailutilsAlters,
	}
	g := front(t, s.mapping())
	messages := send(t, g, s)

	m.Wait()
	p := login(t, g, "corpus")
	unique := s.serves(t, p, messages, nil)
	if t.Failed() {
		return
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
	m.Wait()
	p = login(t, g, "corpus")
	s.serves(t, p, messages, unique)
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
}

// serves wants a session to have these messages, with these unique-ids where there are any, and returns them.
func (s store) serves(t *testing.T, p *harness.POP3, messages []corpus.Message, before []string) (unique []string) {
	t.Helper()
	byNumber, err := p.UIDL()
	for _, n := range slices.Sorted(maps.Keys(byNumber)) {
		unique = append(unique, byNumber[n])
	}
	if err != nil || len(unique) != len(messages) || before != nil && !slices.Equal(unique, before) {
		t.Fatalf("the session has %q (%v), of %d messages, and the one before had %q", unique, err, len(messages), before)
	}
	sizes, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		got, err := p.Retr(i + 1)
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if err := behindTrace(got, m.Arriving()); (err != nil) != slices.Contains(s.alters, m.Name) {
			t.Errorf("%s: what is known of this store is not so: %v", m.Name, err)
		}
		if before != nil && sizes[i+1] != int64(len(got)) {
			t.Errorf("%s: LIST says %d octets, RETR gives %d", m.Name, sizes[i+1], len(got))
		}
	}
	return unique
}
