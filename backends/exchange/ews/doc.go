// Package ews is Exchange Web Services as a client (MS-OXWSCDATA, MS-OXWSCORE, MS-OXWSMSG, MS-OXWSSRCH, MS-OXWSSYNC, MS-OXWSFOLD,
// MS-OXWSRSLNM, MS-OXWSBTRF): SOAP over HTTP, which Exchange has from 2007 on, on premises.
//
//	c, err := ews.New(ews.Config{URL: "https://mail.sakes.example/EWS/Exchange.asmx", Transport: signedIn})
//	folders, err := c.GetFolder(ctx, ews.Known(ews.Inbox, ""))
//	page, err := c.FindItem(ctx, folders[0].ID, 0, 500)
//	items, err := c.GetItem(ctx, ids, true)
//	defer items.Close()
//	for { item, err := items.Next(); … io.Copy(w, item.Content) }
//
// # Signing in
//
// Config.Transport signs in: a request that comes back as 401 was refused by it. What it fails with is given on where it is a
// [backends.Failure].
//
// # Replies
//
// A reply is read as it comes: an item's MimeContent is given as a stream, and is never in memory whole. A reply is bounded in depth,
// attributes, names and texts, has no document type, and must have each element that the operation promises: one that lacks it is a
// failure and no success, as is one that ends too early. In a batch each item has an outcome of its own.
//
// # The version
//
// The first request names the oldest version of the schema that there is need of, which each server takes, and those after it the newest one that
// the server says that it has (ServerVersionInfo, MS-OXWSCDATA §2.2.3.10), up to that of Exchange 2016.
//
// # Errors
//
// Each error is a [backends.Failure]. Response codes are made kinds by a table; ErrorServerBusy has the time that
// BackOffMilliseconds names. A request that may have been carried out without word of it, and changes something that must not be
// done twice, is Uncertain. A connection that has answered with a status of 5xx is ended.
package ews
