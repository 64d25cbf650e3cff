package pop3

import (
	"crypto/md5"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

// timestampForm is a msg-id (RFC 1939 §7, RFC 822 §6.1) at the end of a greeting.
var timestampForm = regexp.MustCompile(`^\+OK POP3 server ready (<[a-z2-7.]+@pop3\.invalid>)$`)

func TestAPOP(t *testing.T) {
	fake := newFake("Subject: one\r\n\r\nHello.\r\n")
	fake.digest = true
	r := start(t, fake, nil)
	greeted := func() (*client, string) {
		c := r.dialPipe()
		found := timestampForm.FindStringSubmatch(c.line())
		if found == nil {
			t.Fatal("the greeting has no timestamp")
		}
		return c, found[1]
	}
	digest := func(timestamp, password string) string {
		sum := md5.Sum([]byte(timestamp + password))
		return hex.EncodeToString(sum[:])
	}
	c, timestamp := greeted()
	other, another := greeted()
	if timestamp == another {
		t.Error("two connections have one timestamp")
	}
	c.do("APOP bob", "-ERR wrong number of arguments")
	c.do("APOP bob "+digest(timestamp, "secret")+" x", "-ERR wrong number of arguments")
	c.do("APOP bob c4c9", "-ERR not a digest")
	c.do("APOP bob "+strings.Repeat("g", 32), "-ERR not a digest")
	c.do("APOP bob "+digest(timestamp, "wrong"), "-ERR [AUTH] …")
	c.do("APOP nobody "+digest(timestamp, "secret"), "-ERR [AUTH] …")
	c.do("APOP bob "+digest(another, "secret"), "-ERR [AUTH] …")
	other.do("APOP bob "+strings.ToUpper(digest(another, "secret")), "+OK maildrop has 1 messages")
	other.do("APOP bob "+digest(another, "secret"), "-ERR command not valid in this state")
	other.do("STAT", "+OK 1 24")
	other.do("QUIT", "+OK …")
}
