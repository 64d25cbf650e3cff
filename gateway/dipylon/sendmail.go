package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/backends/pickup"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
)

// The exit statuses of sysexits.h that programs expect of a sendmail.
const (
	exUsage   = 64
	exData    = 65
	exNoInput = 66
	exSystem  = 71
	exNoPerm  = 77
)

// usualSystemFile is the configuration that sendmail reads where none is named: never one of the current folder, which
// may be anybody's.
const usualSystemFile = "/etc/dipylon/dipylon.yaml"

// outboxVariable names an outbox, for those who may not read the configuration.
const outboxVariable = "DIPYLON_OUTBOX"

func newSendmail() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sendmail [flags] [recipient...]",
		Short: "Send a message from the standard input, as a sendmail does",
		Long: `Puts the message of the standard input into the outbox of a Maildir store (its setting outbox), from where the
gateway sends it, now or when it runs. When the status is 0, the message is on the disk.

Called under the name sendmail, by a link to the binary, it is what cron, mail and scripts expect.

  -t            for those in To, Cc and Bcc too
  -f ADDRESS    the sender; '' or '<>': nobody hears of failures
  -F NAME       the name in the From of a message that has none
  -i, -oi       a line with a dot alone does not end the message
  -N EVENTS     what the sender wants to hear of: never, or success,failure,delay
  -R full|hdrs  how much of the message comes back with a failure
  -V ID         comes back with what the sender hears
  -bs           speak SMTP on standard input and output
  -C FILE, --config FILE    the configuration (default: ` + usualSystemFile + `)
  --account ADDRESS         send from this account (default: that of the user's name)
  --outbox FOLDER           the outbox itself, which takes no configuration (default: $` + outboxVariable + `)

An address without a domain is in the account's. Who may write into the folder may send from the account. Other flags of a
sendmail that change nothing here are taken and ignored: -bm, -B, -e, -G, -h, -m, -n, -o, -U, -v.

Statuses: 0 taken over, 64 the command line is wrong or names nobody, 65 an address cannot be read, 66 the input breaks
off, 71 the user has no name, 75 it cannot be written now, 77 it may not be written, 78 there is no outbox.`,
		Example: `  dipylon sendmail -t < message.eml
  echo "the backup is done" | dipylon sendmail -F Backup --account ada@example.org root
  ln -s /usr/local/bin/dipylon /usr/sbin/sendmail`,
		DisableFlagParsing: true, // -oi, -fADDRESS: they are no flags of today's form
		RunE: action(func(cmd *cobra.Command, args []string) error {
			s, err := parseSendmail(args)
			switch {
			case err != nil:
				return withCode(exUsage, err)
			case s.help:
				return cmd.Help()
			}
			return s.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}),
	}
	return cmd
}

// sendmail is a command line.
type sendmail struct {
	fromHeader, dots, smtp, help bool
	sender                       *string
	name                         string
	notify                       backends.Notify
	returns                      backends.Return
	id                           string
	config, account, outbox      string
	recipients                   []string
}

// parseSendmail reads a command line as sendmail's is: values stand behind their letters or in the next argument.
func parseSendmail(args []string) (*sendmail, error) {
	s := &sendmail{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			s.recipients = append(s.recipients, args...)
			return s, nil
		case strings.HasPrefix(arg, "--"):
			name, value, given := strings.Cut(arg[2:], "=")
			if name == "help" {
				s.help = true
				continue
			}
			if !given && len(args) > 0 {
				value, args, given = args[0], args[1:], true
			}
			if err := s.long(name, value, given); err != nil {
				return nil, err
			}
		case len(arg) > 1 && arg[0] == '-':
			rest, err := s.short(arg[1:], args)
			if err != nil {
				return nil, err
			}
			args = rest
		default:
			s.recipients = append(s.recipients, arg)
		}
	}
	return s, nil
}

func (s *sendmail) long(name, value string, given bool) error {
	into := map[string]*string{"config": &s.config, "account": &s.account, "outbox": &s.outbox}[name]
	if into == nil {
		return fmt.Errorf("there is no flag --%s", name)
	}
	if !given {
		return fmt.Errorf("--%s needs a value", name)
	}
	*into = value
	return nil
}

// valued are the letters that have a value.
const valued = "fFrNRVCBhoOXepqAL"

// short takes the flags of one argument: letters, and a value behind the last one of them, or in the next argument.
func (s *sendmail) short(letters string, next []string) (rest []string, err error) {
	for i := 0; i < len(letters); i++ {
		letter, value := letters[i], letters[i+1:]
		switch {
		case letter == 'b':
			return next, s.mode(value)
		case strings.IndexByte(valued, letter) >= 0:
			// These have their value with them, or none.
			if value == "" && strings.IndexByte("oepq", letter) < 0 {
				if len(next) == 0 {
					return nil, fmt.Errorf("-%c needs a value", letter)
				}
				value, next = next[0], next[1:]
			}
			return next, s.value(letter, value)
		case letter == 't':
			s.fromHeader = true
		case letter == 'i':
			s.dots = true
		case strings.IndexByte("GUmnv", letter) >= 0: // of no meaning here
		default:
			return nil, fmt.Errorf("there is no flag -%c", letter)
		}
	}
	return next, nil
}

