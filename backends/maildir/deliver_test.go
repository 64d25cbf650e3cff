package maildir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends"
)

// files are the messages below a mailbox's folder, as paths relative to the root.
func (w *world) files(user string) []string {
	w.t.Helper()
	a, err := parseAddress(user)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	_ = filepath.WalkDir(boxDir(w.root, a), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(w.root, path)
			all = append(all, rel)
		}
		return nil
	})
	return all
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]any{"postmaster": ben})
	for recipient, want := range map[string]string{
		anna:                         anna,
		"ANNA@Sakes.Example":         anna,
		"info@sakes.example":         anna,
		"anna+lists@sakes.example":   anna,
		"info+lists@sakes.example":   anna,
		"cyrus+x@other.example":      cyrus,
		"whoever@other.example":      cyrus,
		"+x@other.example":           cyrus,
		"postmaster@sakes.example":   ben,
		"Postmaster":                 ben,
		"postmaster@other.example":   ben,
		"postmaster@foreign.example": "",
		"nobody@sakes.example":       "",
		"sales@sakes.example":        "", // may be sent as, gets nothing
		"@other.example":             "",
		"anna":                       "",
		"":                           "",
		"anna@[192.0.2.1]":           "",
		"anna@sakes.example\r\nx":    "",
	} {
		verdicts, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(recipient)})
		if err != nil || len(verdicts) != 1 || verdicts[0].Recipient != recipient {
			t.Fatalf("%q: %+v, %v", recipient, verdicts, err)
		}
		if f := verdicts[0].Failure; (f == nil) != (want != "") || f != nil && f.Kind != backends.NotFound {
			t.Errorf("%q: %v", recipient, f)
		}
		if e := verdicts[0].Directory; (e == nil) != (want == "") || e != nil && e.Address != want {
			t.Errorf("%q: the directory's entry is %v", recipient, e)
		}
		if holds := verdicts[0].Holds; (holds == lookEvery) != (want != "") || want == "" && holds != 0 {
			t.Errorf("%q: the answer holds for %v", recipient, holds)
		}
		got := w.deliver(backends.Delivery{Key: "to " + keyMark(recipient), Recipients: backends.To(recipient)}, hello)
		if f := got[0].Failure; (f == nil) != (want != "") || f != nil && f.Kind != backends.NotFound {
			t.Errorf("delivered to %q: %v", recipient, f)
		}
		for _, user := range []string{anna, ben, cyrus} {
			n := 0
			for _, name := range w.files(user) {
				if strings.Contains(name, keyMark("to "+keyMark(recipient))) {
					n++
				}
			}
			if (n == 1) != (user == want) || n > 1 {
				t.Errorf("for %q, %s has %d messages", recipient, user, n)
			}
		}
	}
}

// TestResolveTellsTheAccount: an account's own addresses, with details too, are told to be its own by
// the id that its login has; what it only gets the mail of is nobody's.
func TestResolveTellsTheAccount(t *testing.T) {
	w := newWorld(t, map[string]any{"postmaster": ben})
	login, err := w.Login(t.Context(), password(anna))
	if err != nil {
		t.Fatal(err)
	}
	for recipient, want := range map[string]string{
		anna:                       login.ID,
		"ANNA@Sakes.Example":       login.ID,
		"info@sakes.example":       login.ID,
		"Anna+Lists@sakes.example": login.ID,
		"info+lists@sakes.example": login.ID,
		"cyrus+x@other.example":    cyrus,
		"whoever@other.example":    "", // cyrus has all mail of the domain
		"postmaster@sakes.example": "",
		"Postmaster":               "",
		"sales@sakes.example":      "",
		"nobody@sakes.example":     "",
		"anna+x@other.example":     "",
		"anna":                     "",
	} {
		verdicts, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(recipient), Accounts: true})
		if err != nil || len(verdicts) != 1 || verdicts[0].Account != want {
			t.Errorf("%q: %+v, %v", recipient, verdicts, err)
		}
	}
}

func TestWithoutSeparator(t *testing.T) {
	w := newWorld(t, map[string]any{"detail_separator": ""})
	verdicts, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("anna+x@sakes.example", "Postmaster")})
	if err != nil || verdicts[0].Failure == nil || verdicts[0].Account != "" || verdicts[1].Failure != nil {
		t.Errorf("%+v, %v", verdicts, err)
	}
}

