package stores_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/gateway/stores"
)

func TestParseName(t *testing.T) {
	for _, test := range []struct {
		name, in                             string
		user, domain, realm, mailbox, folder string
		str                                  string
		bad                                  bool
	}{
		{name: "address", in: "alice@sakes.example", user: "alice", domain: "sakes.example", str: "alice@sakes.example"},
		{name: "domain is folded", in: "Alice@SAKES.example", user: "Alice", domain: "sakes.example", str: "Alice@sakes.example"},
		{name: "domain becomes A-labels", in: "alice@Bücher.example", user: "alice", domain: "xn--bcher-kva.example", str: "alice@xn--bcher-kva.example"},
		{name: "the last at parts", in: "a@b@sakes.example", user: "a@b", domain: "sakes.example", str: "a@b@sakes.example"},
		{name: "bare", in: "alice", user: "alice", str: "alice"},
		{name: "bare with spaces", in: "Alice Smith", user: "Alice Smith", str: "Alice Smith"},

		{name: "realm", in: `SAKES\alice`, user: "alice", realm: "SAKES", str: `SAKES\alice`},
		{name: "realm that is mapped", in: `Tea\alice`, user: "alice", domain: "tea.example", str: "alice@tea.example"},
		{name: "realm and mailbox", in: `SAKES\alice\info`, user: "alice", realm: "SAKES", mailbox: "info", str: `SAKES\alice`},
		{name: "realm and mailbox of 5.0", in: `SAKES\alice/info`, user: "alice", realm: "SAKES", mailbox: "info", str: `SAKES\alice`},
		{name: "realm and mailbox with slashes", in: "SAKES/alice/info", user: "alice", realm: "SAKES", mailbox: "info", str: `SAKES\alice`},
		{name: "mapped realm and mailbox", in: `TEA/alice/info@TEA.example`, user: "alice", domain: "tea.example", mailbox: "info@tea.example", str: "alice@tea.example"},
		{name: "one's own mailbox", in: `SAKES\alice\Alice`, user: "alice", realm: "SAKES", str: `SAKES\alice`},
		{name: "one's own mailbox by address", in: "alice@sakes.example!Alice@sakes.example", user: "alice", domain: "sakes.example", str: "alice@sakes.example"},

		{name: "shared", in: "alice!info", user: "alice", mailbox: "info", str: "alice"},
		{name: "shared by addresses", in: "alice@sakes.example!info@Sakes.example", user: "alice", domain: "sakes.example", mailbox: "info@sakes.example", str: "alice@sakes.example"},
		{name: "shared in a realm", in: `SAKES\alice!info`, user: "alice", realm: "SAKES", mailbox: "info", str: `SAKES\alice`},

		{name: "folder", in: "alice+Archive", user: "alice", folder: "Archive", str: "alice"},
		{name: "folder in an address", in: "alice+Lists/Go@sakes.example", user: "alice", domain: "sakes.example", folder: "Lists/Go", str: "alice@sakes.example"},
		{name: "folder behind an address", in: "alice@sakes.example+Lists/Go/Nuts", user: "alice", domain: "sakes.example", folder: "Lists/Go/Nuts", str: "alice@sakes.example"},
		{name: "folder with slashes and no domain", in: "alice+Lists/Go/Nuts", user: "alice", folder: "Lists/Go/Nuts", str: "alice"},
		{name: "folder of a shared mailbox", in: "alice@sakes.example!info@sakes.example+Archive", user: "alice", domain: "sakes.example", mailbox: "info@sakes.example", folder: "Archive", str: "alice@sakes.example"},
		{name: "folder of a realm's mailbox", in: `SAKES\alice\info+Archive`, user: "alice", realm: "SAKES", mailbox: "info", folder: "Archive", str: `SAKES\alice`},
		{name: "folder of a realm's user", in: `SAKES\alice+Archive`, user: "alice", realm: "SAKES", folder: "Archive", str: `SAKES\alice`},
		{name: "folder that is the inbox", in: "alice+inbox", user: "alice", str: "alice"},
		{name: "folder with a plus", in: "alice+a+b", user: "alice", folder: "a+b", str: "alice"},
		{name: "folder of composed letters", in: "alice+a\u0308", user: "alice", folder: "\u00e4", str: "alice"},
		{name: "folder with slashes of a realm's user", in: `SAKES\alice+Lists/Go`, user: "alice", realm: "SAKES", folder: "Lists/Go", str: `SAKES\alice`},
		{name: "folder with slashes of a realm's mailbox", in: `SAKES\alice\info+Lists/Go`, user: "alice", realm: "SAKES", mailbox: "info", folder: "Lists/Go", str: `SAKES\alice`},
		{name: "folder with slashes of a realm's shared mailbox", in: `SAKES\alice!info+Lists/Go`, user: "alice", realm: "SAKES", mailbox: "info", folder: "Lists/Go", str: `SAKES\alice`},
		{name: "shared mailbox with a slash, in a realm", in: `SAKES\alice!info/de`, user: "alice", realm: "SAKES", mailbox: "info/de", str: `SAKES\alice`},
		{name: "mailbox that is the user's local part", in: "a@b.example@sakes.example!a@b.example", user: "a@b.example", domain: "sakes.example", mailbox: "a@b.example", str: "a@b.example@sakes.example"},

		{name: "folder with slashes of a mailbox with slashes", in: "SAKES/alice/info+Lists/Go", user: "alice", realm: "SAKES", mailbox: "info", folder: "Lists/Go", str: `SAKES\alice`},
		{name: "one slash", in: "alice/home", user: "alice/home", str: "alice/home"},
		{name: "a slash in front", in: "/c=de/s=smith@sakes.example", user: "/c=de/s=smith", domain: "sakes.example", str: "/c=de/s=smith@sakes.example"},

		{name: "empty", in: "", bad: true},
		{name: "at alone", in: "@", bad: true},
		{name: "no user", in: "@sakes.example", bad: true},
		{name: "no domain", in: "alice@", bad: true},
		{name: "domain that is none", in: "alice@-x", bad: true},
		{name: "no realm", in: `\alice`, bad: true},
		{name: "realm alone", in: `SAKES\`, bad: true},
		{name: "realm of an address", in: `SAKES\alice@sakes.example`, bad: true},
		{name: "address as realm", in: `a@sakes.example\alice`, bad: true},
		{name: "path as realm", in: `../..\alice`, bad: true},
		{name: "no mailbox", in: `SAKES\alice\`, bad: true},
		{name: "four parts", in: `SAKES\alice\info\x`, bad: true},
		{name: "mailbox twice", in: `SAKES\alice!a\b`, bad: true},
		{name: "mailbox twice, the second shared", in: `SAKES\alice\info!sales`, bad: true},
		{name: "mailbox twice, a folder between them", in: `SAKES\alice\info+x!sales`, bad: true},
		{name: "mailbox twice, with slashes and a folder between them", in: "SAKES/alice/info+x!sales", bad: true},
		{name: "mailbox behind a folder", in: "alice+x!info", bad: true},
		{name: "mailbox behind a folder in an address", in: "alice+x@sakes.example!info", bad: true},
		{name: "mailbox of a realm behind a folder", in: `SAKES\alice+x\info`, bad: true},
		{name: "folder with a backslash", in: `alice+a\b`, bad: true},
		{name: "mailbox twice, with slashes", in: "SAKES/alice/info!sales", bad: true},
		{name: "mailbox twice, the second with slashes", in: "0/0/0!/", bad: true},
		{name: "no shared mailbox", in: "alice!", bad: true},
		{name: "nobody's shared mailbox", in: "!info", bad: true},
		{name: "two shared mailboxes", in: "alice!info!sales", bad: true},
		{name: "shared mailbox of a domain that is none", in: "alice!info@-x", bad: true},
		{name: "folder of no mailbox", in: "alice!+Archive", bad: true},
		{name: "no folder", in: "alice+", bad: true},
		{name: "no folder in an address", in: "alice+@sakes.example", bad: true},
		{name: "folder of nobody", in: "+Archive", bad: true},
		{name: "folder that climbs", in: "alice+../bob", bad: true},
		{name: "folder that stays", in: "alice+./a", bad: true},
		{name: "folder with an empty part", in: "alice+a//b", bad: true},
		{name: "absolute folder", in: "alice+/etc", bad: true},
		{name: "NUL", in: "alice\x00", bad: true},
		{name: "line break", in: "alice\nbob", bad: true},
		{name: "not UTF-8", in: "\xff", bad: true},
		{name: "too long", in: strings.Repeat("a", 321), bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := stores.Names{Realms: map[string]string{"tea": "tea.example"}}.Parse(test.in)
			if ok == test.bad {
				t.Fatalf("ok is %v: %+v", ok, got)
			}
			if test.bad {
				return
			}
			want := stores.Name{Raw: test.in, User: test.user, Domain: test.domain, Realm: test.realm, Mailbox: test.mailbox, Folder: test.folder}
			if got != want || got.String() != test.str {
				t.Errorf("got %+v (%s), want %+v", got, got, want)
			}
		})
	}
}

// TestFormsThatAreOff has the separator of a form as a character like any other, or the name
// refused where there is no other way to read it.
func TestFormsThatAreOff(t *testing.T) {
	for _, test := range []struct {
		off  stores.Form
		in   string
		user string // empty: refused
	}{
		{stores.FormAlias, "alice", ""},
		{stores.FormAlias, "alice@sakes.example", "alice"},
		{stores.FormAlias, `SAKES\alice`, "alice"},
		{stores.FormAlias, `TEA\alice`, "alice"},
		{stores.FormRealm, `SAKES\alice`, `SAKES\alice`},
		{stores.FormMailbox, "SAKES/alice/info", "SAKES/alice/info"},
		{stores.FormMailbox, `SAKES\alice\info`, `alice\info`},
		{stores.FormShared, "alice!info@sakes.example", "alice!info"},
		{stores.FormFolder, "alice+a@sakes.example", "alice+a"},
		{stores.FormFolder, "alice+a", "alice+a"},
	} {
		names := stores.Names{Off: []stores.Form{test.off}, Realms: map[string]string{"tea": "tea.example"}}
		got, ok := names.Parse(test.in)
		if ok != (test.user != "") || ok && (got.User != test.user || got.Mailbox != "" || got.Folder != "") {
			t.Errorf("%s without %s: %v, %+v", test.in, test.off, ok, got)
		}
	}
}

// TestIdentity has the mailbox named by SASL's authorization identity.
func TestIdentity(t *testing.T) {
	for _, test := range []struct {
		name, user, identity, mailbox, folder string
		bad                                   bool
	}{
		{name: "none", user: "alice@sakes.example"},
		{name: "one's own", user: "alice@sakes.example", identity: "Alice@Sakes.example"},
		{name: "one's own, short", user: "alice@sakes.example", identity: "alice"},
		{name: "another's", user: "alice@sakes.example", identity: "info@Sakes.example", mailbox: "info@sakes.example"},
		{name: "one's own folder", user: "alice@sakes.example", identity: "alice+Archive@sakes.example", folder: "Archive"},
		{name: "another's folder", user: "alice", identity: "info+Archive", mailbox: "info", folder: "Archive"},
		{name: "the same twice", user: "alice!info", identity: "info", mailbox: "info"},
		{name: "two mailboxes", user: "alice!info", identity: "sales", bad: true},
		{name: "one's own and another's", user: "alice!info", identity: "alice", bad: true},
		{name: "two folders", user: "alice+a", identity: "alice+b", bad: true},
		{name: "an identity that acts", user: "alice", identity: "info!sales", bad: true},
		{name: "no name", user: "alice", identity: "@", bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			name, ok := stores.ParseName(test.user)
			if !ok {
				t.Fatal("the name is none")
			}
			got, ok := stores.Names{}.For(name, test.identity)
			if ok == test.bad || ok && (got.Mailbox != test.mailbox || got.Folder != test.folder || got.String() != name.String()) {
				t.Errorf("%v, %+v", ok, got)
			}
		})
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{
		"alice", "a@b.example", `D\a`, "@", "a@@b", "\x00", "ä@ö", `D\a\m`, "D/a/m", "a!m+f/g", "a+f@b.example", "a@b.example!m@b.example+f", "a+../x", "D/a/m!x", "D/a/m+f/g", `D\a+f/g`, `D\a!m/n+f/g`, `D\a\m!x`, "a+f!m", `D\a\m+f!x`, "a@b@c.example!a@b", "k!\u212a", "a+f@g@b.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, off := range stores.Forms() {
			if name, ok := (stores.Names{Off: []stores.Form{off}}).Parse(in); ok {
				checkName(t, in, name)
			}
		}
		name, ok := stores.ParseName(in)
		if !ok {
			return
		}
		checkName(t, in, name)
		if again, ok := stores.ParseName(spelled(name)); len(spelled(name)) <= stores.NameMost && (!ok || !same(again, name)) {
			t.Fatalf("%q is %#v, and %q is %#v, %v", in, name, spelled(name), again, ok)
		}
	})
}

// checkName wants what no name may lack or have, whichever forms are understood.
func checkName(t *testing.T, in string, name stores.Name) {
	t.Helper()
	if name.User == "" || strings.ContainsAny(name.String()+name.Mailbox+name.Folder, "\r\n\x00") || len(in) > stores.NameMost {
		t.Fatalf("%q was taken as %#v", in, name)
	}
	if strings.Contains("/"+name.Folder+"/", "/../") || strings.HasPrefix(name.Folder, "/") || strings.EqualFold(name.Folder, "inbox") {
		t.Fatalf("%q has the folder %q", in, name.Folder)
	}
	if name.Mailbox != "" && fold.Equal(name.Mailbox, name.String()) {
		t.Fatalf("%q acts for itself: %#v", in, name)
	}
}

// spelled writes a name in the one form that every name has: user!mailbox+folder.
func spelled(n stores.Name) string {
	text := n.String()
	if n.Mailbox != "" {
		text += "!" + n.Mailbox
	}
	switch at := strings.LastIndexByte(text, '@'); {
	case n.Folder == "":
		return text
	case strings.Contains(n.Folder, "@"): // it can only stand in front of a domain
		return text[:at] + "+" + n.Folder + text[at:]
	}
	return text + "+" + n.Folder
}

// same compares all but how the names were written.
func same(a, b stores.Name) bool {
	a.Raw = b.Raw
	return a == b
}
