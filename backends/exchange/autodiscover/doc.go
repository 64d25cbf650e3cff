// Package autodiscover finds an Exchange server by a mail address: MS-OXDISCO, with the answers of MS-OXDSCLI (POX), MS-OXWSADISC
// (SOAP) and Autodiscover's version 2 (JSON).
//
//	found, err := autodiscover.Find(ctx, autodiscover.Config{
//		Hosts: []string{"mail.elsewhere.example"}, Domains: []string{"sakes.example"}, Plain: trust, SignIn: transport,
//	}, "george@sakes.example")
//	found.MailStore // https://mail.sakes.example/mapi/emsmdb/?MailboxId=…
//
// # Where a password may go
//
// Whoever can answer for Autodiscover is sent a password, so that DNS, a redirection or a misspelt domain could lead it to
// strangers. It goes to no host but those that the administrator has listed ([Config.Hosts]), and those below the store's own
// domains ([Config.Domains]): autodiscover.sakes.example, and not sakes.example itself, which often is a web site somewhere else, nor
// autodiscover.example. It goes over https alone; the plain HTTP that MS-OXDISCO §3.1.5.3 has for redirections is not asked. What a server leads
// to, by HTTP (302), in its answer (redirectUrl, redirectAddr) or by SRV, is held to the same rules, and so is what is found in the end.
//
// A password that was refused is presented to nobody else: a login fails then, as it does at the server itself.
//
// # Bounds
//
// Ten redirections in all, none of them twice; answers of 1 MiB, 32 elements deep. Entities that a document declares are not known to
// package encoding/xml, so that an answer cannot have files or other documents read, nor grow.
package autodiscover
