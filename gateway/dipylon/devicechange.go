package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/manage"
)

// deviceFlags are what the flags of "device add" and "device set" say: a device as it is to be.
type deviceFlags struct {
	device      devices.Device
	account     string
	networks    []string
	certificate string // a file
	authority   string // a file
	print       string // a fingerprint
	name        string // in a certificate
	size        string
	life        string
	keep        string
	noLogin     bool
	newPassword bool // of "device set"
	unchecked   bool
	asJSON      bool
}

// flagsOf are the flags for a device as it is: what none of them names stays.
func flagsOf(d devices.Device) *deviceFlags {
	return &deviceFlags{device: d, keep: cmp.Or(string(d.Sending.KeepFrom), string(content.KeepReplyTo)), noLogin: d.Proof == devices.ByNetwork}
}

func (a *deviceFlags) add(f *pflag.FlagSet) {
	d, s := &a.device, &a.device.Sending
	f.StringVar(&a.account, "account", "", "the `account` that it works for, as it logs in")
	f.StringVar(&d.Owner, "owner", d.Owner, "the `address` of the person who is told of its mail that is refused")
	f.StringVar(&d.Place, "place", d.Place, "where it stands, in words")
	f.StringSliceVar(&d.Protocols, "protocol", d.Protocols, "a `protocol` that it may use: pop3, submission (default: submission)")
	f.StringSliceVar(&a.networks, "network", nil, "a `network` or an address that it is at, 192.0.2.0/28 (default, with a login: everywhere)")
	f.BoolVar(&a.noLogin, "no-login", a.noLogin, "whoever is at its networks is the device, and sends without a login")
	f.StringVar(&a.certificate, "certificate", "", "a PEM `file` with the device's own certificate, which it shows")
	f.StringVar(&a.print, "fingerprint", "", "the `SHA-256` of that certificate, in the file's place")
	f.StringVar(&a.authority, "certificate-ca", "", "a PEM `file` with the authority that signs its certificates, with --certificate-name")
	f.StringVar(&a.name, "certificate-name", "", "the `name` in them: a DNS name, an address, or the common name")
	f.BoolVar(&d.Legacy, "legacy", d.Legacy, "it may come without TLS, or with TLS 1.0, to listeners with legacy: true")
	f.StringVar(&s.Sender, "sender", s.Sender, "the `address` that all its mail is from, whatever it says itself")
	f.StringVar(&s.SenderName, "sender-name", s.SenderName, "the `name` beside that (default: the one that it has written)")
	f.StringVar(&a.keep, "keep-from", a.keep, "`where` the sender goes that it has written: reply-to, x-original-from, nothing")
	f.StringSliceVar(&s.Senders, "may-send-as", s.Senders, "an `address`, or @domain, that it may send as (default: those of its account)")
	f.StringSliceVar(&s.Recipients, "recipient", s.Recipients, "an `address`, or @domain, that it may send to (default: everybody)")
	f.IntVar(&s.PerMinute, "per-minute", s.PerMinute, "how many `messages` leave in a minute; more wait (default: any number)")
	f.IntVar(&s.PerHour, "per-hour", s.PerHour, "how many `messages` leave in an hour; more wait (default: any number)")
	f.IntVar(&s.PerDay, "per-day", s.PerDay, "how many `messages` are taken in 24 hours (default: any number)")
	f.IntVar(&s.RecipientsPerDay, "recipients-per-day", s.RecipientsPerDay, "how many `recipients` its mail may have in 24 hours (default: any number)")
	f.StringVar(&a.size, "size", "", "the largest `message`, 10MiB (default: what the gateway takes)")
	f.StringVar(&a.life, "expires", "", "for how long it is good, as 90d or 12h, or until which `date`, as 2027-12-31 (default: for ever)")
	f.StringVar(&s.SubjectPrefix, "subject-prefix", s.SubjectPrefix, "a `text` in front of each subject, [scanner]")
	f.StringVar(&s.Charset, "charset", s.Charset, "the `charset` of text that does not say its own and is not UTF-8 (default: windows-1252)")
	f.BoolVar(&a.unchecked, "unchecked", false, "do not ask the store, for an account that it will have later")
	f.BoolVar(&a.asJSON, "json", false, "print JSON, with the password in \"password\"")
}

