package corpus

import (
	"bytes"
	"slices"
)

// joints stand between the gateway's trace and a message whose first line is no field: the header is
// empty then, and nothing of the message goes on with the trace (RFC 5322 §2.2.3).
var joints = map[string]string{
	"plain/no-header": "\r\n", "plain/no-header-blank-line": "\r\n", "plain/unfinished-one-octet": "\r\n",
	"plain/mbox-from-first": "X-Mailbox-Line: ", "dots/nothing-else": "\r\n", "dots/nothing-else-twice": "\r\n",
	"header/folded-first": "\r\n",
}

// Arriving is a message as a store is to get it, behind the trace: without a Return-Path of the client's
// (RFC 5321 §4.4).
func (m Message) Arriving() []byte {
	content := append([]byte(joints[m.Name]), m.Canonical()...)
	header, _, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	at := bytes.Index(header, []byte("Return-Path: "))
	if at < 0 || at > 0 && content[at-1] != '\n' {
		return content
	}
	return slices.Delete(content, at, at+bytes.IndexByte(content[at:], '\n')+1)
}
