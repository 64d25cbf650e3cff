package pop3

import (
	"sync"
	"testing"
)

// TestBadBase64DisturbsNobody has clients send what is no base64, in every place, while others log
// in (Dovecot, CVE-2025-59028: one such client ended the others' logins).
func TestBadBase64DisturbsNobody(t *testing.T) {
	t.Parallel()
	r := start(t, newFake(first), func(s *Server) { s.MaxLogins, s.MaxErrors = 100, 1000 })
	stop := make(chan struct{})
	var hostile, good sync.WaitGroup
	for _, lines := range [][]string{{"AUTH PLAIN !!!"}, {"AUTH PLAIN", "AGJv=YgBzZWNyZXQ="}, {"AUTH X-STEPS", "\xff\x00"}} {
		hostile.Go(func() {
			for {
				c := r.dialTCP()
				c.expect("+OK…")
				for range 20 {
					c.do(lines[0], map[bool]string{true: "-ERR…", false: "+ …"}[len(lines) == 1])
					for _, line := range lines[1:] {
						c.do(line, "-ERR…")
					}
				}
				c.do("QUIT", "+OK…")
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 10 {
		good.Go(func() {
			for range 10 {
				c := r.dialTCP()
				c.expect("+OK…")
				c.do("AUTH PLAIN AGJvYgBzZWNyZXQ=", "+OK maildrop has 1 messages")
				c.do("QUIT", "+OK…")
			}
		})
	}
	good.Wait()
	close(stop)
	hostile.Wait()
}

// TestLimitDuringSTLS has the limit of connections met while others are in the middle of STLS: the
// one too many is refused politely, and the others go on (Dovecot, CVE-2026-33263: a panic).
func TestLimitDuringSTLS(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*Server){
		"in all":          func(s *Server) { s.MaxConnections = 2 },
		"per address":     func(s *Server) { s.MaxPerAddress = 2 },
		"unauthenticated": func(s *Server) { s.MaxUnauthenticated = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, newFake(first), func(s *Server) { withTLS(s); limit(s) })
			a, b := r.dialTCP(), r.dialTCP()
			for _, c := range []*client{a, b} {
				c.expect("+OK…")
				c.do("STLS", "+OK…")
			}
			for range 20 {
				c := r.dialTCP()
				c.expect("-ERR [SYS/TEMP] too many connections, try again later")
				c.closed()
			}
			for _, c := range []*client{a, b} {
				c.handshake()
				c.do("USER bob", "+OK…")
				c.do("PASS secret", "+OK…")
				c.do("QUIT", "+OK…")
			}
		})
	}
}
