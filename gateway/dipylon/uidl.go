package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

func newUIDL() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "uidl",
		Short: "Keep unique-ids when mail moves to another system",
		Long: `Mail programs that leave mail on the server know messages by their unique-ids, and download
everything again when those change. When a mailbox moves to another mail system its messages get
new ids; with an export from before and an import for after, they keep their unique-ids.

The import waits until the mailbox's owner logs in: then the header of each message is compared
with what was exported. Messages that are copied later are recognised at later logins, for 90 days.`,
		Example: `  dipylon uidl export --config old.yaml --user ada@sakes.example old <password.txt >ada.uidl
  dipylon uidl import --config new.yaml --account ada@sakes.example new ada.uidl`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newUIDLExport(&from), newUIDLImport(&from))
	return cmd
}

// uidlExport are the flags of "uidl export".
type uidlExport struct {
	user, folder string
	impersonate  bool
}

func newUIDLExport(from *source) *cobra.Command {
	var e uidlExport
	cmd := &cobra.Command{
		Use:   "export STORE",
		Short: "Write the unique-ids of a mailbox",
		Long: `Opens a mailbox as its owner and writes, for each message, its unique-id and what stays of it when
it moves: its size, a digest of its header, and its Message-ID. The first line of the input is the
password, unless the store lets the gateway act for its users (--impersonate).

Statuses: 0 done, 1 the mailbox cannot be opened or read, 75 the store or the state cannot be
reached now, 78 the configuration is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			credential := backends.Credential{Kind: backends.CredentialImpersonation, User: e.user, Peer: backends.Peer{Protocol: "uidl"}}
			if !e.impersonate {
				password, err := (&question{stdin: true}).read(cmd)
				if err != nil {
					return err
				}
				credential.Kind, credential.Secret = backends.CredentialPassword, password
			}
			return withIndex(cmd, from, func(ctx context.Context, cfg *config.Config, o maildrop.Options) error {
				imports, err := manage.Inventory(ctx, cfg, args[0], e.folder, credential, o)
				if errors.Is(err, server.ErrTemporary) {
					return withCode(exitTemporary, err)
				}
				if err != nil {
					return err
				}
				return index.Write(cmd.OutOrStdout(), imports)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&e.user, "user", "", "the login name (required)")
	f.StringVar(&e.folder, "folder", "", "the folder, with / between its parts (default: the inbox)")
	f.BoolVar(&e.impersonate, "impersonate", false, "without a password, where the store's settings allow that")
	_ = cmd.MarkFlagRequired("user") // fails only where there is no such flag
	return cmd
}

// withIndex does something with the index of the configuration's state.
func withIndex(cmd *cobra.Command, from *source, f func(context.Context, *config.Config, maildrop.Options) error) error {
	return withState(cmd, from, func(ctx context.Context, o state.Options) error {
		cfg, err := from.load()
		if err != nil {
			return configError(cmd, err)
		}
		db, err := state.Open(ctx, o)
		if err != nil {
			return stateError(err)
		}
		x := index.New(index.Options{Log: zerolog.Nop(), DB: db})
		return errors.Join(f(ctx, cfg, maildrop.Options{Log: zerolog.Nop(), Index: x, Keys: folder.NewKeys(db, x)}), db.Close())
	})
}

// uidlImport are the flags of "uidl import".
type uidlImport struct {
	account, folder string
	file            manage.UIDLFile
}

func newUIDLImport(from *source) *cobra.Command {
	var i uidlImport
	cmd := &cobra.Command{
		Use:   "import STORE FILE",
		Short: "Give a mailbox's messages the unique-ids that they had",
		Long: `Reads unique-ids for the messages of an account's folder. The account is named by its
address, or as its store names it, which the gateway's log tells at each login. What was imported for the folder before and has
not found its messages is replaced.

Formats:

  dipylon    what "dipylon uidl export" has written
  plain      lines of a message's name, a tab, and its unique-id; a name in angle brackets is a
             Message-ID, another one the store's id of the message
  exchange   the same, with unique-ids as Exchange's POP3 service told them: base64 of 24 octets
  dovecot    a dovecot-uidlist file, with --messages naming the Maildir that it is of (without
             it, the Maildir is the store's own now)
  cyrus      FILE is a folder of Cyrus's spool; --uidvalidity is needed

Dovecot's and Cyrus's unique-ids are made of UID and UIDVALIDITY: --form says how, as Dovecot's
pop3_uidl_format does with %u and %v. Unique-ids that a dovecot-uidlist has for a message go first.

Statuses: 0 done, 1 something is wrong with FILE, 75 the state cannot be reached now, 78 the
configuration is wrong.`,
		Example: `  dipylon uidl import --account ada@sakes.example new ada.uidl
  dipylon uidl import --account ada@sakes.example --format dovecot --messages /old/ada/Maildir new /old/ada/Maildir/dovecot-uidlist
  dipylon uidl import --account ada@sakes.example --format cyrus --uidvalidity 1698307852 new /old/spool/a/user/ada`,
		Args: cobra.ExactArgs(2),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withIndex(cmd, from, func(ctx context.Context, cfg *config.Config, o maildrop.Options) error {
				if _, err := manage.StoreNamed(cfg, args[0]); err != nil {
					return err
				}
				imports, err := i.file.Read(args[1])
				if wrong, is := errors.AsType[*manage.ArgumentError](err); is {
					return withCode(exitUsage, fmt.Errorf("--%w", wrong))
				}
				if err != nil {
					return fmt.Errorf("%s: %w", args[1], err)
				}
				key := folder.Key{Store: args[0], Account: i.account, Folder: fold.Lower(i.folder)}
				if err := o.Index.Import(ctx, key, imports); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d unique-ids wait for the messages of %s\n", len(imports), i.account)
				return nil
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&i.account, "account", "", "the account's address in lower case, or its name in the store (required)")
	f.StringVar(&i.folder, "folder", "", "the folder, with / between its parts (default: the inbox)")
	f.StringVar(&i.file.Format, "format", "dipylon", "dipylon, plain, exchange, dovecot or cyrus")
	f.StringVar(&i.file.Messages, "messages", "", "the Maildir `folder` that a dovecot-uidlist is of")
	f.Uint32Var(&i.file.Validity, "uidvalidity", 0, "the UIDVALIDITY of Cyrus's folder")
	f.StringVar(&i.file.Form, "form", "", `how unique-ids are made (default: Dovecot's "%08Xu%08Xv", Cyrus's "%v.%u")`)
	_ = cmd.MarkFlagRequired("account") // fails only where there is no such flag
	_ = cmd.MarkFlagDirname("messages")
	return cmd
}
