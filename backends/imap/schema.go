package imap

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// schema documents the settings.
var schema = sync.OnceValue(func() []backends.Setting {
	notes := map[string]backends.SettingNote{
		"address":               {Doc: "The IMAP server, host or host:port.", Required: true},
		"tls":                   {Doc: "How the server is reached: implicit (port 993), starttls (port 143), which is required then, or none: passwords in clear, for a server on this machine.", Values: []string{"implicit", "starttls", "none"}},
		"username":              {Doc: "The login name: the address as given, or the part before the @ (local). With local an account is the same in every domain of the store, and has an address in each.", Values: []string{"address", "local"}},
		"master.user":           {Doc: "Somebody who may act for everybody (PLAIN with an authorization identity): for logins that the gateway has proved itself, for APPEND, and to look whether a retry was delivered before.", Default: "none"},
		"master.password":       {Doc: "The password of the master user.", Secret: true},
		"submission.login_as.*": {Doc: "With oauth: who logs in to send from the mailbox that is the key, as for a shared mailbox without a licence of its own.", Default: "the mailbox"},
		"folder":                {Doc: "The mailbox that is served, as the server spells it; a shared one, too."},
		"size_estimates":        {Doc: "The server's RFC822.SIZE is known to be wrong: a message that ends far before it is served once the server has given as many octets of it a second time, as a whole. Without it such a message is taken for cut.", Default: "false"},
		"uidl":                  {Doc: "The unique-ids that clients know from a POP3 server before this one: see backends/mail/uidl.", Default: "none"},
		"trash":                 {Doc: "The folder for deleted mail, with pop3.deleted: trash.", Default: `the one marked \Trash`},
		"connections.per_account": {
			Doc: "Connections open at once for one account: below what the server allows (Dovecot: mail_max_userip_connections, 10).",
		},
		"connections.total":          {Doc: "Connections open at once: below what the server allows for one address, as all accounts come from the gateway's (Courier: MAXPERIP, 20)."},
		"connections.keep":           {Doc: "How long a connection is kept for the next session of the same credential."},
		"connections.age":            {Doc: "How old a connection may become that is kept: a password that was changed elsewhere is noticed by then, and at once when the new one is used."},
		"connections.noop":           {Doc: "How often an idle session says NOOP."},
		"connections.appends":        {Doc: "APPENDs a second to one mailbox, for delivery and for copies in Sent folders: what is more waits its turn, or comes later.", Default: "any number; 4 with oauth.provider: microsoft"},
		"timeout":                    {Doc: "Of one command without content, of connecting, and of a silence while a message is sent."},
		"delivery.append":            {Doc: "Instead of a server: append to the recipient's mailbox as the master user."},
		"delivery.folder":            {Doc: "Where APPEND puts mail, and where a retry looks for it."},
		"recipients[]":               {Doc: "With delivery only: who gets mail, where the server cannot be asked: addresses, and \"@office.example\" for everybody of a domain.", Default: "the server is asked"},
		"submission.address":         {Doc: "The store's submission server, host or host:port.", Default: "none"},
		"submission.tls":             {Doc: "How it is reached: implicit (port 465), starttls (port 587), or none.", Values: []string{"implicit", "starttls", "none"}},
		"submission.saves":           {Doc: "Whether the server itself puts what is sent into the Sent folder of who has logged in: then submission.sent is for other mailboxes alone (login_as, shared ones).", Default: "true with oauth.provider (microsoft, google), false otherwise"},
		"submission.sent":            {Doc: `The folder for a copy of what was sent, or \Sent for the one that is marked so.`, Default: "none: the server makes its own"},
		"submission.copies.messages": {Doc: "How many sent messages may be kept on the disk until their copies are in the Sent folders. What is sent beyond that gets no copy, which the log and dipylon status say. One mailbox has half of it at the most."},
		"submission.copies.octets":   {Doc: "The same in octets."},
	}
	remote.Document(notes)
	remote.DocumentHop(notes, "delivery")
	remote.DocumentOAuth(notes, "oauth")
	return backends.SchemaOf(defaults(), notes)
})
