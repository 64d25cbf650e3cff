package smtp

import (
	"sync"
	"testing"
)

// TestBadBase64DisturbsNobody has clients send what is no base64, in every place, while others log
// in (Dovecot, CVE-2025-59028: one such client ended the others' logins).
func TestBadBase64DisturbsNobody(t *testing.T) {
	s := testServer(plainBackend())
	s.Role, s.AllowInsecureAuth = Submission, true
	s.Limits = Limits{AuthFailures: 100, Errors: 1000}
	address := onTCP(t, s)
	stop := make(chan struct{})
	var hostile, good sync.WaitGroup
	for _, script := range []string{
		"> AUTH PLAIN !!!\n< 501 5.5.2",
		"> AUTH PLAIN\n< 334\n> AHVz=ZXIAc2VzYW1l\n< 501 5.5.2",
		"> AUTH PLAIN\n< 334\n> \xff\x00\n< 501 5.5.2",
	} {
		hostile.Go(func() {
			for {
				c := dial(t, address)
				c.play("< 220\n> EHLO c\n< 250")
				for range 20 {
					c.play(script)
				}
				c.play("> QUIT\n< 221\n!")
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
				dial(t, address).play("< 220\n> EHLO c\n< 250\n> AUTH PLAIN AHVzZXIAc2VzYW1l\n< 235 2.7.0\n> QUIT\n< 221\n!")
			}
		})
	}
	good.Wait()
	close(stop)
	hostile.Wait()
	shutdown(t, s)
}

// TestLimitDuringSTARTTLS has the limit of connections met while others are in the middle of
// STARTTLS: the one too many is refused politely, and the others go on (Dovecot, CVE-2026-33263: a
// panic).
func TestLimitDuringSTARTTLS(t *testing.T) {
	for name, limits := range map[string]Limits{"in all": {Connections: 2}, "per address": {PerAddress: 2}} {
		t.Run(name, func(t *testing.T) {
			s := testServer(plainBackend())
			s.Role, s.Limits, s.TLSConfig = Submission, limits, serverTLS()
			address := onTCP(t, s)
			first, second := dial(t, address), dial(t, address)
			for _, c := range []*client{first, second} {
				c.play("< 220\n> EHLO c\n< 250\n> STARTTLS\n< 220")
			}
			for range 20 {
				dial(t, address).play("< 421 4.7.0 too many connections\n!")
			}
			for _, c := range []*client{first, second} {
				c.upgrade()
				c.play("> EHLO c\n< 250\n> AUTH PLAIN AHVzZXIAc2VzYW1l\n< 235 2.7.0\n> QUIT\n< 221\n!")
			}
			shutdown(t, s)
		})
	}
}
