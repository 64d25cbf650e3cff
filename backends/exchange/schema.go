package exchange

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/remote"
)

// schema documents the settings.
var schema = sync.OnceValue(func() []backends.Setting {
	notes := map[string]backends.SettingNote{
		"url":            {Doc: "The server: https://host, whose end points are /mapi/emsmdb/ and /mapi/nspi/, or /EWS/Exchange.asmx.", Default: "found by Autodiscover"},
		"autodiscover[]": {Doc: "Without url: hosts that are asked for the server, before autodiscover.DOMAIN, and that passwords may go to, as host, host:port, or *.domain for all below it. What is below the store's domains is allowed as it is."},
		"username":       {Doc: "The login name: the address as given, or the part before the @ (local).", Values: []string{usernameAddress, usernameLocal}},
		"domain":         {Doc: `The Windows domain where logins are DOMAIN\user.`, Default: "none"},
		"removal":        {Doc: "What becomes of a message that is removed: the user can recover it for a while (soft), or not (hard).", Values: []string{removalSoft, removalHard}},
		"protocol": {
			Doc:    "What the server is spoken to with: MAPI over HTTP, and EWS where there is none (auto), or one of them alone; or RPC over TCP (rpc).",
			Values: []string{protocolAuto, protocolMAPI, protocolEWS, protocolRPC},
		},
		"rpc.host":              {Doc: "With protocol: rpc, the server's name."},
		"rpc.port":              {Doc: "The TCP port of its mailboxes (EMSMDB), where that is a fixed one.", Default: "what its endpoint mapper says"},
		"rpc.address_book.host": {Doc: "The name of the server that has the address book.", Default: "rpc.host"},
		"rpc.address_book.port": {Doc: "The TCP port of the address book (NSPI), where that is a fixed one.", Default: "what its endpoint mapper says"},
		"rpc.mapper":            {Doc: "The TCP port of the endpoint mapper."},
		"service.user":          {Doc: `The login name of an account that may open everybody's mailbox: it acts for users whom the gateway has proved, by an application password or a certificate.`, Default: "none"},
		"service.password":      {Doc: "Its password.", Secret: true},
		"service.keytab":        {Doc: "A file with its key, in the place of the password: for Kerberos.", Default: "none"},
		"service.address":       {Doc: "The address of its own mailbox, which it needs to have.", Default: "the user, where that is an address"},
		"submission":            {Doc: "What clients submit is sent by the server, from the mailbox of their account."},
		"timeout":               {Doc: "How long the server may send nothing."},
	}
	notes["delivery.create"] = backends.SettingNote{Doc: "Instead of a server: messages are created in the Inbox of their recipients by the service account. Rules, journals and filters of the server do not see them."}
	notes["outbox.mailbox"] = backends.SettingNote{Doc: "The address of a mailbox in which mail waits that the gateway is to send: of a connector. The service account opens it.", Default: "none"}
	notes["outbox.folder"] = backends.SettingNote{Doc: "The folder in it; empty: its Outbox, of which what was submitted is sent.", Default: "the Outbox"}
	notes["outbox.users[]"] = backends.SettingNote{Doc: "Instead of it, where the server has no transport: the addresses of users in whose Outbox what they have submitted waits."}
	notes["outbox.drop"] = backends.SettingNote{Doc: "Instead of it: the Drop folder of a foreign connector, as this machine has it. Whoever can write there sends as anybody.", Default: "none"}
	remote.DocumentHop(notes, "delivery")
	remote.Document(notes)
	signin.Document(notes)
	return backends.SchemaOf(defaults(), notes)
})
