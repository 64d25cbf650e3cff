// Package drop collects the mail that an Exchange server writes into the Drop folder of a foreign connector, as one more outbox
// ([backends.Outbox]).
//
//	f := drop.New("/mnt/exchange/drop", log)
//	err := f.Collect(ctx, request, accept)
//	…
//	err = f.Settle(ctx, settlements)
//
// # Files
//
// Each message is a file *.eml, whose envelope stands in front of it ([pickup.ReadInjected]). A rename takes it, so that of several gateways one gets
// it, under a name that says until when:
//
//	George's letter.eml → George_s_letter~6f1c0d2a9b8e4c31,claimed=1764000300000.taken
//
// What is in front of the comma is the message's id as long as it lives. The time is in milliseconds since 1970, and 0 once the gateway has given the message back.
// A file of the same id that ends in .settled has the recipients that are finished while others are not, each in a line. A message whose envelope cannot
// be read becomes *.bad and stays, and the log says why: renamed to *.eml it is taken again.
//
// # What is not whole
//
// Exchange writes under another name, and renames. What is written by others, or copied there, has its name before it is whole, and a share
// (SMB) tells nobody when that is. So the folder is looked at again and again, and a file is taken that has not changed between two looks, for two seconds. One that ends
// before its envelope does has a minute more. A file that changes while it is read is given back.
//
// # Where
//
// Nothing outside the folder is read or written ([os.Root]), nothing below it, and no link is followed.
//
// Whoever can write into the folder sends as anybody: Exchange has asked its own who they are.
package drop
