package storetest

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

func hasList(s *suite) string {
	if s.List == "" {
		return ownNature + "the target has no List"
	}
	return ""
}

func hasPreferences(s *suite) string {
	if s.Preferences == (backends.Preferences{}) {
		return ownNature + "the target has no Preferences"
	}
	return ""
}

// directoryCases are about what Resolve says of recipients beside whether they are taken. It is optional.
var directoryCases = []testcase{
	{"directory-form", []need{receiver}, func(t *trial) {
		asked := []string{t.Address, t.Unknown, withDetail(t.Address), t.List, t.SecondAddress}
		entries := t.entries(slices.DeleteFunc(asked, func(a string) bool { return a == "" })...)
		if len(entries) == 0 {
			t.notOffered("it has no entries of a directory")
		}
		for address, e := range entries {
			if err := e.Check(); err != nil {
				t.Errorf("the entry of %s: %w", address, err)
			}
		}
	}},
	{"directory-canonical", []need{receiver}, func(t *trial) {
		local, domain, _ := strings.Cut(t.Address, "@")
		canonical := ""
		for _, address := range []string{t.Address, local + "@" + strings.ToUpper(domain)} {
			e := t.entries(address)[address]
			if e == nil || e.Address == "" {
				t.notOffered("it tells no canonical address")
			}
			if canonical == "" {
				canonical = e.Address
			}
			if e.Address != canonical {
				t.Errorf("the canonical address of %s is %s, and that of %s is %s", t.Address, canonical, address, e.Address)
			}
		}
		verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(canonical)})
		if err := failureOf(verdicts, err); err != nil {
			t.Fatalf("the canonical address %s: %w", canonical, err)
		}
		if e := verdicts[0].Directory; e == nil || e.Address != canonical {
			t.Errorf("the canonical address of the canonical address %s is another one: %v", canonical, e)
		}
	}},
	{"directory-list", []need{receiver, reader, hasList, secondAccount}, func(t *trial) {
		e := t.entries(t.List)[t.List]
		if e == nil {
			t.Fatalf("the list %s has no entry", t.List)
		}
		want := []string{t.Address, t.SecondAddress}
		if got := slices.Sorted(slices.Values(e.Members)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("the members of %s are %q, and should be %q", t.List, got, want)
		}
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.List, t.Address)) // who is named beside the list gets one copy, too
		t.expect(t.first(), m)
		t.expect(t.second(), m)
	}},
	{"directory-preferences", []need{receiver, hasPreferences}, func(t *trial) {
		if e := t.entries(t.Address)[t.Address]; e == nil || e.Preferences != t.Preferences {
			t.Errorf("the entry of %s is %v, and its preferences should be %v", t.Address, e, t.Preferences)
		}
	}},
}

// entries are what the directory says of addresses; who has no entry is not among them.
func (t *trial) entries(addresses ...string) map[string]*backends.DirectoryEntry {
	verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(addresses...)})
	if err != nil {
		t.Fatalf("Resolve: %w", err)
	}
	entries := make(map[string]*backends.DirectoryEntry)
	for _, v := range verdicts {
		if v.Directory != nil {
			entries[v.Recipient] = v.Directory
		}
	}
	return entries
}