func TestManyRecipientsShareOneFile(t *testing.T) {
	w := newWorld(t, nil)
	verdicts := w.deliver(backends.Delivery{
		Key: "k", Envelope: backends.Envelope{From: "sender@far.example"},
		Recipients: backends.To(anna, "nobody@sakes.example", ben, "info@sakes.example", cyrus),
	}, hello)
	for i, v := range verdicts {
		if (v.Failure == nil) != (i != 1) || v.Recipient != []string{anna, "nobody@sakes.example", ben, "info@sakes.example", cyrus}[i] {
			t.Errorf("verdict %d: %+v", i, v)
		}
	}
	var first os.FileInfo
	for _, user := range []string{anna, ben, cyrus} {
		if got := w.messages(user); len(got) != 1 || got[0] != returnPath+hello {
			t.Errorf("%s has %q", user, got)
		}
		files := w.files(user)
		if len(files) != 1 {
			t.Fatalf("%s has files %v", user, files)
		}
		info, err := os.Stat(filepath.Join(w.root, files[0]))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		if first == nil {
			first = info
		}
		if !os.SameFile(first, info) {
			t.Errorf("%s has a file of its own", user)
		}
	}
}

func TestWithoutLinks(t *testing.T) {
	w := newWorld(t, nil)
	faulty := &faultyDisk{fail: func(_ int, name, _ string) error {
		if name == "link" {
			return &os.LinkError{Op: "link", Err: syscall.EXDEV}
		}
		return nil
	}}
	w.disk, w.use.boxes.disk = faulty, faulty
	w.take("k", hello, anna, ben, cyrus)
	for _, user := range []string{anna, ben, cyrus} {
		if got := w.messages(user); len(got) != 1 || got[0] != returnPath+hello {
			t.Errorf("%s has %q", user, got)
		}
		if files := w.files(user); len(files) != 1 {
			t.Errorf("%s has files %v", user, files)
		}
	}
}

func TestFileNameTellsSizes(t *testing.T) {
	for lf, stored := range map[bool]int{true: len(strings.ReplaceAll(returnPath+hello, "\r\n", "\n")), false: len(returnPath + hello)} {
		w := newWorld(t, map[string]any{"lf": lf})
		w.take("k", hello, anna)
		name := w.files(anna)[0]
		info, err := os.Stat(filepath.Join(w.root, name))
		if err != nil || info.Size() != int64(stored) {
			t.Errorf("lf %v: %d octets, %v; want %d", lf, info.Size(), err, stored)
		}
		if want := fmt.Sprintf(",S=%d,W=%d", stored, len(returnPath+hello)); !strings.HasSuffix(name, want) {
			t.Errorf("lf %v: %s does not end in %s", lf, name, want)
		}
	}
}

// TestContents puts in what is not canonical, too: what comes out is, and is always the same.
func TestContents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"canonical":        {hello, returnPath + hello},
		"no body":          {"Subject: x\r\n", returnPath + "Subject: x\r\n"},
		"nothing":          {"", returnPath},
		"bare LF":          {"Subject: x\n\ny\n", returnPath + "Subject: x\r\n\r\ny\r\n"},
		"bare CR":          {"Subject: x\r\n\r\na\rb\r\n", returnPath + "Subject: x\r\n\r\na b\r\n"},
		"CR CR LF":         {"Subject: x\r\n\r\na\r\r\n", returnPath + "Subject: x\r\n\r\na \r\n"},
		"no end":           {"Subject: x\r\n\r\nend", returnPath + "Subject: x\r\n\r\nend\r\n"},
		"NUL and 8 bit":    {"Subject: x\r\n\r\n\x00\xff\r\n", returnPath + "Subject: x\r\n\r\n\x00\xff\r\n"},
		"a Return-Path":    {"Return-Path: <old@x.example>\r\n\r\n", returnPath + "Return-Path: <old@x.example>\r\n\r\n"},
		"a line of 1 MB":   {"A: b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n", returnPath + "A: b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n"},
		"many empty lines": {strings.Repeat("\r\n", 100_000), returnPath + strings.Repeat("\r\n", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, lf := range []bool{true, false} {
				w := newWorld(t, map[string]any{"lf": lf})
				w.take("k", c.in, anna)
				if got := w.messages(anna); len(got) != 1 || got[0] != c.want {
					t.Errorf("lf %v: %.200q, want %.200q", lf, got, c.want)
				}
			}
		})
	}
}

