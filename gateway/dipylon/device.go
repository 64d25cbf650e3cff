package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/state"
)

func newDevice() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Look after scanners, ticket systems and other machines that send or read mail",
		Long: `Looks after devices: machines that send mail, or read it, without a person at them. A device works
for an account of a store that lets the gateway act for its users (as for "dipylon password"), and
proves itself in one of three ways:

  a password    of its own, which is shown once when the device is added
  a network     without any login: whoever is at these addresses is the device
  a certificate that it shows when TLS begins, and with it no login is needed either

What it may do is its own: senders, recipients, how much in which time, how large, until when; and
what is done to its mail: a sender that is always the same, names, dates and charsets put right. Its
owner, a person, is told of mail that was refused.

The gateway may be running: when a command here has ended, a change counts for all that devices say
from then on, on all gateways.`,
		Example: `  # A scanner that knows neither TLS nor logins, on its network:
  dipylon device add scanner --account office@sakes.example --owner it@sakes.example \
      --place "2nd floor" --network 192.168.7.20 --no-login --legacy --sender office@sakes.example
  # A ticket system that reads and sends, with a password:
  dipylon device add tickets --account help@sakes.example --owner it@sakes.example \
      --protocol pop3 --protocol submission --per-day 2000
  dipylon device list
  dipylon device disable scanner`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newDeviceAdd(&from), newDeviceList(&from), newDeviceShow(&from),
		newDeviceSwitch(&from, "disable", "off", true), newDeviceSwitch(&from, "enable", "on", false), newDeviceRemove(&from))
	return cmd
}

// withDevices does something with the devices of the state that the configuration names.
func withDevices(cmd *cobra.Command, from *source, f func(context.Context, *config.Config, *devices.Book) error) error {
	return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, o state.Options) error {
		db, err := state.Open(ctx, o)
		if err != nil {
			return stateError(err)
		}
		defer db.Close()
		return f(ctx, cfg, devices.New(devices.Options{Log: zerolog.Nop(), DB: db, Passwords: passwords.New(db), Counts: quota.New(db)}))
	})
}

// addition is what the flags of "device add" say.
type addition struct {
	device    devices.Device
	texts     manage.DeviceTexts
	keep      string
	noLogin   bool
	print     string // a fingerprint
	name      string // in a certificate
	unchecked bool
	asJSON    bool
}

