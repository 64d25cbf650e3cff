//go:build linux

package imap_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// BenchmarkSend sends through a submission server that takes everything at once, from so many mailboxes at a time: without copies for the Sent
// folders, and with them. What is measured is how long who sends waits; copies/s are those that were made meanwhile.
//
//	go test -run '^$' -bench BenchmarkSend -benchtime 2s ./backends/imap
func BenchmarkSend(b *testing.B) {
	for _, sent := range []string{"", `Sent`} {
		for _, mailboxes := range []int{1, 8} {
			b.Run(fmt.Sprintf("sent=%s/mailboxes=%d", sent, mailboxes), func(b *testing.B) { benchmarkSend(b, sent, mailboxes) })
		}
	}
}

func benchmarkSend(b *testing.B, sent string, mailboxes int) {
	upstream := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}}).Start(b)
	var copies atomic.Int64
	server := &fakeimap.Server{Caps: fakeimap.Caps, On: []fakeimap.Rule{{Command: "^APPEND ", Make: func(_, _, right string) string {
		copies.Add(1)
		return right
	}}}}
	fakeimap.Start(b, server)
	s := imap.New()
	g := given(b, map[string]any{
		"address": server.Address, "tls": "none", "timeout": "30s", "master": map[string]any{"user": "keeper", "password": "secret"},
		"submission": map[string]any{"address": upstream.Address, "tls": "none", "sent": sent},
	})
	if err := s.Configure(b.Context(), g); err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the figures are there
	var next atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	b.ResetTimer()
	for i := range mailboxes {
		all.Go(func() {
			c := backends.Credential{Kind: backends.CredentialImpersonation, User: fmt.Sprintf("u%d@peer.example", i)}
			session, err := s.OpenSending(b.Context(), c)
			if err != nil {
				b.Error(err)
				return
			}
			defer session.Close() //nolint:errcheck // what was sent has its verdicts
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				content := fmt.Sprintf("Message-ID: <%d@peer.example>\r\nSubject: a bench\r\n\r\n%s\r\n", n, strings.Repeat("text ", 600))
				d := backends.Delivery{Key: fmt.Sprint("k", n), Envelope: backends.Envelope{From: c.User}, Recipients: backends.To("far@far.example"), Size: int64(len(content))}
				if v, err := session.Send(b.Context(), d, strings.NewReader(content)); err != nil || v[0].Failure != nil {
					b.Error(v, err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "messages/s")
	b.ReportMetric(float64(copies.Load())/time.Since(begun).Seconds(), "copies/s")
	for _, m := range s.Metrics() {
		if m.Name == "logins" {
			b.ReportMetric(m.Value/float64(b.N), "logins/message")
		}
	}
}