func TestNullSenderAndBadOnes(t *testing.T) {
	w := newWorld(t, nil)
	if v := w.deliver(backends.Delivery{Key: "k", Recipients: backends.To(anna)}, hello); v[0].Failure != nil {
		t.Fatal(v[0].Failure)
	}
	if got := w.messages(anna); got[0] != "Return-Path: <>\r\n"+hello {
		t.Errorf("%q", got)
	}
	for _, d := range []backends.Delivery{
		{Key: "k2", Envelope: backends.Envelope{From: "a@b.example>\r\nX-Evil: yes"}, Recipients: backends.To(anna)},
		{Key: "k3", Envelope: backends.Envelope{From: "a\x00@b.example"}, Recipients: backends.To(anna)},
		{Key: "", Recipients: backends.To(anna)},
		{Key: strings.Repeat("k", 65), Recipients: backends.To(anna)},
	} {
		if _, err := w.Deliver(t.Context(), d, strings.NewReader(hello)); backends.KindOf(err) != backends.Permanent {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestContentThatFails(t *testing.T) {
	w := newWorld(t, nil)
	broken := errors.New("the line broke")
	for name, content := range map[string]io.Reader{
		"at once":        iotest.ErrReader(broken),
		"later":          io.MultiReader(strings.NewReader(hello), iotest.ErrReader(broken)),
		"much later":     io.MultiReader(strings.NewReader(strings.Repeat(hello, 10_000)), iotest.ErrReader(broken)),
		"before its end": io.MultiReader(strings.NewReader(hello), iotest.ErrReader(fmt.Errorf("%w: %w", broken, io.ErrUnexpectedEOF))),
	} {
		_, err := w.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To(anna, ben)}, content)
		if !errors.Is(err, broken) || backends.KindOf(err) != backends.Temporary {
			t.Errorf("%s: %v", name, err)
		}
		if left := append(w.files(anna), w.files(ben)...); len(left) > 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	// The same key works afterwards.
	w.take("k", hello, anna, ben)
}

func TestMessageLimit(t *testing.T) {
	w := newWorld(t, map[string]any{"message_limit": len(hello)})
	w.take("fits", hello, anna)
	for name, d := range map[string]backends.Delivery{
		"announced":     {Key: "k1", Recipients: backends.To(anna), Size: int64(len(hello) + 1)},
		"not announced": {Key: "k2", Recipients: backends.To(anna)},
	} {
		v, err := w.Deliver(t.Context(), d, strings.NewReader(hello+"\r\n"))
		if err != nil || v[0].Failure == nil || v[0].Failure.Kind != backends.TooLarge {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	v, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(anna, "nobody@sakes.example"), Size: int64(len(hello) + 1)})
	if err != nil || v[0].Failure.Kind != backends.TooLarge || v[1].Failure.Kind != backends.NotFound {
		t.Errorf("Resolve: %+v, %v", v, err)
	}
	if n := len(w.files(anna)); n != 1 {
		t.Errorf("%d files", n)
	}
}

func FuzzDeliver(f *testing.F) {
	for _, seed := range []string{hello, "", "\r", "\n", "a\r\r\nb", "Subject: x\n\n.\n", "\x00"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, lf bool) {
		w := newWorld(t, map[string]any{"lf": lf})
		w.take("k", string(content), anna)
		got := w.messages(anna) // checks the sizes, too
		if len(got) != 1 || !strings.HasPrefix(got[0], returnPath) {
			t.Fatalf("%q gives %q", content, got)
		}
		if flaw := strings.Contains(strings.ReplaceAll(got[0], "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(got[0], "\r\n", ""), "\r") || !strings.HasSuffix(got[0], "\r\n"); flaw {
			t.Errorf("%q gives %q", content, got)
		}
		if canonical := strings.ReplaceAll(string(content), "\r\n", ""); !strings.ContainsAny(canonical, "\r\n") &&
			(len(content) == 0 || strings.HasSuffix(string(content), "\r\n")) && got[0] != returnPath+string(content) {
			t.Errorf("%q comes back as %q", content, got)
		}
	})
}
