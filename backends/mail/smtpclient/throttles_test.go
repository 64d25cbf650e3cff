package smtpclient_test

import (
	"testing"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// TestThrottles: a server that gets too much is told from one that greylists, is short of space, or speaks of a recipient. The
// texts are those of Exchange Online, Google and Postfix.
func TestThrottles(t *testing.T) {
	for text, want := range map[string]bool{
		"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=FR0P281MB0001.DEUP281.PROD.OUTLOOK.COM]":                  true,
		"432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information. [Hostname=X]":      true,
		"421 4.4.2 Message submission rate for this client has exceeded the configured limit":                                              true,
		"451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)":                                                       true,
		"450 4.7.3 The account's sending limit was exceeded":                                                                               true,
		"450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.": false,
		"421 4.7.0 Temporary System Problem. Try again later":                                                                              false,
		"454 4.7.0 Too many login attempts, please try again later":                                                                        true,
		"421 too many connections": true,
		"450 4.7.1 <a@far.example>: Recipient address rejected: Greylisted":                   false,
		"451 4.3.0 Temporary lookup failure":                                                  false,
		"452 4.3.1 Insufficient system storage":                                               false,
		"452 4.2.2 The recipient's mailbox is over its limit":                                 false,
		"452 4.5.3 Too many recipients":                                                       false,
		"452 too many recipients":                                                             false,
		"550 5.7.232 Your message can't be sent because your tenant exceeded its daily limit": false,
	} {
		code := int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0')
		if got := (smtpclient.Reply{Code: code, Lines: []string{text[4:]}}).Throttles(); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
