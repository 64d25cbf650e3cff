//go:build linux

package jmap_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/jmap"
	"github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/plugins/host"
	"github.com/dipylon/dipylon/test/peers"
)

// cyrus is one Cyrus for all tests of the package, and the transport that it submits to.
type cyrus struct {
	*peers.Cyrus
	transport *transport
}

// startCyrus starts it with two accounts for each of so many tests.
func startCyrus(t *testing.T, tests int) *cyrus {
	t.Helper()
	users := make(map[string]string)
	for i := range tests {
		for _, user := range pair(i) {
			users[user] = secretOf(user)
		}
	}
	c := &cyrus{transport: startTransport(t)}
	c.Cyrus = peers.StartCyrus(t, peers.CyrusOptions{Users: users, SMTP: c.transport.address})
	c.transport.lmtp.Store(&remote.Hop{Address: c.LMTP, Hello: "transport.example"})
	return c
}

// pair are the two accounts of a test.
func pair(test int) [2]string {
	return [2]string{fmt.Sprintf("ada%d@peer.example", test), fmt.Sprintf("bob%d@peer.example", test)}
}

func secretOf(user string) string { return user[:4] + "-secret" }

// settings are for a test's two accounts. delivery is lmtp or import.
func (c *cyrus) settings(t *testing.T, test int, delivery string) backends.Settings {
	t.Helper()
	way := map[string]any{"accounts": map[string]string{}}
	for _, user := range pair(test) {
		way["accounts"].(map[string]string)[user] = secretOf(user)
	}
	set := map[string]any{"url": c.JMAP, "plaintext": true, "delivery": way, "submission": true}
	if delivery == "lmtp" {
		way["lmtp"] = c.LMTP
		set["url"], set["ca"], set["tls_name"] = "https://"+c.HTTPS, c.CA, "localhost"
	}
	return given(t, set)
}

func given(t *testing.T, settings map[string]any) backends.Settings {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return backends.Settings{Store: "peer", Hostname: "gate.example", Domains: []string{"peer.example"}, Raw: raw, StateDir: t.TempDir()}
}

func (c *cyrus) target(test int, in backends.Settings) storetest.Target {
	users := pair(test)
	return storetest.Target{
		New:      func(context.Context) (backends.Store, error) { return jmap.New(), nil },
		Settings: in,
		Open: func(ctx context.Context) (backends.Store, error) {
			s := jmap.New()
			return s, s.Configure(ctx, in)
		},
		User: users[0], Password: secretOf(users[0]), Address: users[0],
		SecondUser: users[1], SecondPassword: secretOf(users[1]), SecondAddress: users[1],
		Folder: "Trash", Large: 8 << 20, Many: 50, KeysInMailbox: true,
		BadSettings: badSettings, Defer: c.transport.putOff,
	}
}

// TestCyrus holds the backend to the contract, over both ways of delivery, one of them in a process of
// its own, and looks at what else there is to see on a real server.
func TestCyrus(t *testing.T) {
	c := startCyrus(t, 4)
	t.Run("import", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, c.target(0, c.settings(t, 0, "import")))
	})
	t.Run("lmtp as plugin", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, asPlugin(t, c.target(1, c.settings(t, 1, "lmtp"))))
	})
	t.Run("corpus", func(t *testing.T) {
		t.Parallel()
		importedCorpus(t, c, 2)
	})
	t.Run("sending", func(t *testing.T) {
		t.Parallel()
		verdictsOnSending(t, c, 3)
	})
}

// asPlugin has the store of a target run in a process of its own.
func asPlugin(t *testing.T, target storetest.Target) storetest.Target {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := func(in backends.Settings) host.Spec {
		return host.Spec{Store: "peer", Command: []string{self}, Env: []string{"JMAP_TEST_HELPER=plugin", "GORACE=atexit_sleep_ms=0"}, Settings: in}
	}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	target.New = nil
	// Each try of settings is a process that is started: one shows the way, the others are tried without it.
	target.BadSettings = map[string]string{"ulr": badSettings["ulr"]}
	target.Configure = func(ctx context.Context, in backends.Settings) error { return host.CheckSettings(ctx, log, spec(in)) }
	target.Open = func(ctx context.Context) (backends.Store, error) {
		s := host.New(log, spec(target.Settings))
		return s, s.Start(ctx)
	}
	return target
}