func newDeviceAdd(from *source) *cobra.Command {
	var a addition
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a device, and show its password this once",
		Long: `Adds a device. Without --no-login and without a certificate it has a password, which stands on the
standard output, and nowhere else from then on; its login name is that of its account.

Two devices cannot have the same network. Where one's network is within another's, an address is the
device's with the smaller one. A network without a password is private, or small.

The rates of a minute and an hour are how fast mail leaves: more is taken, and waits in the queue. More
than a day's is refused.

Statuses: 0 added, 1 it cannot be so, or the store has no such account, 75 the state cannot be reached
now, 78 the configuration is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			a.device.Name = args[0]
			return withDevices(cmd, from, func(ctx context.Context, cfg *config.Config, book *devices.Book) error {
				return a.add(ctx, cmd, cfg, book)
			})
		}),
	}
	a.flags(cmd)
	_ = cmd.MarkFlagRequired("account") // fails only where there is no such flag
	return cmd
}

func (a *addition) flags(cmd *cobra.Command) {
	f, d, s := cmd.Flags(), &a.device, &a.device.Sending
	f.StringVar(&a.texts.Account, "account", "", "the `account` that it works for, as it logs in")
	f.StringVar(&d.Owner, "owner", "", "the `address` of the person who is told of its mail that is refused")
	f.StringVar(&d.Place, "place", "", "where it stands, in words")
	f.StringSliceVar(&d.Protocols, "protocol", nil, "a `protocol` that it may use: pop3, submission (default: submission)")
	f.StringSliceVar(&a.texts.Networks, "network", nil, "a `network` or an address that it is at, 192.0.2.0/28 (default, with a login: everywhere)")
	f.BoolVar(&a.noLogin, "no-login", false, "whoever is at its networks is the device, and sends without a login")
	f.StringVar(&a.texts.Certificate, "certificate", "", "a PEM `file` with the device's own certificate, which it shows")
	f.StringVar(&a.print, "fingerprint", "", "the `SHA-256` of that certificate, in the file's place")
	f.StringVar(&a.texts.Authority, "certificate-ca", "", "a PEM `file` with the authority that signs its certificates, with --certificate-name")
	f.StringVar(&a.name, "certificate-name", "", "the `name` in them: a DNS name, an address, or the common name")
	f.BoolVar(&d.Legacy, "legacy", false, "it may come without TLS, or with TLS 1.0, to listeners with legacy: true")
	f.StringVar(&s.Sender, "sender", "", "the `address` that all its mail is from, whatever it says itself")
	f.StringVar(&s.SenderName, "sender-name", "", "the `name` beside that (default: the one that it has written)")
	f.StringVar(&a.keep, "keep-from", string(content.KeepReplyTo), "`where` the sender goes that it has written: reply-to, x-original-from, nothing")
	f.StringSliceVar(&s.Senders, "may-send-as", nil, "an `address`, or @domain, that it may send as (default: those of its account)")
	f.StringSliceVar(&s.Recipients, "recipient", nil, "an `address`, or @domain, that it may send to (default: everybody)")
	f.IntVar(&s.PerMinute, "per-minute", 0, "how many `messages` leave in a minute; more wait (default: any number)")
	f.IntVar(&s.PerHour, "per-hour", 0, "how many `messages` leave in an hour; more wait (default: any number)")
	f.IntVar(&s.PerDay, "per-day", 0, "how many `messages` are taken in 24 hours (default: any number)")
	f.IntVar(&s.RecipientsPerDay, "recipients-per-day", 0, "how many `recipients` its mail may have in 24 hours (default: any number)")
	f.StringVar(&a.texts.Size, "size", "", "the largest `message`, 10MiB (default: what the gateway takes)")
	f.StringVar(&a.texts.Life, "expires", "", "for how long it is good, as 90d or 12h, or until which `date`, as 2027-12-31 (default: for ever)")
	f.StringVar(&s.SubjectPrefix, "subject-prefix", "", "a `text` in front of each subject, [scanner]")
	f.StringVar(&s.Charset, "charset", "", "the `charset` of text that does not say its own and is not UTF-8 (default: windows-1252)")
	f.BoolVar(&a.unchecked, "unchecked", false, "do not ask the store, for an account that it will have later")
	f.BoolVar(&a.asJSON, "json", false, "print JSON, with the password in \"password\"")
}

func (a *addition) add(ctx context.Context, cmd *cobra.Command, cfg *config.Config, book *devices.Book) (err error) {
	d := &a.device
	if a.print != "" || a.name != "" {
		d.Certificate = &devices.Certificate{Fingerprint: a.print, Name: a.name}
	}
	d.Sending.KeepFrom = content.KeepFrom(a.keep)
	if err := manage.PrepareDevice(cfg, d, a.texts); err != nil {
		return err
	}
	switch {
	case a.noLogin && d.Certificate != nil:
		return withCode(exitUsage, errors.New("a device proves itself by its network (--no-login) or by a certificate, and not by either"))
	case a.noLogin:
		d.Proof = devices.ByNetwork
	case d.Certificate != nil:
		d.Proof = devices.ByCertificate
	default:
		d.Proof = devices.ByPassword
	}
	if err := d.Check(time.Now()); err != nil {
		return err
	}
	accountID := ""
	if !a.unchecked {
		if accountID, err = ownerOf(ctx, cmd, cfg, login.AppPassword{Store: d.Store, Account: d.Account}); err != nil {
			return err
		}
	}
	made, password, err := book.Add(ctx, *d, accountID)
	if err != nil {
		return err
	}
	book.Settle(ctx)
	for _, w := range manage.DeviceWarnings(cfg, made) {
		cmd.PrintErrf("warning: %s\n", w)
	}
	return a.tell(cmd, made, password)
}

func (a *addition) tell(cmd *cobra.Command, made *devices.Device, password string) error {
	if a.asJSON {
		return jsonLines[any](cmd.OutOrStdout())([]any{struct {
			*devices.Device
			Text string `json:"password,omitempty"`
		}{made, password}})
	}
	if password == "" {
		cmd.PrintErrf("device %s is added: it works for %s of store %s, and needs no password\n", made.Name, made.Account, made.Store)
		return nil
	}
	cmd.PrintErrf("device %s is added: it logs in as %s, with this password, shown this once:\n", made.Name, made.Account)
	fmt.Fprintln(cmd.OutOrStdout(), password)
	return nil
}

func newDeviceList(from *source) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the devices",
		Args:  cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, book *devices.Book) error {
				all, err := book.List(ctx)
				if err != nil {
					return withCode(exitTemporary, err)
				}
				if asJSON {
					return jsonLines[*devices.Device](cmd.OutOrStdout())(all)
				}
				return tellDevices(cmd.OutOrStdout(), all)
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func tellDevices(out io.Writer, all []*devices.Device) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tPROOF\tACCOUNT\tPROTOCOLS\tNETWORKS\tEXPIRES\tLAST USED\tFROM\tLAST ERROR\tPLACE")
	for _, d := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, stateOf(d), d.Proof, d.Account, strings.Join(d.Protocols, ","),
			some(networkList(d.Networks), "all"), moment(d.Expires, "never"), moment(d.LastUsed, "never"), some(d.LastFrom, "-"), moment(d.ErrorAt, "-"), d.Place)
	}
	return table.Flush()
}

func networkList(networks []netip.Prefix) string {
	var all []string
	for _, n := range networks {
		all = append(all, n.String())
	}
	return strings.Join(all, ",")
}

// stateOf says in a word whether a device can be used.
func stateOf(d *devices.Device) string {
	switch {
	case d.Disabled:
		return "off"
	case !d.Expires.IsZero() && !time.Now().Before(d.Expires):
		return "expired"
	}
	return "on"
}

func newDeviceShow(from *source) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show all that is known of a device",
		Args:  cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, book *devices.Book) error {
				d, err := book.Get(ctx, args[0])
				switch {
				case errors.Is(err, devices.ErrNotFound):
					return err
				case err != nil:
					return withCode(exitTemporary, err)
				case asJSON:
					return jsonLines[*devices.Device](cmd.OutOrStdout())([]*devices.Device{d})
				}
				return tellDevice(cmd.OutOrStdout(), d)
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// tellDevice prints a device, a line for each thing that is said of it.
func tellDevice(out io.Writer, d *devices.Device) error {
	table, s := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), d.Sending
	proof := string(d.Proof)
	if c := d.Certificate; c != nil && c.Fingerprint != "" {
		proof += " with the fingerprint " + c.Fingerprint
	} else if c != nil {
		proof += " for " + c.Name + " by its own authority"
	}
	tls := "1.2 or newer"
	if d.Legacy {
		tls = "not needed, or an old one, on listeners with legacy: true"
	}
	for _, line := range [][2]string{
		{"name", d.Name},
		{"place", d.Place},
		{"state", stateOf(d)},
		{"account", d.Account + " of store " + d.Store},
		{"owner", d.Owner},
		{"proof", proof},
		{"password id", d.Password},
		{"protocols", strings.Join(d.Protocols, ", ")},
		{"networks", some(networkList(d.Networks), "all")},
		{"TLS", tls},
		{"sender", strings.TrimSpace(s.SenderName + " " + s.Sender)},
		{"old From", keptIn(s)},
		{"may send as", strings.Join(s.Senders, ", ")},
		{"may send to", some(strings.Join(s.Recipients, ", "), "everybody")},
		{"leaves", rates(s)},
		{"is taken", days(s)},
		{"size", octets(s.Size)},
		{"subject prefix", s.SubjectPrefix},
		{"charset", s.Charset},
		{"added", moment(d.Created, "-")},
		{"expires", moment(d.Expires, "never")},
		{"last used", strings.TrimSpace(moment(d.LastUsed, "never") + " " + d.LastFrom)},
		{"last error", strings.TrimSpace(moment(d.ErrorAt, "none") + " " + d.LastError)},
	} {
		if line[1] != "" {
			fmt.Fprintf(table, "%s:\t%s\n", line[0], line[1])
		}
	}
	return table.Flush()
}

func keptIn(s devices.Sending) string {
	if s.Sender == "" {
		return ""
	}
	return string(s.KeepFrom)
}

func rates(s devices.Sending) string {
	var all []string
	for _, r := range []struct {
		n  int
		in string
	}{{s.PerMinute, "minute"}, {s.PerHour, "hour"}} {
		if r.n > 0 {
			all = append(all, fmt.Sprintf("%d messages a %s", r.n, r.in))
		}
	}
	return strings.Join(all, ", ")
}

func days(s devices.Sending) string {
	var all []string
	for _, r := range []struct {
		n    int
		what string
	}{{s.PerDay, "messages"}, {s.RecipientsPerDay, "recipients"}} {
		if r.n > 0 {
			all = append(all, fmt.Sprintf("%d %s in 24 hours", r.n, r.what))
		}
	}
	return strings.Join(all, ", ")
}

func octets(size int64) string {
	if size == 0 {
		return ""
	}
	return config.Size(size).String()
}

func newDeviceSwitch(from *source, verb, to string, disabled bool) *cobra.Command {
	short := "Switch a device on again"
	if disabled {
		short = "Switch a device off; its open sessions end at their next command"
	}
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, book *devices.Book) error {
				if err := book.SetDisabled(ctx, args[0], disabled); err != nil {
					return deviceError(err)
				}
				book.Settle(ctx)
				fmt.Fprintf(cmd.OutOrStdout(), "device %s is %s\n", args[0], to)
				return nil
			})
		}),
	}
}

func newDeviceRemove(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a device and its password for good; its open sessions end at their next command",
		Args:  cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, book *devices.Book) error {
				if err := book.Remove(ctx, args[0]); err != nil {
					return deviceError(err)
				}
				book.Settle(ctx)
				fmt.Fprintf(cmd.OutOrStdout(), "device %s is removed\n", args[0])
				return nil
			})
		}),
	}
}

// deviceError gives what the state cannot do now its exit status.
func deviceError(err error) error {
	if errors.Is(err, devices.ErrNotFound) {
		return err
	}
	return withCode(exitTemporary, err)
}
