package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

func newRoute() *cobra.Command {
	var from source
	var sender string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "route ADDRESS",
		Short: "Explain where mail to an address goes",
		Long: `Tells where mail to an address goes by the configuration, and why: the store that has its domain, or the
route, by which of its patterns; and, with --from, whether the policy of that mailbox lets it send there. Neither a
gateway, nor a store, nor DNS is asked.

Statuses: 0 there is a way, 1 there is none, or the mail is rejected or refused, 78 the configuration is wrong.`,
		Example: `  dipylon route --config dipylon.yaml zoe@far.example
  dipylon route --config dipylon.yaml zoe@far.example --from ada@sakes.example`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withConfig(cmd, &from, func(_ context.Context, cfg *config.Config, _ state.Options) error {
				found, box, err := manage.RouteOf(cfg, sender, args[0])
				if _, is := errors.AsType[*manage.ArgumentError](err); is {
					return withCode(exitUsage, err)
				}
				if err != nil {
					return err
				}
				told := routeOf(found, box)
				if told.Kind == "store" || found.Route != nil && found.Kind.Sends() {
					told.Waits = cmp.Or(server.WhyKept(cfg, told.Destination), server.WhyUnasked(found.Route))
				}
				if told.Kind != "store" && !manage.MaySendTo(cfg, sender, box) {
					told.Refused = "the policy of " + sender + " does not let it send there (send_to)"
				}
				if asJSON {
					err = json.NewEncoder(cmd.OutOrStdout()).Encode(told)
				} else {
					err = told.print(cmd.OutOrStdout())
				}
				if err == nil && told.Kind != "store" && (found.Route == nil || found.Kind == route.Reject || told.Refused != "") {
					err = withCode(exitFailure, errTold)
				}
				return err
			})
		}),
	}
	from.configFlag(cmd)
	cmd.Flags().StringVar(&sender, "from", "", "the sender, where routes go by it; none: the null reverse-path")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// wayLines is the way of an address for people and programs.
