package content

// StrictMailboxes reads addresses by RFC 5322 alone.
var StrictMailboxes = strictMailboxes
