package manage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/stores"
)

// appProtocols are those that an application password can be limited to.
var appProtocols = []string{"pop3", "submission"}

// labelMost bounds a label, in octets.
const labelMost = 200

// Limit checks and completes what a password is to be good for.
func Limit(draft *login.AppPassword, networks []string, life string) error {
	for _, p := range draft.Protocols {
		if !slices.Contains(appProtocols, p) {
			return fmt.Errorf("there is no protocol %q: it is one of %s", p, strings.Join(appProtocols, ", "))
		}
	}
	if len(draft.Label) > labelMost || strings.ContainsFunc(draft.Label, unicode.IsControl) || !utf8.ValidString(draft.Label) {
		return fmt.Errorf("the label is one line of at most %d octets", labelMost)
	}
	var err error
	if draft.Networks, err = networksOf(networks); err != nil {
		return err
	}
	draft.Expires, err = endOf(life)
	return err
}

// networksOf reads networks and addresses. Those of IPv4-mapped IPv6 are those of IPv4, as which clients are seen.
func networksOf(texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if address, e := netip.ParseAddr(text); e == nil {
			network, err = address.WithZone("").Prefix(address.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither a network nor an address", text)
		}
		if network, err = devices.Plain(network); err != nil {
			return nil, err
		}
		all = append(all, network)
	}
	return all, nil
}

// endOf is when a span from now on, or a day, is over; zero: of no text.
func endOf(life string) (end time.Time, err error) {
	if life == "" {
		return end, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, life, time.Local); err == nil {
		end = day.AddDate(0, 0, 1) // the whole of that day
	} else {
		span, err := config.ParseDuration(life)
		if err != nil {
			return end, fmt.Errorf("%w, and no date", err)
		}
		end = time.Now().Add(span.Std())
	}
	if !end.After(time.Now()) {
		return end, fmt.Errorf("%s is over already", life)
	}
	return end, nil
}

// AccountIn finds the store that a login name is for, and the name that the gateway keeps its
// passwords under.
func AccountIn(cfg *config.Config, text string) (store, account string, err error) {
	name, ok := server.LoginPolicy(cfg).Names.Parse(text)
	if !ok || name.Mailbox != "" || name.Folder != "" {
		return "", "", fmt.Errorf("%q is not the login name of an account", text)
	}
	i := slices.IndexFunc(cfg.Stores, func(s config.Store) bool {
		if name.Domain != "" {
			return slices.Contains(s.Domains, name.Domain)
		}
		return s.Default || len(cfg.Stores) == 1
	})
	if i < 0 {
		return "", "", fmt.Errorf("no store has login names such as %q", text)
	}
	s := cfg.Stores[i]
	if stores.PasswordPolicy(s.Passwords) == stores.StorePassword {
		return "", "", fmt.Errorf("store %q takes no application passwords, its configuration says", s.Name)
	}
	return s.Name, stores.Config{Name: s.Name, Domains: s.Domains}.Account(name), nil
}

// OwnerOf asks a store whose account a password is to be of. An empty owner is one that could not be
// asked for; unknown says why. The error is [ErrNoAccount] where the store knows that there is none.
func OwnerOf(ctx context.Context, cfg *config.Config, draft login.AppPassword) (owner, unknown string, err error) {
	configured, err := StoreNamed(cfg, draft.Store)
	if err != nil {
		return "", "", err
	}
	store, err := prepare(ctx, cfg, configured)
	if err != nil {
		return "", "", err
	}
	defer store.Close() //nolint:errcheck // what was wanted is there
	if err := store.Start(ctx); err != nil {
		return "", err.Error(), nil
	}
	said, err := store.Describe(ctx)
	if err != nil {
		return "", err.Error(), nil
	}
	if !slices.Contains(said.Credentials, backends.CredentialImpersonation) {
		return "", "it does not let the gateway act for its users, and until it does the password is good for nothing", nil
	}
	account, err := store.Login(ctx, backends.Credential{
		Kind: backends.CredentialImpersonation, User: draft.Account, Peer: backends.Peer{Protocol: "password"},
	})
	switch backends.KindOf(err) {
	case 0:
		return account.ID, "", nil
	case backends.BadCredentials, backends.NotFound:
		return "", "", fmt.Errorf("store %q has %w %s", draft.Store, ErrNoAccount, draft.Account)
	}
	return "", err.Error(), nil
}

// ErrNoAccount says that a store does not have an account.
var ErrNoAccount = errors.New("no account")
