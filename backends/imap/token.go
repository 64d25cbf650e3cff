package imap

import (
	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/bearer"
)

// newBearer chooses among the mechanisms that a server offers.
func newBearer(offered []string, address, user, token string) (*bearer.Client, error) {
	client, err := bearer.New(offered, address, user, token)
	if err != nil {
		return nil, backends.Fail(backends.Unsupported, "%w", err)
	}
	return client, nil
}

// bearerName is whose mailbox a token is to open. The server judges whether it may.
func bearerName(c backends.Credential, user string) string {
	if c.ActAs != "" {
		return c.ActAs
	}
	return user
}
