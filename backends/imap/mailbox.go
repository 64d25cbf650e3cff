package imap

import "github.com/emersion/go-imap/v2"

// open selects a mailbox, or examines it (RFC 9051 §6.3.2, §6.3.3).
func (c *connection) open(name string, readOnly bool) (*imap.SelectData, error) {
	c.client.wire.forgetUIDValidity()
	c.selected, c.readOnly = true, readOnly
	data, err := c.client.Select(name, &imap.SelectOptions{ReadOnly: readOnly}).Wait()
	if isRefusal(err) {
		c.selected = false // RFC 9051 §6.3.2: no mailbox is then
	}
	return data, err
}

// deselect leaves no mailbox selected, and removes nothing: by UNSELECT (RFC 9051 §6.4.2), or by
// CLOSE where the mailbox is open read-only, as CLOSE removes what is marked as deleted otherwise.
// Where neither is to be had the mailbox stays selected, and the pool ends the connection.
func (c *connection) deselect() error {
	var err error
	switch {
	case !c.selected:
		return nil
	case c.client.caps.Has(imap.CapUnselect):
		err = c.client.Unselect().Wait()
	case c.readOnly:
		err = c.client.UnselectAndExpunge().Wait()
	default:
		return nil
	}
	if err == nil {
		c.selected = false
	}
	if isRefusal(err) {
		return nil
	}
	return err
}
