package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"regexp"
	"slices"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

// digest is that of the whole collection: names, flags, and octets. It changes only when
// somebody changes the collection, and then it is put here by hand.
const digest = "36dd9dd8620467b06e1c1e0b95834a772dbe851a92e0e7c38072bb8fc6310c75"

func TestTheSameOctetsEverywhere(t *testing.T) {
	h := sha256.New()
	for m := range All() {
		io.WriteString(h, m.Name)
		for _, flag := range []bool{m.EightBit, m.UTF8, m.Long, m.NUL, m.Unfinished} {
			if flag {
				h.Write([]byte{1})
			}
			h.Write([]byte{0})
		}
		h.Write(m.Content())
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		t.Errorf("the collection has changed: its digest is %s", got)
	}
}

func TestNamesAreUniqueAndMany(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_+-]+$`)
	var names []string
	for m := range All() {
		if !valid.MatchString(m.Name) {
			t.Errorf("%q is not a name", m.Name)
		}
		names = append(names, m.Name)
	}
	slices.Sort(names)
	if most := len(slices.Compact(slices.Clone(names))); most != len(names) {
		t.Errorf("%d names for %d messages", most, len(names))
	}
	if len(names) < 100 {
		t.Errorf("%d messages, and at least 100 were promised", len(names))
	}
	t.Logf("%d messages", len(names))
}

func TestContentsAreCanonicalAndFlagsTrue(t *testing.T) {
	for m := range All() {
		t.Run(m.Name, func(t *testing.T) {
			content := m.Content()
			if rest := bytes.ReplaceAll(content, []byte("\r\n"), nil); bytes.ContainsAny(rest, "\r\n") {
				t.Error("a CR or LF stands alone")
			}
			finished := len(content) == 0 || bytes.HasSuffix(content, []byte("\r\n"))
			check := func(flag string, declared, found bool) {
				if declared != found {
					t.Errorf("%s is %t, and the octets say %t", flag, declared, found)
				}
			}
			check("Unfinished", m.Unfinished, !finished)
			check("NUL", m.NUL, bytes.IndexByte(content, 0) >= 0)
			check("EightBit", m.EightBit, slices.Max(append([]byte{0}, content...)) > 127)
			longest := 0
			for line := range bytes.SplitSeq(content, []byte("\r\n")) {
				longest = max(longest, len(line))
			}
			check("Long", m.Long, longest > 998)
			if m.UTF8 && (!m.EightBit || !utf8.Valid(content)) {
				t.Error("UTF8 is set, and there is no UTF-8")
			}
			if !bytes.Equal(content, m.Content()) {
				t.Error("the second making differs from the first")
			}
		})
	}
}

func TestDotsStandAtTheEdges(t *testing.T) {
	for _, edge := range bufferEdges {
		for _, shift := range []int{-1, 0, 1} {
			m := dotAt(edge, shift)
			content := m.Content()
			at := bytes.Index(content, []byte("\r\n.")) + 2
			if at != edge+shift {
				t.Errorf("%s: the first dot stands at %d", m.Name, at)
			}
		}
	}
}

func TestFilledIsExact(t *testing.T) {
	for n := 2; n < 500; n++ {
		if got := filled(n); len(got) != n || len(got) > 0 && got[len(got)-2:] != "\r\n" {
			t.Fatalf("filled(%d) has %d octets: %q", n, len(got), got)
		}
	}
}

func TestSamplesFitTheirCharsets(t *testing.T) {
	for _, c := range charsets {
		if c.encoding == encoding.Nop {
			continue
		}
		if _, err := c.encoding.NewEncoder().Bytes([]byte(c.sample)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestMailboxHasTheSizesItPromises(t *testing.T) {
	box := Mailbox{Seed: 1, Messages: 20000}
	var sizes []int64
	for mail := range box.All() {
		sizes = append(sizes, mail.Size)
	}
	slices.Sort(sizes)
	median, mean := float64(sizes[len(sizes)/2]), float64(box.Octets())/float64(len(sizes))
	if math.Abs(median/medianSize-1) > 0.1 || math.Abs(mean/meanSize-1) > 0.25 {
		t.Errorf("median %.0f, mean %.0f; wanted about %d and %d", median, mean, medianSize, meanSize)
	}
	if again := (Mailbox{Seed: 2, Messages: 20000}); again.Octets() == box.Octets() {
		t.Error("another seed gives the same mailbox")
	}
}

func TestMailsAreCanonicalAndOfTheirSize(t *testing.T) {
	for mail := range (Mailbox{Seed: 3, Messages: 50}).All() {
		content, err := io.ReadAll(mail.Reader())
		if err != nil || int64(len(content)) != mail.Size {
			t.Fatalf("mail %d has %d octets (%v) instead of %d", mail.Number, len(content), err, mail.Size)
		}
		if rest := bytes.ReplaceAll(content, []byte("\r\n"), nil); bytes.ContainsAny(rest, "\r\n") {
			t.Errorf("mail %d: a CR or LF stands alone", mail.Number)
		}
		if !bytes.HasSuffix(content, []byte("\r\n")) {
			t.Errorf("mail %d does not end with CRLF", mail.Number)
		}
		if again, _ := io.ReadAll(mail.Reader()); !bytes.Equal(content, again) {
			t.Errorf("mail %d differs the second time", mail.Number)
		}
	}
}

func TestSizedIsExact(t *testing.T) {
	for size := int64(leastSize); size < leastSize+200; size++ {
		if n, err := io.Copy(io.Discard, Sized("exact", size)); n != size || err != nil {
			t.Fatalf("Sized(%d) has %d octets (%v)", size, n, err)
		}
	}
}

func TestFindAndSmall(t *testing.T) {
	if _, err := Find("dots/alone"); err != nil {
		t.Error(err)
	}
	if _, err := Find("dots/none"); err == nil {
		t.Error("a message that does not exist was found")
	}
	for m := range Small(10_000) {
		if len(m.Content()) > 10_000 {
			t.Errorf("%s is not small", m.Name)
		}
	}
}
