package smtpclient

import (
	"context"
	"fmt"
	"strings"
)

// ETRN has a server start what it keeps for a node: a domain, "@" and a domain with all below it, or "#" and the name of a queue
// (RFC 1985 §5). The reply is 250 to 253; a refusal is a [*ReplyError]. QUIRK: it is asked also where EHLO has not told of the extension,
// as some servers tell of it only those who have logged in.
func (c *Client) ETRN(ctx context.Context, node string) (Reply, error) {
	if node == "" || strings.ContainsFunc(node, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Reply{}, fmt.Errorf("%q is no node of ETRN", node)
	}
	defer c.during(ctx)()
	r, err := c.command(0, "ETRN %s", node)
	if err == nil && (r.Code < 250 || r.Code > 253) {
		err = &ReplyError{Reply: r, Command: "ETRN"}
	}
	return r, c.reason(ctx, err)
}
