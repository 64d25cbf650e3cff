package storetest

import (
	"bytes"
	"testing"
)

func TestChanged(t *testing.T) {
	const m = "Subject: x\r\nTo: y\r\n\r\nBody.\r\n"
	for _, c := range []struct {
		name, sent, got string
		same            bool
	}{
		{"the same", m, m, true},
		{"trace header", m, "Return-Path: <a@b>\r\nReceived: by x\r\n\tfor y\r\n" + m, true},
		{"a line that is no field", m, "hello\r\n" + m, false},
		{"an empty line in front", m, "\r\n" + m, false},
		{"folded at the start", m, " folded\r\n" + m, false},
		{"a field with LF", m, "X: y\n" + m, false},
		{"cut", m, m[:20], false},
		{"longer", m, m + "x\r\n", false},
		{"nothing", m, "", false},
		{"header alone", "A: b\r\n", "A: b\r\n", true},
		{"header alone, completed", "A: b\r\n", "A: b\r\n\r\n", true},
		{"header alone, trace", "A: b\r\n", "X: y\r\nA: b\r\n\r\n", true},
		{"header alone, with a body", "A: b\r\n", "A: b\r\n\r\nx\r\n", false},
		{"an empty body gets no line", "A: b\r\n\r\n", "A: b\r\n\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if flaw := changed([]byte(c.sent), []byte(c.got)); (flaw == "") != c.same {
				t.Errorf("flaw %q", flaw)
			}
		})
	}
}

func TestUnfit(t *testing.T) {
	for text, fit := range map[string]bool{
		"":                                      true,
		"the mailbox is full":                   true,
		"try again in 5 minutes":                true,
		"read/write failed":                     true,
		"see https://sakes.example":             true,
		"mailbox of anna@sakes.example is full": true,
		"two\nlines":                            false,
		"tab\there":                             false,
		"open /var/mail/anna: denied":           false,
		`C:\mail\anna is missing`:               false,
		"dial tcp 10.0.0.1:143: refused":        false,
		"localhost is down":                     false,
		"panic: runtime error":                  false,
		"store.go:12: nil":                      false,
		string(bytes.Repeat([]byte("long "), 100)) + "end": false,
	} {
		if flaw := unfit(text); (flaw == "") != fit {
			t.Errorf("%q: flaw %q", text, flaw)
		}
	}
}

func TestTopOf(t *testing.T) {
	const m = "A: b\r\n\r\none\r\n\r\nthree\r\n"
	for lines, want := range []string{"A: b\r\n\r\n", "A: b\r\n\r\none\r\n", "A: b\r\n\r\none\r\n\r\n", m, m} {
		if got := string(topOf([]byte(m), lines)); got != want {
			t.Errorf("%d lines: %q, want %q", lines, got, want)
		}
	}
}

// FuzzMessages: what the suite does with octets of a store's choice holds together.
func FuzzMessages(f *testing.F) {
	for _, seed := range []string{"", "A: b\r\n\r\nx\r\n", "A: b\r\n", "\n", "\r", " x\r\n", "A: b\nC", ".\r\n"} {
		f.Add([]byte(seed), []byte("A: b\r\n\r\nx\r\n"), 1)
	}
	f.Fuzz(func(t *testing.T, got, sent []byte, lines int) {
		_ = changed(sent, got)
		_ = difference(sent, got)
		if changed(got, got) != "" {
			t.Fatalf("%q differs from itself", got)
		}
		if !bytes.HasPrefix(got, topOf(got, lines)) {
			t.Fatalf("a top of %q is not its beginning", got)
		}
		if notCanonical(got) == "" && (!bytes.HasSuffix(got, []byte("\r\n")) ||
			bytes.Count(got, []byte("\r")) != bytes.Count(got, []byte("\r\n")) || bytes.Count(got, []byte("\n")) != bytes.Count(got, []byte("\r\n"))) {
			t.Fatalf("%q is taken for canonical", got)
		}
	})
}
