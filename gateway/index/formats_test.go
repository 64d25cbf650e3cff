//go:build linux

package index_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/gateway/index"
)

func fingerprint(t testing.TB, header string) index.Fingerprint {
	t.Helper()
	f, err := index.FingerprintOf(strings.NewReader(header))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFingerprint: what mail systems do to a header on its way does not change a fingerprint,
// and what its writer wrote does.
func TestFingerprint(t *testing.T) {
	const header = "From: Ada <a@b.example>\r\nTo: c@d.example\r\nSubject: a long subject\r\nDate: Sat, 28 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@b.example>\r\n\r\n"
	want := fingerprint(t, header)
	if want.MessageID != "1@b.example" {
		t.Errorf("Message-ID %q", want.MessageID)
	}
	for name, same := range map[string]string{
		"line ends":       strings.ReplaceAll(header, "\r\n", "\n"),
		"trace":           "Return-Path: <x@y>\r\nReceived: by z\r\n" + header,
		"folding":         strings.Replace(header, "a long subject", "a\r\n long\r\n\tsubject", 1),
		"letters":         strings.Replace(strings.Replace(header, "Message-ID:", "MESSAGE-id :", 1), "From:", "FROM:", 1),
		"no end":          strings.TrimSuffix(header, "\r\n"),
		"no last newline": strings.TrimSuffix(header, "\r\n\r\n"),
		"a body":          header + "Subject: this is text\r\n",
		"other fields":    "X-Spam: no\r\n folded: on\r\n" + header,
	} {
		if got := fingerprint(t, same); got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, other := range map[string]string{
		"subject":    strings.Replace(header, "subject", "sub-ject", 1),
		"Message-ID": strings.Replace(header, "<1@", "<2@", 1),
		"moved":      strings.Replace(strings.Replace(header, "To: c@d.example", "To:", 1), "Subject:", "Subject: c@d.example", 1),
		"nothing":    "",
	} {
		if got := fingerprint(t, other); got.Digest == want.Digest {
			t.Errorf("%s: the same", name)
		}
	}
}

// TestExportIsImported (property): what Write has written, Read reads.
func TestExportIsImported(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var want []index.Import
		for n := range rapid.IntRange(0, 5).Draw(rt, "messages") {
			i := index.Import{UIDL: rapid.StringMatching(`[!-~]{1,70}`).Draw(rt, "uidl"), Size: rapid.Int64Range(-1, 1<<40).Draw(rt, "size"), Digested: true}
			i.Digest[0] = byte(n)
			i.MessageID = rapid.StringMatching(`[!-~]{0,100}`).Draw(rt, "id")
			want = append(want, i)
		}
		var file bytes.Buffer
		if err := index.Write(&file, want); err != nil {
			rt.Fatal(err)
		}
		got, err := index.Read(&file)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			rt.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestFormats(t *testing.T) {
	exchange := strings.Repeat("QUFB", 8)
	for _, test := range []struct {
		name, text string
		want       []index.Import
		wrong      string
	}{
		{"plain", "<1@a>\tu1\r\n\nid-2\tu2\n", []index.Import{{UIDL: "u1", MessageID: "1@a", Size: -1}, {UIDL: "u2", ID: "id-2", Size: -1}}, ""},
		{"plain", "<1@a> u1\n", nil, "line 1: there is no tab"},
		{"plain", "id\tu1\nid\tu 2\n", nil, "line 2: the unique-id"},
		{"plain", "id\t" + strings.Repeat("u", 71), nil, "1 to 70"},
		{"plain", "\tu", nil, "neither an id"},
		{"exchange", "<1@a>\t" + exchange, []index.Import{{UIDL: exchange, MessageID: "1@a", Size: -1}}, ""},
		{"exchange", "<1@a>\tQUFB", nil, "not one of Exchange's"},
		{"dipylon", "", nil, ""},
		{"dipylon", "u1\t1\t\t<a>\n", nil, "no export of Dipylon's"},
		{"dovecot", "3 V1698307852 N44 Gabc\n42 W17 :170.M1P2.host:2,S\n43 Pold-1 :171.M1P2.host\n", []index.Import{
			{UIDL: "0000002a653a1f0c", ID: "170.M1P2.host", Size: 17}, {UIDL: "old-1", ID: "171.M1P2.host", Size: -1},
		}, ""},
		{"dovecot", "1 1698307852 44\n", nil, "version 3"},
		{"dovecot", "3 V7 N1\nx :file\n", nil, "line 2"},
	} {
		form, err := uidl.Parse("dovecot")
		if err != nil {
			t.Fatal(err)
		}
		var got []index.Import
		in := strings.NewReader(test.text)
		switch test.name {
		case "plain":
			got, err = index.ReadPlain(in)
		case "exchange":
			got, err = index.ReadExchange(in)
		case "dipylon":
			got, err = index.Read(in)
		case "dovecot":
			got, err = index.ReadDovecot(in, "", form.Of)
		}
		if test.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%s %q: %v", test.name, test.text, err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%s %q: %v (-want +got):\n%s", test.name, test.text, err, diff)
		}
	}
}

// TestFolders: messages of a Maildir and of Cyrus's spool are known by their headers, and their
// sizes are those with CRLF.
func TestFolders(t *testing.T) {
	const message = "Message-ID: <1@a>\nSubject: x\n\ntext\n"
	dir := t.TempDir()
	for _, name := range []string{"cur/170.host:2,S", "new/171.host", "spool/7.", "spool/cyrus.index", "spool/8"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(message), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := fingerprint(t, message)
	size := int64(len(message) + strings.Count(message, "\n"))
	form := func(uid, validity uint32) string { return fmt.Sprint(validity, ".", uid) }
	got, err := index.ReadDovecot(strings.NewReader("3 V5 N9\n1 :170.host\n2 W99 :171.host\n3 :172.gone\n"), dir, form)
	want := []index.Import{
		{UIDL: "5.1", MessageID: "1@a", Digest: f.Digest, Digested: true, Size: size},
		{UIDL: "5.2", MessageID: "1@a", Digest: f.Digest, Digested: true, Size: 99},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Dovecot: %v (-want +got):\n%s", err, diff)
	}
	got, err = index.ReadCyrus(filepath.Join(dir, "spool"), 5, form)
	want = []index.Import{{UIDL: "5.7", MessageID: "1@a", Digest: f.Digest, Digested: true, Size: size}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Cyrus: %v (-want +got):\n%s", err, diff)
	}
}

// TestRecognise: which message gets which unique-id.
func TestRecognise(t *testing.T) {
	digest := func(n byte) (d [16]byte) { d[0] = n; return d }
	imported := func(uidl, id string, d byte, size int64) index.Import {
		return index.Import{UIDL: uidl, MessageID: id, Digest: digest(d), Digested: d != 0, Size: size}
	}
	candidate := func(id, messageID string, d byte, size int64) index.Candidate {
		return index.Candidate{ID: id, Fingerprint: index.Fingerprint{MessageID: messageID, Digest: digest(d)}, Size: size}
	}
	for _, test := range []struct {
		name     string
		imports  []index.Import
		messages []index.Candidate
		want     string
	}{
		{"the same header", []index.Import{imported("u", "a", 1, 7)}, []index.Candidate{candidate("m", "a", 1, 9)}, "u"},
		{"a changed header", []index.Import{imported("u", "a", 1, 7)}, []index.Candidate{candidate("m", "a", 2, 9)}, "u"},
		{"a changed header and two with the Message-ID", []index.Import{imported("u", "a", 1, 7), imported("v", "a", 3, 8)}, []index.Candidate{candidate("m", "a", 2, 9)}, "-"},
		{"the size tells them apart", []index.Import{imported("u", "a", 1, 7), imported("v", "a", 3, 9)}, []index.Candidate{candidate("m", "a", 2, 9)}, "v"},
		{"no Message-ID", []index.Import{imported("u", "", 1, -1)}, []index.Candidate{candidate("m", "", 1, 9), candidate("n", "", 2, 9)}, "u -"},
		{"Message-ID alone", []index.Import{imported("u", "a", 0, -1)}, []index.Candidate{candidate("m", "b", 1, 9), candidate("n", "a", 2, 9)}, "- u"},
		{"twice the same message", []index.Import{imported("u", "a", 1, 7), imported("v", "a", 1, 7)}, []index.Candidate{candidate("m", "a", 1, 7), candidate("n", "a", 1, 7), candidate("o", "a", 1, 7)}, "u v -"},
		{"sizes go before the order", []index.Import{imported("u", "a", 1, 7), imported("v", "a", 1, 8)}, []index.Candidate{candidate("m", "a", 1, 8), candidate("n", "a", 1, 6)}, "v u"},
		{"sure ones go first", []index.Import{imported("u", "a", 1, 7)}, []index.Candidate{candidate("m", "a", 2, 7), candidate("n", "a", 1, 7)}, "- u"},
		{"another Message-ID", []index.Import{imported("u", "a", 1, 7)}, []index.Candidate{candidate("m", "b", 1, 7)}, "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(t *testing.T, f *fixture) {
				f.ok(f.x.Import(t.Context(), ada, test.imports))
				f.ok(f.open(ada, "").Recognise(t.Context(), test.messages))
				folder := f.open(ada, "")
				var got []string
				for _, c := range test.messages {
					uidl, _ := folder.UIDL(c.ID)
					if uidl == "" {
						uidl = "-"
					}
					if got = append(got, uidl); !folder.Known(c.ID) {
						t.Errorf("%s would be looked at again", c.ID)
					}
				}
				if strings.Join(got, " ") != test.want {
					t.Errorf("got %v, wanted %s", got, test.want)
				}
			})
		})
	}
}

// TestWrongImports: an import that is wrong changes nothing.
func TestWrongImports(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.ok(f.x.Import(t.Context(), ada, []index.Import{{UIDL: "u", ID: "m"}, {UIDL: "v", MessageID: "x", Size: -1}}))
		for _, imports := range [][]index.Import{
			{{UIDL: "a", ID: "n"}, {UIDL: "a", ID: "o"}}, {{UIDL: "", ID: "n"}}, {{UIDL: "ä", ID: "n"}}, {{UIDL: "a"}},
		} {
			if err := f.x.Import(t.Context(), ada, imports); err == nil {
				t.Errorf("%+v was imported", imports)
			}
		}
		folder := f.open(ada, "")
		if uidl, _ := folder.UIDL("m"); uidl != "u" || !folder.Waiting() || folder.Known("n") {
			t.Error("the import before is gone")
		}
	})
}
