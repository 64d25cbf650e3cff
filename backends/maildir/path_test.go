package maildir

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"anna@sakes.example":                       "anna@sakes.example",
		"Anna.B@Sakes.EXAMPLE":                     "anna.b@sakes.example",
		"anna@sakes.example.":                      "anna@sakes.example",
		`"anna"@sakes.example`:                     "anna@sakes.example",
		`"a b"@sakes.example`:                      `"a b"@sakes.example`,
		`"a\"b@c"@sakes.example`:                   `"a\"b@c"@sakes.example`,
		"ÄNNA@Bücher.example":                      "änna@xn--bcher-kva.example",
		"a\u0308@b.example":                        "ä@b.example", // two forms of one letter
		"a@xn--bcher-kva.example":                  "a@xn--bcher-kva.example",
		`"../../etc"@sakes.example`:                `"../../etc"@sakes.example`,
		"a\u200bb@sakes.example":                   "",
		"anna":                                     "",
		"@sakes.example":                           "",
		`""@sakes.example`:                         "",
		"anna@":                                    "",
		"anna@sakes..example":                      "",
		"anna@-sakes.example":                      "",
		"anna@../etc":                              "",
		"anna@sakes.example/../x":                  "",
		"anna@[192.0.2.1]":                         "",
		"an\x00na@sakes.example":                   "",
		"an\nna@sakes.example":                     "",
		"\xff@sakes.example":                       "",
		strings.Repeat("a", 65) + "@sakes.example": "",
		"a@" + strings.Repeat("a.", 130):           "",
	} {
		a, err := parseAddress(text)
		if (err != nil) != (want == "") || err == nil && a.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, a, err, want)
		}
	}
}

func TestBoxDir(t *testing.T) {
	for local, want := range map[string]string{
		"anna":      "anna",
		"a.b+c_d-e": "a.b+c_d-e",
		".hidden":   "%2ehidden",
		"..":        "%2e%2e",
		".":         "%2e",
		"a.":        "a%2e",
		"../../etc": "%2e.%2f..%2fetc",
		"a b":       "a%20b",
		"100%":      "100%25",
		"ä":         "%c3%a4",
		`a\b`:       "a%5cb",
		"con:":      "con%3a",
	} {
		if got := boxDir("/mail", address{local, "sakes.example"}); got != "/mail/sakes.example/"+want {
			t.Errorf("%q: %s", local, got)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"anna@sakes.example", `"a\"b"@c.example`, "../..@x.example", "Ä@Bücher.example", "a@" + strings.Repeat("ä", 60)} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		a, errA := parseAddress(one)
		b, errB := parseAddress(two)
		if errA != nil || errB != nil {
			return
		}
		// Each in a folder of its own, two below the root, whose name every file system takes.
		dirA, dirB := boxDir("/mail", a), boxDir("/mail", b)
		if (dirA == dirB) != (a == b) {
			t.Errorf("%q and %q share %s", a, b, dirA)
		}
		rel, err := filepath.Rel("/mail", dirA)
		if err != nil || strings.Count(rel, "/") != 1 || strings.HasPrefix(filepath.Base(rel), ".") || strings.HasPrefix(rel, ".") || len(filepath.Base(rel)) > mostName {
			t.Errorf("%q is in %s", a, dirA)
		}
	})
}

func TestFolderDir(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "",
		"INBOX":                  "",
		"inbox":                  "",
		"Sent":                   ".Sent",
		"Sub/Folder":             ".Sub.Folder",
		"Entwürfe":               ".Entw&APw-rfe",
		"R&D":                    ".R&-D",
		"&":                      ".&-",
		"~peter/mail/台北/日本語":     ".~peter.mail.&U,BTFw-.&ZeVnLIqe-", // RFC 3501 §5.1.3
		"😀":                      ".&2D3eAA-",
		"a b":                    ".a b",
		"/":                      "!",
		"a//b":                   "!",
		"/a":                     "!",
		"a/":                     "!",
		"..":                     "!",
		"../x":                   "!",
		"a.b":                    "!",
		`a\b`:                    "!",
		"a\x00":                  "!",
		"a\nb":                   "!",
		"\xff":                   "!",
		strings.Repeat("a", 255): "!",
		strings.Repeat("ä", 100): "!",
		strings.Repeat("a", 254): "." + strings.Repeat("a", 254),
	} {
		got, err := folderDir(name)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func FuzzFolderDir(f *testing.F) {
	f.Add("Sub/Entwürfe", "a&-b")
	f.Add("..", "../../x")
	f.Add("日本語/&", "\x7f")
	f.Fuzz(func(t *testing.T, one, two string) {
		a, errA := folderDir(one)
		b, errB := folderDir(two)
		if errA == nil && errB == nil && a == b && one != two && a != "" {
			t.Errorf("%q and %q share %q", one, two, a)
		}
		if errA != nil || a == "" {
			return
		}
		if a[0] != '.' || strings.ContainsAny(a, "/\\\x00") || strings.Contains(a, "..") || len(a) < 2 || len(a) > mostName {
			t.Errorf("%q is in %q", one, a)
		}
		for _, r := range a {
			if r < ' ' || r > '~' || r == utf8.RuneError {
				t.Errorf("%q is in %q", one, a)
			}
		}
	})
}

// TestNoDevice: no mailbox has a folder that Windows takes for a device, and no two have one folder.
func TestNoDevice(t *testing.T) {
	t.Parallel()
	for local, want := range map[string]string{
		"con": "%63on", "aux.txt": "%61ux.txt", "nul": "%6eul", "prn.a.b": "%70rn.a.b", "com1": "%63om1", "lpt9.x": "%6cpt9.x", "com0": "%63om0",
		"com\u00b9": "com%c2%b9", "conin$": "conin%24", "console": "console", "com10": "com10", "com": "com", "a.con": "a.con", "%63on": "%2563on",
	} {
		if got := noDevice(encodeLocal(local)); got != want {
			t.Errorf("%q is in %q, not %q", local, got, want)
		}
	}
}
