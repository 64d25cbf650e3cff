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
	"github.com/dipylon/dipylon/gateway/devices"
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
  dipylon device set scanner --recipient @sakes.example --per-minute 20
  dipylon device disable scanner`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newDeviceAdd(&from), newDeviceSet(&from), newDeviceList(&from), newDeviceShow(&from),
		newDeviceSwitch(&from, "disable", "off", true), newDeviceSwitch(&from, "enable", "on", false), newDeviceRemove(&from))
	return cmd
}

// withDevices does something with the devices of the state that the configuration names.
func withDevices(cmd *cobra.Command, from *source, f func(context.Context, *config.Config, *devices.Registry) error) error {
	return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, o state.Options) error {
		db, err := state.Open(ctx, o)
		if err != nil {
			return stateError(err)
		}
		defer db.Close()
		return f(ctx, cfg, devices.New(devices.Options{Log: zerolog.Nop(), DB: db, Passwords: passwords.New(db), Counts: quota.New(db)}))
	})
}

func newDeviceList(from *source) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the devices",
		Args:  cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, registry *devices.Registry) error {
				all, err := registry.List(ctx)
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
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, registry *devices.Registry) error {
				d, err := registry.Get(ctx, args[0])
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
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, registry *devices.Registry) error {
				if err := registry.SetDisabled(ctx, args[0], disabled); err != nil {
					return deviceError(err)
				}
				registry.Settle(ctx)
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
			return withDevices(cmd, from, func(ctx context.Context, _ *config.Config, registry *devices.Registry) error {
				if err := registry.Remove(ctx, args[0]); err != nil {
					return deviceError(err)
				}
				registry.Settle(ctx)
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
