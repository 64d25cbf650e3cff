package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends/maildir"
)

func newMaildir() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maildir",
		Short: "Look after Maildir stores",
		Args:  cobra.NoArgs,
		RunE:  action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.AddCommand(newMaildirUser())
	return cmd
}

func newMaildirUser() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Add, list and remove the accounts of a Maildir store",
		Long: `Changes the accounts of a Maildir store, which may be in use meanwhile.

A password is asked for twice on a terminal, and shown to nobody. Where the input is no
terminal, its first line is the password.`,
		Example: `  dipylon maildir user add --root mail me@example.org
  dipylon maildir user passwd --root mail me@example.org < password.txt
  dipylon maildir user list --root mail`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVar(&root, "root", "mail", "the store's root `folder`")
	_ = cmd.MarkPersistentFlagDirname("root") // fails only where there is no such flag
	cmd.AddCommand(newUserAdd(&root), newUserPassword(&root), newUserList(&root), newUserRemove(&root))
	return cmd
}

func newUserAdd(root *string) *cobra.Command {
	var user maildir.User
	var asked question
	cmd := &cobra.Command{
		Use:     "add ADDRESS",
		Short:   "Add an account",
		Example: "  dipylon maildir user add --root mail --name \"Anna Sake\" --alias postmaster@example.org anna@example.org",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			password, err := asked.read(cmd)
			if err != nil {
				return err
			}
			user.Address = args[0]
			return userChange(cmd, args[0]+" is added", (maildir.Users{Root: *root}).Add(cmd.Context(), user, password))
		}),
	}
	asked.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&user.Name, "name", "", "the person's name")
	f.StringSliceVar(&user.Aliases, "alias", nil, "a further `address` whose mail the account gets; @example.org: of a whole domain")
	f.StringSliceVar(&user.SendAs, "send-as", nil, "a further `address`, or @domain, that it may send as")
	f.StringSliceVar(&user.Opens, "opens", nil, "the `address` of another account whose mailbox it may open")
	f.Int64Var(&user.Quota, "quota", 0, "`octets` of mail it may have (default: the store's)")
	return cmd
}

func newUserPassword(root *string) *cobra.Command {
	var asked question
	cmd := &cobra.Command{
		Use:     "passwd ADDRESS",
		Short:   "Change an account's password",
		Example: "  dipylon maildir user passwd --root mail me@example.org",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			password, err := asked.read(cmd)
			if err != nil {
				return err
			}
			return userChange(cmd, "the password of "+args[0]+" is changed", (maildir.Users{Root: *root}).SetPassword(cmd.Context(), args[0], password))
		}),
	}
	asked.flag(cmd)
	return cmd
}

func newUserRemove(root *string) *cobra.Command {
	return &cobra.Command{
		Use:     "remove ADDRESS",
		Short:   "Remove an account; its mail stays",
		Example: "  dipylon maildir user remove --root mail me@example.org",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return userChange(cmd, args[0]+" is removed; its mail is still there", (maildir.Users{Root: *root}).Remove(cmd.Context(), args[0]))
		}),
	}
}

func newUserList(root *string) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the accounts",
		Example: "  dipylon maildir user list --root mail",
		Args:    cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			users, err := maildir.ListUsers(*root)
			if err != nil {
				return err
			}
			for _, u := range users {
				fmt.Fprintln(cmd.OutOrStdout(), strings.Join(userLine(u), "  "))
			}
			return nil
		}),
	}
}

// userLine is what a list says of an account.
func userLine(u maildir.User) []string {
	line := []string{u.Address}
	if u.Name != "" {
		line = append(line, u.Name)
	}
	if len(u.Aliases) > 0 {
		line = append(line, "also "+strings.Join(u.Aliases, ", "))
	}
	switch {
	case u.Disabled:
		line = append(line, "(disabled)")
	case !u.HasPassword:
		line = append(line, "(no password)")
	}
	return line
}

// userChange tells how a change went.
func userChange(cmd *cobra.Command, done string, err error) error {
	switch {
	case err == nil:
		fmt.Fprintln(cmd.OutOrStdout(), done)
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return withCode(exitTemporary, err) // somebody else has the file
	}
	return err
}
