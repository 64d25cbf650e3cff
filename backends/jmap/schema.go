package jmap

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// schema documents the settings.
var schema = sync.OnceValue(func() []backends.Setting {
	notes := map[string]backends.SettingNote{
		"url":                 {Doc: "The server, or its session resource. Without a path it is looked for at /.well-known/jmap.", Required: true},
		"hosts[]":             {Doc: "Other hosts, host or host:port, that a credential may go to, where the server has its uploads or downloads elsewhere. A URL anywhere else is not followed.", Default: "none"},
		"plaintext":           {Doc: "Allow http://: passwords in clear, for a server on this machine."},
		"auth":                {Doc: "How a client's password is presented: basic, or bearer where the service takes API tokens alone.", Values: []string{"basic", "bearer"}},
		"username":            {Doc: "The login name: the address as given, or the part before the @ (local).", Values: []string{"address", "local"}},
		"uidl":                {Doc: "header:NAME where a migration has written the unique-ids that clients remember into a header field: see backends/mail/uidl.", Default: "none"},
		"requests":            {Doc: "Downloads worth having under way for one maildrop, 1 to 256. The server's own limits hold, too."},
		"timeout":             {Doc: "Of an API request, and of a transfer in which nothing moves."},
		"delivery.accounts.*": {Doc: "Recipients' passwords by address. Without a server, these recipients' mail is uploaded and imported. With it, a retry looks first whether the message is there.", Secret: true},
		"submission":          {Doc: "What clients submit is sent through EmailSubmission."},
	}
	remote.Document(notes)
	remote.DocumentHop(notes, "delivery")
	return backends.SchemaOf(defaults(), notes)
})
