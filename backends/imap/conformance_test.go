//go:build linux

package imap_test

import (
	"context"
	"maps"
	"os"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/plugins/host"
	"github.com/dipylon/dipylon/test/peers"
)

const master = "keeper:keeper-secret"

// TestConformanceDovecot holds the backend to the contract over both ways of delivery, in this
// process and across the process boundary.
func TestConformanceDovecot(t *testing.T) {
	t.Parallel()
	transport := startRelay(t)
	d := peers.StartDovecot(t, peers.DovecotOptions{
		Master: master, Users: fourUsers(),
		// Dovecot counts a connection that was broken off until its process has noticed: a case
		// that begins right after one that breaks them would meet the limit of 10.
		Extra: "protocol imap {\n  mail_max_userip_connections = 30\n}\n" + transport.dovecot(),
	})
	transport.lmtp.Store(&remote.Hop{Address: d.LMTP, Hello: "relay.example"})
	settings := map[string]any{
		"address": d.IMAPS, "ca": d.CA, "tls_name": "localhost",
		"master":     map[string]any{"user": "keeper", "password": "keeper-secret"},
		"submission": map[string]any{"address": d.Submission, "tls": "starttls", "sent": `\Sent`},
	}
	sends := func(target storetest.Target) storetest.Target {
		target.Defer = transport.putOff
		return target
	}
	t.Run("APPEND after STARTTLS", func(t *testing.T) {
		t.Parallel()
		set := maps.Clone(settings)
		set["address"], set["tls"], set["delivery"] = d.IMAP, "starttls", map[string]any{"append": true}
		storetest.Run(t, sends(target(given(t, set), "ada", "bob", true)))
	})
	t.Run("LMTP as plugin", func(t *testing.T) {
		t.Parallel()
		set := maps.Clone(settings)
		set["delivery"] = map[string]any{"lmtp": d.LMTP}
		storetest.Run(t, sends(asPlugin(t, target(given(t, set), "eva", "max", true))))
	})
}

// TestConformanceCyrus is the same over the other server.
func TestConformanceCyrus(t *testing.T) {
	t.Parallel()
	c := peers.StartCyrus(t, peers.CyrusOptions{Users: fourUsers()})
	settings := given(t, map[string]any{
		"address": c.IMAPS, "ca": c.CA, "tls_name": "localhost",
		"master":   map[string]any{"user": peers.CyrusAdmin, "password": peers.CyrusAdminPassword},
		"delivery": map[string]any{"lmtp": c.LMTP},
	})
	target := target(settings, "ada", "bob", false)
	target.Large = 2 << 20
	storetest.Run(t, target)
}

// TestConformanceCourier is the same over a server that has neither UNSELECT nor MOVE, takes no APPEND to a
// folder that is open read-only, and names its folders with dots.
func TestConformanceCourier(t *testing.T) {
	t.Parallel()
	c := peers.StartCourier(t, fourUsers())
	settings := map[string]any{
		"address": c.IMAP, "tls": "none", "delivery": map[string]any{"append": true}, "trash": "INBOX.Trash",
		"master": map[string]any{"user": peers.FrontMaster, "password": peers.FrontMasterPassword},
	}
	target := target(given(t, settings), "ada", "bob", false)
	target.Folder, target.Large = "INBOX/Trash", 2<<20
	storetest.Run(t, target)
}

func fourUsers() map[string]string {
	users := make(map[string]string)
	for _, name := range []string{"ada", "bob", "eva", "max"} {
		users[name+"@peer.example"] = name + "-secret"
	}
	return users
}

// target is the suite's for two of a server's accounts.
func target(settings backends.Settings, first, second string, altersNUL bool) storetest.Target {
	return storetest.Target{
		New:      func(context.Context) (backends.Store, error) { return imap.New(), nil },
		Settings: settings,
		Open: func(ctx context.Context) (backends.Store, error) {
			s := imap.New()
			return s, s.Configure(ctx, settings)
		},
		User: first + "@peer.example", Password: first + "-secret", Address: first + "@peer.example",
		SecondUser: second + "@peer.example", SecondPassword: second + "-secret", SecondAddress: second + "@peer.example",
		Folder: "Trash", Large: 8 << 20, Many: 100, AltersNUL: altersNUL, KeysInMailbox: true,
		BadSettings: map[string]string{
			"address":          `{}`,
			"tls":              `{"address": "x", "tls": "yes"}`,
			"adress":           `{"adress": "x"}`,
			"pin":              `{"address": "x", "pin": "sha1/x"}`,
			"master":           `{"address": "x", "master": {"user": "m"}}`,
			"folder":           `{"address": "x", "folder": "a*"}`,
			"uidl":             `{"address": "x", "uidl": "dovcot"}`,
			"delivery":         `{"address": "x", "delivery": {"lmtp": "x", "append": true}, "master": {"user": "m", "password": "p"}}`,
			"recipients":       `{"address": "x", "recipients": ["@peer.example"]}`,
			"timeout":          `{"address": "x", "timeout": "soon"}`,
			"connections.noop": `{"address": "x", "connections": {"noop": "0s"}}`,
			"submission.to":    `{"address": "x", "submission": {"to": "x"}}`,
		},
	}
}

// asPlugin has the store of a target run in a process of its own: this test's binary, see TestMain.
func asPlugin(t *testing.T, target storetest.Target) storetest.Target {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := func(in backends.Settings) host.Spec {
		return host.Spec{Store: "peer", Command: []string{self}, Env: []string{helper + "=plugin", "GORACE=atexit_sleep_ms=0"}, Settings: in}
	}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	target.New = nil
	// Each try of settings is a process that is started: one shows the way, the others are tried without it.
	target.BadSettings = map[string]string{"adress": target.BadSettings["adress"]}
	target.Configure = func(ctx context.Context, in backends.Settings) error { return host.CheckSettings(ctx, log, spec(in)) }
	target.Open = func(ctx context.Context) (backends.Store, error) {
		s := host.New(log, spec(target.Settings))
		return s, s.Start(ctx)
	}
	return target
}