// prepare makes the device what the flags say, of which these were named.
func (a *deviceFlags) prepare(cfg *config.Config, named func(flag string) bool) error {
	texts := manage.DeviceTexts{Certificate: a.certificate, Authority: a.authority}
	if named("account") {
		texts.Account = &a.account
	}
	if named("expires") {
		texts.Life = &a.life
	}
	if named("size") {
		texts.Size = &a.size
	}
	if named("network") {
		texts.Networks = append([]string{}, a.networks...)
	}
	if err := a.prove(named); err != nil {
		return withCode(exitUsage, err)
	}
	a.device.Sending.KeepFrom = content.KeepFrom(a.keep)
	if err := manage.PrepareDevice(cfg, &a.device, texts); err != nil {
		return err
	}
	return a.device.Check(time.Now())
}

// prove says how the device proves itself.
func (a *deviceFlags) prove(named func(flag string) bool) error {
	d, network, certificate := &a.device, named("no-login") && a.noLogin, a.showCertificate(named)
	switch {
	case network && certificate || a.newPassword && (network || certificate):
		return errors.New("a device proves itself by a password, by its network (--no-login) or by a certificate: name one of them")
	case network:
		d.Proof, d.Certificate = devices.ByNetwork, nil
	case certificate:
		d.Proof = devices.ByCertificate
	case a.newPassword || d.Proof == "":
		d.Proof, d.Certificate = devices.ByPassword, nil
	case named("no-login") && d.Proof == devices.ByNetwork:
		return errors.New("a device that logs in needs a password (--new-password) or a certificate")
	}
	return nil
}

// showCertificate takes the flags of a certificate over, but for what stands in files, and says whether there are any. The
// authority and the name in its certificates may be named alone.
func (a *deviceFlags) showCertificate(named func(flag string) bool) bool {
	d, own, signed := &a.device, named("certificate") || named("fingerprint"), named("certificate-ca") || named("certificate-name")
	if !own && !signed {
		return false
	}
	shown := &devices.Certificate{}
	if old := d.Certificate; old != nil && !own {
		shown.Authority, shown.Name = old.Authority, old.Name
	}
	shown.Fingerprint = a.print
	if named("certificate-name") {
		shown.Name = a.name
	}
	d.Certificate = shown
	return true
}

func newDeviceAdd(from *source) *cobra.Command {
	a := flagsOf(devices.Device{})
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
			return withDevices(cmd, from, func(ctx context.Context, cfg *config.Config, registry *devices.Registry) error {
				return a.addTo(ctx, cmd, cfg, registry)
			})
		}),
	}
	a.add(cmd.Flags())
	_ = cmd.MarkFlagRequired("account") // fails only where there is no such flag
	return cmd
}

func (a *deviceFlags) addTo(ctx context.Context, cmd *cobra.Command, cfg *config.Config, registry *devices.Registry) error {
	if err := a.prepare(cfg, cmd.Flags().Changed); err != nil {
		return err
	}
	accountID, err := a.accountID(ctx, cmd, cfg)
	if err != nil {
		return err
	}
	made, password, err := registry.Add(ctx, a.device, accountID)
	if err != nil {
		return err
	}
	return a.done(ctx, cmd, cfg, registry, "added", made, password)
}

// accountID is the store's own id of the device's account; empty: it is not to be asked, or does not answer.
func (a *deviceFlags) accountID(ctx context.Context, cmd *cobra.Command, cfg *config.Config) (string, error) {
	if a.unchecked {
		return "", nil
	}
	return ownerOf(ctx, cmd, cfg, login.AppPassword{Store: a.device.Store, Account: a.device.Account})
}

// done tells of a device that is added or changed, once all gateways go by that.
func (a *deviceFlags) done(ctx context.Context, cmd *cobra.Command, cfg *config.Config, registry *devices.Registry, what string, made *devices.Device, password string) error {
	registry.Settle(ctx)
	for _, w := range manage.DeviceWarnings(cfg, made) {
		cmd.PrintErrf("warning: %s\n", w)
	}
	if a.asJSON {
		return jsonLines[any](cmd.OutOrStdout())([]any{struct {
			*devices.Device
			Text string `json:"password,omitempty"`
		}{made, password}})
	}
	switch {
	case password != "":
		cmd.PrintErrf("device %s is %s: it logs in as %s, with this password, shown this once:\n", made.Name, what, made.Account)
		fmt.Fprintln(cmd.OutOrStdout(), password)
	case made.Proof == devices.ByPassword:
		cmd.PrintErrf("device %s is %s: it works for %s of store %s, with the password that it has\n", made.Name, what, made.Account, made.Store)
	default:
		cmd.PrintErrf("device %s is %s: it works for %s of store %s, and needs no password\n", made.Name, what, made.Account, made.Store)
	}
	return nil
}

