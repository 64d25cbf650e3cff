package imap

import (
	"context"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/unicode/norm"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// canonical is a mailbox's name as the server spells it, which is its identity: the hierarchy
// delimiter is the server's own by now, so Lists/Go and Lists.Go are one name where that is ".".
// INBOX is the one name that matters in no case (RFC 9051 §5.1). Whether case matters in others is
// the server's to decide: one where it does not lists the mailbox by the name that it was made with.
func canonical(ctx context.Context, conn *connection, name string) (string, error) {
	if fold.Lower(name) == "inbox" {
		return "INBOX", nil
	}
	list, err := call(ctx, conn.client, func() ([]*imap.ListData, error) { return conn.client.List("", name, nil).Collect() })
	if err != nil {
		return "", failure("list "+name, err, backends.Temporary)
	}
	return printable(spelled(name, list)), nil
}

// spelled is the only mailbox of a list that has the name, unless the name is there as it is.
func spelled(name string, list []*imap.ListData) string {
	found := ""
	for _, entry := range list {
		switch {
		case entry.Mailbox == name:
			return name
		case !strings.EqualFold(norm.NFC.String(entry.Mailbox), norm.NFC.String(name)):
		case found != "" && found != entry.Mailbox:
			return name // two mailboxes, and this is neither
		default:
			found = entry.Mailbox
		}
	}
	if found == "" {
		return name
	}
	return found
}

// printable is another text for each name, without characters that cannot be printed.
func printable(name string) string {
	quoted := strconv.QuoteToASCII(name)
	return quoted[1 : len(quoted)-1]
}

// account is who a login is. IMAP has no call that would tell: the name that the server gets says
// it. Where that has no domain, one mailbox has as many names as there are domains.
func (s *Store) account(c backends.Credential) backends.Account {
	user := fold.Lower(c.User)
	if c.ActAs != "" {
		user = fold.Lower(c.ActAs)
	}
	if s.settings.Username == "local" {
		return s.localAccount(user)
	}
	a := backends.Account{ID: user, Address: user}
	if !strings.Contains(user, "@") {
		a.Address = ""
		if len(s.domains) > 0 {
			a.Address = user + "@" + s.domains[0]
		}
	}
	if a.Address != "" {
		a.Addresses = []string{a.Address}
	}
	return a
}

// localAccount is the account of a name whose domain the server does not get to see: the name has
// an address in each of the store's domains. The account used to be named by what was typed.
func (s *Store) localAccount(user string) backends.Account {
	local := user
	if at := strings.LastIndexByte(user, '@'); at > 0 {
		local = user[:at]
	}
	a := backends.Account{ID: local}
	for _, domain := range s.domains {
		a.Addresses = append(a.Addresses, local+"@"+domain)
	}
	a.FormerIDs = append(a.FormerIDs, a.Addresses...)
	if len(a.Addresses) == 0 && local != user {
		a.Addresses = []string{user}
	}
	if len(a.Addresses) > 0 {
		a.Address = a.Addresses[0]
	}
	return a
}
