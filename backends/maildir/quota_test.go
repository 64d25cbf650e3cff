package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

func TestQuota(t *testing.T) {
	const each = 1000
	message := func(n int) string {
		head := fmt.Sprintf("Subject: %d\r\n\r\n", n)
		// With LF, and with the Return-Path, it is `each` octets on the disk.
		return head + strings.Repeat("x", each-len(returnPath)-len(head)+2) + "\r\n"
	}
	w := newWorld(t, map[string]any{"quota": "3500B"})
	over := func(v backends.Verdict) bool { return v.Failure != nil && v.Failure.Kind == backends.OverQuota }
	resolve := func(size int64) backends.Verdict {
		v, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(anna), Size: size})
		if err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	for n := range 3 {
		if v := resolve(each); v.Failure != nil || v.Holds != 0 {
			t.Fatalf("before message %d: %v, which holds for %v", n, v.Failure, v.Holds)
		}
		w.take(fmt.Sprint(n), message(n), anna)
	}
	if v := w.deliver(backends.Delivery{Key: "3", Recipients: backends.To(anna, ben)}, message(3)); !over(v[0]) || v[1].Failure != nil {
		t.Errorf("the fourth: %+v", v)
	}
	if v := resolve(each); !over(v) || v.Failure.Reply().SMTP != 452 || v.Failure.Reply().Code != "4.2.2" {
		t.Errorf("a fourth: %v", v.Failure)
	}
	if v := resolve(200); v.Failure != nil {
		t.Errorf("a small one: %v", v.Failure)
	}
	if v := resolve(4000); v.Failure == nil || v.Failure.Kind != backends.TooLarge {
		t.Errorf("one that never fits: %v", v.Failure)
	}
	// What does not say its size is found out while it is written.
	v, err := w.Deliver(t.Context(), backends.Delivery{Key: "4", Recipients: backends.To(anna, cyrus)}, strings.NewReader(message(4)))
	if err != nil || !over(v[0]) || v[1].Failure != nil || len(w.files(anna)) != 3 || len(w.files(cyrus)) != 1 {
		t.Errorf("without a size: %+v, %v", v, err)
	}
	// Other programs make room, and take it, also in other folders and without sizes in the names.
	box := filepath.Join(w.root, "sakes.example", "anna")
	names := w.files(anna)
	if err := os.Remove(filepath.Join(w.root, names[0])); err != nil {
		t.Fatal(err)
	}
	if v := resolve(each); v.Failure != nil {
		t.Errorf("after another program made room: %v", v.Failure)
	}
	if err := os.MkdirAll(filepath.Join(box, ".Old", "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(box, ".Old", "cur", "1.x:2,S"), strings.Repeat("x", 1400))
	if v := resolve(each); !over(v) {
		t.Errorf("after another program filled a folder: %v", v.Failure)
	}
	// An account's own quota comes first.
	text, _ := os.ReadFile(filepath.Join(w.root, "accounts.yaml"))
	writeFile(t, filepath.Join(w.root, "accounts.yaml"), strings.Replace(string(text), "name: Anna Sakes", "quota: 1MiB", 1))
	if v := resolve(each); v.Failure != nil {
		t.Errorf("with a quota of its own: %v", v.Failure)
	}
}

// TestQuotaCountsWhatIsUnderWay delivers at the same time what fits only one after the other.
func TestQuotaCountsWhatIsUnderWay(t *testing.T) {
	w := newWorld(t, map[string]any{"quota": 3000})
	body := "Subject: x\r\n\r\n" + strings.Repeat("x", 1800) + "\r\n"
	results := make(chan *backends.Failure, 8)
	for n := range cap(results) {
		go func() {
			v, err := w.Deliver(t.Context(), backends.Delivery{Key: fmt.Sprint(n), Recipients: backends.To(anna), Size: int64(len(body))}, strings.NewReader(body))
			if err != nil {
				t.Error(err)
			}
			results <- v[0].Failure
		}()
	}
	taken := 0
	for range cap(results) {
		if f := <-results; f == nil {
			taken++
		} else if f.Kind != backends.OverQuota {
			t.Error(f)
		}
	}
	if taken != 1 || len(w.files(anna)) != 1 {
		t.Errorf("%d were taken, %d are there", taken, len(w.files(anna)))
	}
}