// newPasswordFlag is the one flag that "device set" has beside those of "device add".
const newPasswordFlag = "new-password"

func (a *deviceFlags) set(f *pflag.FlagSet) {
	a.add(f)
	f.StringVar(&a.device.Name, "name", a.device.Name, "give it another `name`")
	f.BoolVar(&a.newPassword, newPasswordFlag, false, "give it another password, or one in the place of its network or certificate, and show it this once")
}

func newDeviceSet(from *source) *cobra.Command {
	said := flagsOf(devices.Device{})
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a device: what is named, and nothing else",
		Long: `Changes a device that there is. The flags are those of "dipylon device add", and what is not named stays
as it is. A list that is named takes the old one's place; an empty text takes something off: --sender "",
--recipient "" (to everybody), --network "" (from everywhere), --expires "" (for ever).

Its password stays, unless --new-password gives it another one. One of another account needs another
password. --no-login or a certificate take the password's place.

With another name (--name) all else stays, and what it has sent today counts on. Mail of it that is in the queue, and what was
logged of it, has the old one.

An open session of the device goes by the change from its next command on. It ends there if how the
device logs in has changed: its password, its account, its networks, its protocols, TLS.

Statuses: 0 changed, 1 there is no such device, it cannot be so, or the store has no such account, 2 no
change is named, 75 the state cannot be reached now, or somebody else has changed the device at the same
time, 78 the configuration is wrong.`,
		Example: `  dipylon device set scanner --place "3rd floor" --network 192.168.8.20
  dipylon device set tickets --new-password
  dipylon device set scanner --name scanner-3rd-floor
  dipylon device set tickets --expires 2027-12-31 --per-day 500`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withDevices(cmd, from, func(ctx context.Context, cfg *config.Config, registry *devices.Registry) error {
				return changeDevice(ctx, cmd, cfg, registry, args[0])
			})
		}),
	}
	said.set(cmd.Flags())
	cmd.Flags().Lookup("keep-from").DefValue = "" // what is not named stays: nothing has a default
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		f.Usage, _, _ = strings.Cut(f.Usage, " (default")
	})
	return cmd
}

func changeDevice(ctx context.Context, cmd *cobra.Command, cfg *config.Config, registry *devices.Registry, name string) error {
	before, err := registry.Get(ctx, name)
	if err != nil {
		return deviceError(err)
	}
	a, flags := flagsOf(*before), pflag.NewFlagSet("", pflag.ContinueOnError)
	a.set(flags)
	if changes, err := takeNamed(cmd.Flags(), flags); err != nil || changes == 0 {
		return withCode(exitUsage, cmp.Or(err, errors.New("name what of the device is to change")))
	}
	named := cmd.Flags().Changed
	if err := a.prepare(cfg, named); err != nil {
		return err
	}
	if named("account") {
		id, err := a.accountID(ctx, cmd, cfg)
		if err != nil {
			return err
		}
		a.device = a.device.OfAccount(id)
	}
	made, password, err := registry.Set(ctx, *before, a.device, a.newPassword)
	switch {
	case errors.Is(err, devices.ErrNeedsPassword):
		return fmt.Errorf("the device %s: %w: name --%s", name, err, newPasswordFlag)
	case errors.Is(err, devices.ErrChanged):
		return withCode(exitTemporary, fmt.Errorf("%w: look at it (dipylon device show %s), and try again", err, name))
	case err != nil:
		return err
	}
	return a.done(ctx, cmd, cfg, registry, "changed", made, password)
}

// takeNamed takes the flags that were named over into the same flags of something else, and says how many of them change it.
func takeNamed(from, into *pflag.FlagSet) (changes int, err error) {
	from.Visit(func(f *pflag.Flag) {
		to := into.Lookup(f.Name)
		if to == nil || err != nil {
			return
		}
		if f.Name != "json" && f.Name != "unchecked" {
			changes++
		}
		if list, is := f.Value.(pflag.SliceValue); is {
			err = to.Value.(pflag.SliceValue).Replace(list.GetSlice())
			return
		}
		err = to.Value.Set(f.Value.String())
	})
	return changes, err
}
