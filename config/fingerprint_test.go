package config

import "testing"

// TestFingerprint: what was read twice is the same account, and one with another secret is not.
func TestFingerprint(t *testing.T) {
	read := func(secret string) string {
		c := Collect{Name: "a", Cron: "* * * * *", TimeZone: "Europe/Athens", OAuth: &OAuth{Expires: &Date{}}}
		c.OAuth.ClientSecret.Value = secret
		d := &decoder{}
		d.collectTimes("collect[0]", &c)
		return c.Fingerprint()
	}
	first, second := read("one"), read("one")
	if first != second {
		t.Error("the same account is another one")
	}
	if read("one") == read("two") {
		t.Error("an account with another secret is the same")
	}
}