type wayLines struct {
	Address     string     `json:"address"`
	Kind        string     `json:"kind"` // store, mx, smtp, lmtp, hold, reject, none
	Store       string     `json:"store,omitempty"`
	Route       string     `json:"route,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	Senders     []string   `json:"senders,omitempty"`
	Destination string     `json:"destination,omitempty"`
	Hosts       [][]string `json:"hosts,omitempty"`     // in groups that share the mail, the first one first
	Rewritten   string     `json:"rewritten,omitempty"` // the address that the next server is told
	TLS         string     `json:"tls,omitempty"`
	Certificate string     `json:"client_certificate,omitempty"`
	External    bool       `json:"external,omitempty"`
	Token       bool       `json:"token,omitempty"` // the login is by a token
	NTLM        bool       `json:"ntlm,omitempty"`
	Winmail     string     `json:"winmail,omitempty"` // what is done to TNEF for this address: open, make
	Form        string     `json:"form,omitempty"`    // in which form messages go, if not as they came
	Drops       bool       `json:"drops_automatic_replies,omitempty"`
	DropsAway   bool       `json:"drops_out_of_office,omitempty"`
	DropsOn     bool       `json:"drops_automatic_forwards,omitempty"`
	User        string     `json:"user,omitempty"`
	MessageSize int64      `json:"message_size,omitempty"`
	// Connections, PerMinute and RecipientsPerDay are limits of the destination; 0: those of all, or none.
	Connections      int `json:"connections,omitempty"`
	PerMinute        int `json:"per_minute,omitempty"`
	RecipientsPerDay int `json:"recipients_per_day,omitempty"`
	// RecipientsPerMessage is the same of one message.
	RecipientsPerMessage int    `json:"recipients_per_message,omitempty"`
	Text                 string `json:"text,omitempty"`
	Waits                string `json:"waits,omitempty"`   // why mail stays in the queue
	Refused              string `json:"refused,omitempty"` // why this sender's mail is not taken
	// FallBack is the route that mail takes when no server can be reached, and when.
	FallBack string `json:"fall_back,omitempty"`
	// Askers are the networks and accounts that may ask for it by ETRN.
	Askers []string `json:"etrn,omitempty"`
}

func routeOf(e route.Explanation, to address.Mailbox) wayLines {
	w := wayLines{Address: to.String(), Kind: "none", Destination: e.Destination}
	switch {
	case e.Store != nil:
		w.Kind, w.Store = "store", e.Store.Name
	case e.Route != nil:
		w.Kind, w.Route, w.Pattern, w.Senders = e.Kind.String(), e.Name, e.Pattern, e.Senders
		w.Hosts, w.User, w.External, w.MessageSize, w.Text = e.Hosts, e.User, e.External, e.MessageSize, e.Text
		if domain := e.Rewritten(to.Domain); domain != to.Domain {
			w.Rewritten = address.Mailbox{Local: to.Local, Domain: domain}.String()
		}
		w.Drops, w.DropsAway, w.DropsOn, w.Token = e.DropReplies, e.DropOutOfOffice, e.DropForwards, e.Tokens != nil
		w.NTLM = e.NTLM
		if e.Reforms {
			w.Form = e.Form.String()
		}
		if e.IsWinmailFor(to.String()) {
			switch {
			case e.OpenWinmail:
				w.Winmail = "open"
			case e.MakeWinmail:
				w.Winmail = "make"
			}
		}
		if e.FallBack != "" {
			w.FallBack = fmt.Sprintf("route:%s, %s after a message was received, when no server can be reached", e.FallBack, e.FallBackAfter)
		}
		for _, n := range e.Askers.Networks {
			w.Askers = append(w.Askers, n.String())
		}
		w.Askers = append(w.Askers, e.Askers.Accounts...)
		w.Connections, w.PerMinute, w.RecipientsPerDay = e.Connections, e.PerMinute, e.Route.RecipientsPerDay
		w.RecipientsPerMessage = e.Route.RecipientsPerMessage
		if e.Kind == route.MX || len(e.Hosts) > 0 {
			w.TLS, w.Certificate = tlsText(e.TLS), shownText(e.TLS)
		}
	}
	return w
}

// tlsText is how connections are secured, in the configuration's words.
func tlsText(t smtpclient.TLS) string {
	text := t.Policy.String()
	if t.Implicit {
		text += ", from the first octet"
	}
	return text
}

// shownText is the certificate that servers are shown; empty: none.
func shownText(t smtpclient.TLS) string {
	if t.Config == nil || len(t.Config.Certificates) == 0 {
		return ""
	}
	leaf := t.Config.Certificates[0].Leaf
	return leaf.Subject.String() + ", until " + leaf.NotAfter.UTC().Format(time.DateTime) + " UTC"
}

func (w wayLines) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s:\t%s\n", name, printable(value))
		}
	}
	line("address", w.Address)
	line("goes", map[string]string{
		"store": "into the store " + w.Store, "mx": "to the hosts that DNS names (MX)", "smtp": "to hosts that are named, by SMTP",
		"lmtp": "to hosts that are named, by LMTP", "transport": "through a store's own transport", "hold": "nowhere until it is released", "reject": "nowhere: it is rejected",
		"none": "nowhere: no store has its domain, and no route leads there",
	}[w.Kind])
	if w.Kind == "store" {
		line("because", "its domain is one of the store's")
	}
	line("route", w.Route)
	line("pattern", w.Pattern)
	line("senders", strings.Join(w.Senders, ", "))
	line("destination", w.Destination)
	line("rewritten to", w.Rewritten)
	for i, group := range w.Hosts {
		line([]string{"hosts", "if they fail"}[min(i, 1)], strings.Join(group, " or "))
	}
	line("TLS", w.TLS)
	for _, dropped := range []struct {
		is   bool
		what string
	}{{w.Drops, "automatic replies, and what programs have made"}, {w.DropsAway, "out-of-office replies"}, {w.DropsOn, "automatic forwards"}} {
		if dropped.is {
			line("drops", dropped.what)
		}
	}
	line("winmail", w.Winmail)
	line("form", w.Form)
	line("certificate", w.Certificate)
	if w.External {
		line("logs in", "with the certificate (EXTERNAL)")
	}
	if w.Token {
		line("logs in", "with a token (OAUTHBEARER, XOAUTH2)")
	}
	if w.NTLM {
		line("logs in", "with NTLM")
	}
	line("logs in as", w.User)
	if w.MessageSize > 0 {
		line("at most", fmt.Sprintf("%d octets", w.MessageSize))
	}
	for _, limit := range []struct {
		most int
		of   string
	}{
		{w.Connections, "connections at a time"},
		{w.PerMinute, "messages a minute"},
		{w.RecipientsPerDay, "recipients a day; what is over it waits"},
		{w.RecipientsPerMessage, "recipients of a message; what has more leaves in parts"},
	} {
		if limit.most > 0 {
			line("at most", fmt.Sprintf("%d %s", limit.most, limit.of))
		}
	}
	line("falls back to", w.FallBack)
	line("waits", w.Waits)
	line("refused", w.Refused)
	line("ETRN by", strings.Join(w.Askers, ", "))
	if w.Kind == "reject" {
		line("text", cmp.Or(w.Text, "-"))
	}
	return table.Flush()
}
