package maildir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// benchWorld is a world for a benchmark.
func benchWorld(b *testing.B) (*Store, string) {
	b.Helper()
	root := b.TempDir()
	if err := os.WriteFile(filepath.Join(root, "accounts.yaml"), []byte(accountsText()), 0o600); err != nil {
		b.Fatal(err)
	}
	s := New()
	if err := s.Configure(b.Context(), backends.Settings{Raw: []byte(fmt.Sprintf(`{"root": %q}`, root))}); err != nil {
		b.Fatal(err)
	}
	return s, root
}

func message60KB() string {
	return "From: a@b.example\r\nSubject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 60_000/72)
}

// BenchmarkList lists a mailbox of 100,000 messages; its files are empty.
func BenchmarkList(b *testing.B) {
	s, root := benchWorld(b)
	a := address{"anna", "sakes.example"}
	if err := s.use.boxes.of(a).make(); err != nil {
		b.Fatal(err)
	}
	const count = 100_000
	for n := range count {
		part, info := "new", ""
		if n%2 == 0 {
			part, info = "cur", ":2,S"
		}
		name := sized(s.use.names.unique(fmt.Sprint(n)), 1000, 1020) + info
		if err := os.WriteFile(filepath.Join(boxDir(root, a), part, name), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	m, err := s.Open(b.Context(), backends.OpenRequest{Credential: password(anna)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range m.List(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != count {
			b.Fatal(n)
		}
	}
}

func BenchmarkFetch60KB(b *testing.B) {
	s, _ := benchWorld(b)
	if _, err := s.Deliver(b.Context(), backends.Delivery{Key: "k", Recipients: backends.To(anna)}, strings.NewReader(message60KB())); err != nil {
		b.Fatal(err)
	}
	m, err := s.Open(b.Context(), backends.OpenRequest{Credential: password(anna)})
	if err != nil {
		b.Fatal(err)
	}
	var e backends.Entry
	for e = range m.List(b.Context()) {
	}
	b.SetBytes(e.Size)
	b.ReportAllocs()
	for b.Loop() {
		c, err := m.Fetch(b.Context(), backends.FetchRequest{ID: e.ID})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

func BenchmarkDeliver60KB(b *testing.B) {
	for _, to := range [][]string{{anna}, {anna, ben, cyrus}} {
		b.Run(fmt.Sprint(len(to)), func(b *testing.B) {
			s, _ := benchWorld(b)
			content := message60KB()
			b.SetBytes(int64(len(content)))
			n := 0
			for b.Loop() {
				n++
				v, err := s.Deliver(b.Context(), backends.Delivery{Key: fmt.Sprint(n), Recipients: backends.To(to...)}, strings.NewReader(content))
				if err != nil || v[0].Failure != nil {
					b.Fatal(v, err)
				}
			}
		})
	}
}

func BenchmarkDeliverParallel(b *testing.B) {
	s, _ := benchWorld(b)
	content := message60KB()
	b.SetParallelism(8)
	b.SetBytes(int64(len(content)))
	var n keyCounter
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v, err := s.Deliver(b.Context(), backends.Delivery{Key: n.next(), Recipients: backends.To(anna)}, strings.NewReader(content))
			if err != nil || v[0].Failure != nil {
				b.Error(v, err)
			}
		}
	})
}

type keyCounter struct{ n atomic.Int64 }

func (k *keyCounter) next() string { return fmt.Sprint(k.n.Add(1)) }

func BenchmarkLogin(b *testing.B) {
	s, root := benchWorld(b)
	if err := AddUser(root, "dora@sakes.example", []byte(secret), User{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Login(b.Context(), password("dora@sakes.example")); err != nil {
			b.Fatal(err)
		}
	}
}
