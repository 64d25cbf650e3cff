package maildir

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// schema documents the settings.
var schema = sync.OnceValue(func() []backends.Setting {
	return backends.SchemaOf(ownSettings{Root: defaultRoot, LF: true, DetailSeparator: defaultSeparator}, map[string]backends.SettingNote{
		"root": {Doc: "The folder that holds everything: DOMAIN/LOCAL-PART/{tmp,new,cur} in it is an inbox, .Sub.Folder beside those the folder Sub/Folder."},
		"accounts": {
			Doc:     "The file of accounts: who has a mailbox, with which password and addresses. \"dipylon maildir user\" writes it.",
			Default: defaultAccounts + " in root",
		},
		"quota":            {Doc: "The most that a mailbox may hold, as 1GiB; an account's own goes before it.", Default: "none"},
		"message_limit":    {Doc: "The largest message that is taken, as 50MB.", Default: "none"},
		"lf":               {Doc: "Messages are kept with LF, as other programs expect; false: with CRLF."},
		"act_for":          {Doc: "The gateway may open a mailbox without its password: what application passwords and client certificates need."},
		"detail_separator": {Doc: "Mail for ada+lists@ is for ada@; \"\": it is not."},
		"postmaster":       {Doc: "The account that gets mail for postmaster.", Default: "the first account"},
		"outbox":           {Doc: "Messages that programs of this machine put into an account's folder .Outbox/new are sent, from the account."},
	})
})
