package server

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/dipylon/dipylon/config"
)

// CollectWarnings looks for accounts whose password and mail can be read on the way, and for mailboxes that are collected twice.
func CollectWarnings(cfg *config.Config) (all []config.Problem) {
	seen := make(map[string]string)
	for i, a := range cfg.Collect {
		path := "collect[" + strconv.Itoa(i) + "]"
		host, _, _ := net.SplitHostPort(a.Host) // the configuration has made it so
		if addr, err := netip.ParseAddr(host); a.TLS == "none" && (err != nil || !addr.IsLoopback()) && host != "localhost" {
			all = append(all, config.Problem{
				Position: cfg.Place(path + ".tls"), Path: path + ".tls",
				Text: "the password and all mail can be read on the way to " + host, Suggest: "write tls: implicit, or starttls",
			})
		}
		box := fmt.Sprintf("%s %q %q", host, a.User, a.Folder)
		if first := seen[box]; first != "" {
			all = append(all, config.Problem{
				Position: cfg.Place(path), Path: path,
				Text: "it is the mailbox that " + first + " collects: each message comes to one of them or to both", Suggest: "leave one of them out",
			})
		}
		seen[box] = a.Name
	}
	return all
}