func (s *sendmail) mode(value string) error {
	switch value {
	case "m":
	case "s":
		s.smtp = true
	default:
		return fmt.Errorf("there is no mode -b%s: mail waits in the gateway's queue, which dipylon queue shows", value)
	}
	return nil
}

func (s *sendmail) value(letter byte, value string) error {
	ok := true
	switch letter {
	case 'f', 'r':
		value = strings.TrimSuffix(strings.TrimPrefix(value, "<"), ">")
		s.sender = &value
	case 'F':
		s.name = value
	case 'N':
		s.notify, ok = pickup.ParseNotify(value)
	case 'R':
		s.returns, ok = pickup.ParseReturn(value)
	case 'V':
		s.id = value
	case 'C':
		s.config = value
	case 'o':
		s.dots = s.dots || value == "i"
	case 'q':
		return errors.New("there is no -q: the gateway sends what waits by itself, and dipylon queue retry has it tried at once")
	}
	if !ok {
		return fmt.Errorf("-%c cannot be %q", letter, value)
	}
	return nil
}

// run sends a message, or those of a dialogue.
func (s *sendmail) run(ctx context.Context, in io.Reader, out io.Writer) error {
	box, err := s.find()
	if err != nil {
		return err
	}
	if s.smtp {
		return s.speak(ctx, box, in, out)
	}
	e, err := s.envelope(box)
	if err != nil {
		return err
	}
	return s.submit(box, e, in)
}

// envelope is what the command line says of it.
func (s *sendmail) envelope(box maildir.Outbox) (e pickup.Envelope, err error) {
	e = pickup.Envelope{Sender: s.sender, Return: s.returns, ID: s.id}
	if s.sender != nil && *s.sender != "" {
		found, err := box.Addresses(*s.sender)
		if err != nil || len(found) != 1 {
			return e, withCode(exUsage, fmt.Errorf("the sender: %w", cmp.Or(err, fmt.Errorf("%q is no address", *s.sender))))
		}
		e.Sender = &found[0].Address
	}
	for _, text := range s.recipients {
		found, err := box.Addresses(text)
		if err != nil {
			return e, withCode(exData, err)
		}
		e.Recipients = append(e.Recipients, found...)
	}
	if len(e.Recipients) == 0 && !s.fromHeader {
		return e, withCode(exUsage, errors.New("nobody is named: name recipients, or have them read from the message with -t"))
	}
	return e, nil
}

// find finds the outbox.
func (s *sendmail) find() (maildir.Outbox, error) {
	folder := s.outbox
	if folder == "" && s.account == "" && s.config == "" {
		folder = os.Getenv(outboxVariable)
	}
	if folder != "" {
		box, err := maildir.OutboxIn(folder)
		return box, noOutbox(err)
	}
	roots, err := s.roots()
	if err != nil {
		return maildir.Outbox{}, withCode(exitConfig, err)
	}
	accounts, err := s.accounts(roots)
	if err != nil {
		return maildir.Outbox{}, withCode(exSystem, err)
	}
	for _, a := range accounts {
		box, err := maildir.OutboxOf(a.root, a.address)
		if !errors.Is(err, fs.ErrNotExist) {
			return box, noOutbox(err)
		}
	}
	return maildir.Outbox{}, withCode(exitConfig, errors.New("the user's account has no mailbox in a Maildir store with outboxes: name one with --account, or the folder with --outbox"))
}

// noOutbox makes the exit status of an outbox that cannot be used.
func noOutbox(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return withCode(exNoPerm, err)
	}
	return withCode(exitConfig, err)
}

// storeRoot is a Maildir store with outboxes.
type storeRoot struct {
	root    string
	domains []string
}

// roots are the Maildir stores with outboxes of the configuration.
func (s *sendmail) roots() (found []storeRoot, err error) {
	cfg, err := config.Load(cmp.Or(s.config, usualSystemFile), config.Options{Builtins: builtinKinds()})
	if err != nil {
		return nil, fmt.Errorf("%w (the folder can be named instead, with --outbox or %s)", err, outboxVariable)
	}
	for _, store := range cfg.Stores {
		if store.Plugin.Builtin != "maildir" {
			continue
		}
		spec, err := server.SpecOf(cfg, store)
		if err != nil {
			return nil, err
		}
		root, err := maildir.OutboxRoot(spec.Settings)
		if err != nil {
			return nil, fmt.Errorf("the settings of store %s: %w", store.Name, err)
		}
		if root != "" {
			found = append(found, storeRoot{root, store.Domains})
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no Maildir store of the configuration has outboxes: set outbox in its settings")
	}
	return found, nil
}

// accountAt is an account that there may be.
type accountAt struct{ root, address string }

// accounts are those that may be meant: the one that is named, or those of the user's name in any of the domains.
func (s *sendmail) accounts(roots []storeRoot) (found []accountAt, err error) {
	name := s.account
	if name == "" {
		who, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("the user's name is not known: %w", err)
		}
		name = filepath.Base(who.Username)
	}
	_, domain, whole := strings.Cut(name, "@")
	for _, r := range roots {
		switch {
		case !whole:
			for _, d := range r.domains {
				found = append(found, accountAt{r.root, name + "@" + d})
			}
		case slices.Contains(r.domains, strings.ToLower(domain)):
			found = append(found, accountAt{r.root, name})
		}
	}
	return found, nil
}
