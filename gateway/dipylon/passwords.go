package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/plugins/host"
)

func newPasswords() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Add, list and revoke application passwords",
		Long: `Looks after application passwords: passwords of the gateway's own, one for each device or
program, which can be revoked one by one and limited to protocols, networks and a time. They
are good beside an account's own password, or instead of it (stores[].passwords), for stores that
let the gateway act for their users: a Maildir store with "act_for", an IMAP server with "master".

The gateway may be running; a change counts from the next login on.`,
		Example: `  dipylon password add --label "scanner, 2nd floor" --protocol submission --network 192.0.2.0/24 anna@sakes.example
  dipylon password list anna@sakes.example
  dipylon password revoke k7f2q`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newPasswordAdd(&from), newPasswordList(&from), newPasswordRevoke(&from))
	return cmd
}

// withPasswords does something with the passwords of the state that the configuration names.
func withPasswords(cmd *cobra.Command, from *source, f func(context.Context, *config.Config, *passwords.Kept) error) error {
	return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, o state.Options) error {
		db, err := state.Open(ctx, o)
		if err != nil {
			return stateError(err)
		}
		defer db.Close()
		return f(ctx, cfg, passwords.New(db))
	})
}

func newPasswordAdd(from *source) *cobra.Command {
	var draft login.AppPassword
	var networks []string
	var life string
	var unchecked bool
	cmd := &cobra.Command{
		Use:   "add ACCOUNT",
		Short: "Make a password, and show it this once",
		Long: `Makes a password for an account, which is named as it logs in. The password stands on the
standard output, and nowhere else from then on: the gateway keeps hashes of it.

The store is asked whose account that is, and the password opens no other one from then on, even if
the name comes to mean somebody else. A name that the store does not know is refused. Where the
store cannot be asked, a warning says so, and the password belongs to the account that it opens
first, provided that this has the name among its addresses.

Statuses: 0 made, 1 the store has no such account, 75 the state cannot be reached now, 78 the
configuration is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withPasswords(cmd, from, func(ctx context.Context, cfg *config.Config, kept *passwords.Kept) error {
				if err := limit(&draft, networks, life); err != nil {
					return withCode(exitUsage, err)
				}
				var err error
				if draft.Store, draft.Account, err = accountIn(cfg, args[0]); err != nil {
					return err
				}
				if !unchecked {
					if draft.Owner, err = ownerOf(ctx, cmd, cfg, draft); err != nil {
						return err
					}
				}
				made, text, err := kept.Add(ctx, draft)
				if err != nil {
					return withCode(exitTemporary, err)
				}
				cmd.PrintErrf("password %s of %s in store %s, shown this once:\n", made.ID, made.Account, made.Store)
				fmt.Fprintln(cmd.OutOrStdout(), text)
				return nil
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&draft.Label, "label", "", "what it is for, in words")
	f.StringSliceVar(&draft.Protocols, "protocol", nil, "a `protocol` that it is good for: pop3, submission (default: both)")
	f.StringSliceVar(&networks, "network", nil, "a `network` or an address that it is good from, 192.0.2.0/24 (default: everywhere)")
	f.BoolVar(&unchecked, "unchecked", false, "do not ask the store, for an account that it will have later")
	f.StringVar(&life, "expires", "", "for how long it is good, as 90d or 12h, or until which `date`, as 2027-12-31 (default: for ever)")
	return cmd
}

// appProtocols are those that an application password can be limited to.
var appProtocols = []string{"pop3", "submission"}

// labelMost bounds a label, in octets.
const labelMost = 200

// limit checks and completes what a password is to be good for.
func limit(draft *login.AppPassword, networks []string, life string) error {
	for _, p := range draft.Protocols {
		if !slices.Contains(appProtocols, p) {
			return fmt.Errorf("there is no protocol %q: it is one of %s", p, strings.Join(appProtocols, ", "))
		}
	}
	if len(draft.Label) > labelMost || strings.ContainsFunc(draft.Label, unicode.IsControl) || !utf8.ValidString(draft.Label) {
		return fmt.Errorf("the label is one line of at most %d octets", labelMost)
	}
	for _, text := range networks {
		network, err := netip.ParsePrefix(text)
		if address, e := netip.ParseAddr(text); e == nil {
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			return fmt.Errorf("%q is neither a network nor an address", text)
		}
		draft.Networks = append(draft.Networks, network.Masked())
	}
	return expire(draft, life)
}

func expire(draft *login.AppPassword, life string) error {
	if life == "" {
		return nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, life, time.Local); err == nil {
		draft.Expires = day.AddDate(0, 0, 1) // the whole of that day
	} else {
		span, err := config.ParseDuration(life)
		if err != nil {
			return fmt.Errorf("%w, and no date", err)
		}
		draft.Expires = time.Now().Add(span.Std())
	}
	if !draft.Expires.After(time.Now()) {
		return fmt.Errorf("%s is over already", life)
	}
	return nil
}

// accountIn finds the store that a login name is for, and the name that the gateway keeps its
// passwords under.
func accountIn(cfg *config.Config, text string) (store, account string, err error) {
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

// ownerOf asks a store whose account a password is to be of; empty: it cannot be asked, which is
// told.
func ownerOf(ctx context.Context, cmd *cobra.Command, cfg *config.Config, draft login.AppPassword) (string, error) {
	unknown := func(why string) (string, error) {
		cmd.PrintErrf("warning: whether store %s has an account %s could not be asked: %s\n", draft.Store, draft.Account, backends.SafeText(why))
		return "", nil
	}
	at := slices.IndexFunc(cfg.Stores, func(s config.Store) bool { return s.Name == draft.Store })
	spec, err := server.SpecOf(cfg, cfg.Stores[at])
	if err != nil {
		return "", err
	}
	if err := state.MakeFolder(spec.Settings.StateDir); err != nil {
		return "", fmt.Errorf("the state folder of store %q: %w", draft.Store, err)
	}
	store := host.New(zerolog.Nop(), spec)
	defer store.Close() //nolint:errcheck // what was wanted is there
	if err := store.Start(ctx); err != nil {
		return unknown(err.Error())
	}
	said, err := store.Describe(ctx)
	if err != nil {
		return unknown(err.Error())
	}
	if !slices.Contains(said.Credentials, backends.CredentialImpersonation) {
		return unknown("it does not let the gateway act for its users, and until it does the password is good for nothing")
	}
	account, err := store.Login(ctx, backends.Credential{
		Kind: backends.CredentialImpersonation, User: draft.Account, Peer: backends.Peer{Protocol: "password"},
	})
	switch backends.KindOf(err) {
	case 0:
		return account.ID, nil
	case backends.BadCredentials, backends.NotFound:
		return "", fmt.Errorf("store %q has no account %s; --unchecked makes a password all the same", draft.Store, draft.Account)
	}
	return unknown(err.Error())
}

func newPasswordList(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "list [ACCOUNT]",
		Short: "List the passwords, of one account or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withPasswords(cmd, from, func(ctx context.Context, cfg *config.Config, kept *passwords.Kept) (err error) {
				var store, account string
				if len(args) > 0 {
					if store, account, err = accountIn(cfg, args[0]); err != nil {
						return err
					}
				}
				all, err := kept.List(ctx, store, account)
				if err != nil {
					return withCode(exitTemporary, err)
				}
				return tellPasswords(cmd.OutOrStdout(), all)
			})
		}),
	}
}

func tellPasswords(out io.Writer, all []login.AppPassword) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tACCOUNT\tSTORE\tPROTOCOLS\tNETWORKS\tMADE\tEXPIRES\tLAST USED\tFROM\tLABEL")
	for _, p := range all {
		var networks []string
		for _, n := range p.Networks {
			networks = append(networks, n.String())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.Account, p.Store,
			some(strings.Join(p.Protocols, ","), "all"), some(strings.Join(networks, ","), "all"),
			moment(p.Created, "-"), moment(p.Expires, "never"), moment(p.LastUsed, "never"), some(p.LastFrom, "-"), p.Label)
	}
	return table.Flush()
}

func some(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// moment is a time for people, to the minute.
func moment(t time.Time, otherwise string) string {
	if t.IsZero() {
		return otherwise
	}
	return t.Local().Format("2006-01-02 15:04")
}

func newPasswordRevoke(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a password for good; sessions that are open go on",
		Args:  cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withPasswords(cmd, from, func(ctx context.Context, _ *config.Config, kept *passwords.Kept) error {
				found, err := kept.Revoke(ctx, args[0])
				switch {
				case err != nil:
					return withCode(exitTemporary, err)
				case !found:
					return fmt.Errorf("there is no password %q", args[0])
				}
				fmt.Fprintf(cmd.OutOrStdout(), "password %s is revoked\n", args[0])
				return nil
			})
		}),
	}
}
