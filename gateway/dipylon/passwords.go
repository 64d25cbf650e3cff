package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/state"
)

func newPasswords() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Add, list and revoke application passwords",
		Long: `Looks after application passwords: passwords of the gateway's own, one for each device or
program, which can be revoked one by one and limited to protocols, networks and a time. They
are good beside an account's own password, or instead of it (stores[].passwords), for stores that
let the gateway act for their users: a Maildir store with "act_for", an IMAP server with "master", an
Exchange server with "service".

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
				if err := manage.Limit(&draft, networks, life); err != nil {
					return withCode(exitUsage, err)
				}
				var err error
				if draft.Store, draft.Account, err = manage.AccountIn(cfg, args[0]); err != nil {
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

// ownerOf asks the store whose account a password is to be of, and warns where it cannot be asked.
func ownerOf(ctx context.Context, cmd *cobra.Command, cfg *config.Config, draft login.AppPassword) (string, error) {
	owner, unknown, err := manage.OwnerOf(ctx, cfg, draft)
	if errors.Is(err, manage.ErrNoAccount) {
		return "", fmt.Errorf("%w; --unchecked makes a password all the same", err)
	}
	if unknown != "" {
		cmd.PrintErrf("warning: whether store %s has an account %s could not be asked: %s\n", draft.Store, draft.Account, backends.SafeText(unknown))
	}
	return owner, err
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
					if store, account, err = manage.AccountIn(cfg, args[0]); err != nil {
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

// notRevoked says why a password is not revoked. That of a device is listed as well, and goes with the device.
func notRevoked(ctx context.Context, kept *passwords.Kept, id string) error {
	all, err := kept.List(ctx, "", "")
	if err != nil {
		return withCode(exitTemporary, err)
	}
	for _, p := range all {
		if p.ID == id && p.Device != "" {
			return fmt.Errorf("%s is the password of the device %s, and is not revoked: dipylon device disable %s switches it off, dipylon device remove %s removes it", id, p.Device, p.Device, p.Device)
		}
	}
	return fmt.Errorf("there is no password %q", id)
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
					return notRevoked(ctx, kept, args[0])
				}
				fmt.Fprintf(cmd.OutOrStdout(), "password %s is revoked\n", args[0])
				return nil
			})
		}),
	}
}
