// Package maildir is the store that comes with the gateway: mail as files, in Maildir++
// folders that other programs (Dovecot, mutt, a backup) may work in at the same time.
//
//	store := maildir.New(maildir.WithLogger(log))
//	err := store.Configure(ctx, backends.Settings{BaseDir: "/etc/dipylon", Raw: []byte(`{"root": "/var/mail/dipylon"}`)})
//	…
//	serve.Store(store) // as a plugin
//
// The settings are
//
//	root              the folder that holds everything; default "mail"
//	accounts          the file of the accounts; default accounts.yaml in the root; without it nothing is known of who has a mailbox (temporary)
//	quota             the most that a mailbox may hold, "1GiB"; default: no bound
//	message_limit     the largest message that is taken, "50MB"; default: no bound
//	lf                false: keep messages with CRLF; default true, as other programs expect
//	act_for           true: let the gateway open a mailbox without its password
//	detail_separator  user+detail@ is user@; default "+", "" for none
//	postmaster        the account that gets mail for postmaster; default: the first one
//	outbox            true: what programs put into an account's folder .Outbox is sent
//
// # On the disk
//
//	<root>/accounts.yaml                        see AddUser
//	<root>/<domain>/<local part>/{tmp,new,cur}  the inbox
//	<root>/<domain>/<local part>/.Sub.Folder/   the folder "Sub/Folder"
//	<root>/<domain>/<local part>/.Outbox/       messages to be sent: new is for programs, cur the gateway's
//	<root>/<domain>/<local part>/dipylon-sizes  sizes of messages that others put there; may be removed
//
// A message is written to tmp, synced, given its name in new, and new is synced: only then is
// it said to be delivered. For many recipients it is written once and linked. Its name holds
// the delivery's key, by which a delivery that is tried again finds it, and both its sizes.
//
// Messages are kept with LF and served in canonical form; package crlf says what becomes of
// files that other programs left without it.
//
// # People
//
// An entry of the accounts file has an address and, as far as there is something to say, password
// (a hash), name, aliases, send_as, opens, quota and disabled. opens names other accounts whose
// mailboxes this one may open with its own password, as alice@…!info@…: shared mailboxes are
// accounts without a password.
//
// [AddUser], [SetPassword], [RemoveUser] and [ListUsers] change the accounts file while a
// store is using it; so may an editor. The store reads it again when it has changed.
package maildir
