//go:build bench && linux

package bench

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// The devices, and the provider that their mail leaves through. Its connections are those of Exchange Online, and its pace
// is ten times that one's, so that a drain takes 40 s.
const (
	deviceCount         = 500
	providerConnections = 3
	providerPerMinute   = 300
)

// firstDevice is the address of the first device, and its network. Each further one has the next address.
var firstDevice = netip.MustParseAddr("127.9.0.1")

// devicesWorld is a gateway that all devices may use, and others at the same addresses as well, by its other listener.
type devicesWorld struct {
	*smtpWorld
}

// The two ways in, by their listeners.
const (
	asDevices = "submission"
	without   = "smtp"
)

// TestDevices has 500 devices submit a message each at once, which leaves through a provider at the provider's pace. Beside
// it stands the same mail, taken from the same addresses, without devices, for a route with to: hold.
func TestDevices(t *testing.T) {
	w := newDevicesWorld(t)
	heading("devices", "without, held")
	t.Run("held", w.held)
	t.Run("cpu", w.cpu)
	t.Run("relay", w.relay)
	t.Run("provider", w.provider)
}

func newDevicesWorld(t *testing.T) *devicesWorld {
	t.Helper()
	w := &devicesWorld{smtpWorld: &smtpWorld{load: harness.Helper(t, "./test/bench/load"), sink: peers.FreeAddress(t), folder: t.TempDir()}}
	store := harness.MaildirStore("mail", domain)
	store["settings"] = harness.Mapping{"root": "mail", "act_for": true}
	w.more = []harness.Mapping{{
		"stores": []harness.Mapping{store},
		"listeners": []harness.Mapping{
			{"protocol": "smtp", "address": "127.0.0.1:0"}, {"protocol": "submission", "address": "127.0.0.1:0", "legacy": true},
		},
		"routes": []harness.Mapping{
			{"name": "held", "domains": []string{heldDomain}, "to": "hold"},
			{
				"name": "provider", "domains": []string{farDomain}, "to": "smtp", "hosts": []string{w.sink}, "tls": "opportunistic",
				"provider": "microsoft", "per_minute": providerPerMinute,
			},
			{
				"name": "near", "domains": []string{nearDomain}, "to": "smtp", "hosts": []string{w.sink}, "tls": "opportunistic",
				"connections": providerConnections,
			},
		},
	}}
	w.startGateway(t)
	w.gateway.stopAtEnd(t)
	w.addDevices(t)
	return w
}

// addDevices adds one device as an administrator does, and the others as copies of it, each with a network of its own.
func (w *devicesWorld) addDevices(t *testing.T) {
	t.Helper()
	add := exec.Command(harness.Binary(t, harness.Plain), "device", "add", "device-0", "--config", filepath.Join(w.folder, "dipylon.yaml"),
		"--account", author, "--owner", author, "--place", "2nd floor", "--network", firstDevice.String(), "--no-login", "--legacy",
		"--may-send-as", author)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.gateway.stop()
	db, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), Folder: filepath.Join(w.folder, "state"), Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(copyDevice(t, db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func copyDevice(t *testing.T, db *state.DB) error {
	book := devices.New(devices.Options{Log: zerolog.Nop(), DB: db, Passwords: passwords.New(db)})
	device, err := book.Get(t.Context(), "device-0")
	if err != nil {
		return err
	}
	var account string // as the store calls it
	if err := db.QueryRow(t.Context(), "SELECT owner FROM app_passwords WHERE device = $1", device.Name).Scan(&account); err != nil || account == "" {
		return cmp.Or(err, errors.New("the store was not asked about the first device's account"))
	}
	at := firstDevice
	for i := 1; i < deviceCount; i++ {
		at = at.Next()
		device.Name, device.Networks = fmt.Sprintf("device-%d", i), []netip.Prefix{netip.PrefixFrom(at, at.BitLen())}
		if _, _, err := book.Add(t.Context(), *device, account); err != nil {
			return err
		}
	}
	return nil
}

// submit has so many devices, or others at their addresses, submit a message each at once.
func (w *devicesWorld) submit(listener, to string, many int) (result, error) {
	args := []string{
		"-work", "send", "-clients", fmt.Sprint(many), "-messages", fmt.Sprint(many), "-domain", to, "-boxes", fmt.Sprint(drained),
		"-sender", author, "-from", firstDevice.String(),
	}
	if to != heldDomain {
		args = append(args, "-sink", w.sink)
	}
	r, err := runLoad(w.load, w.gateway.ports[listener], args...)
	if err == nil && r.Messages != many {
		err = fmt.Errorf("%d messages were acknowledged", r.Messages)
	}
	return r, err
}

// anew starts a gateway that has taken one short message in, in the way that is measured then. So the provider takes a
// whole minute's messages at once, and nothing has grown yet.
func (w *devicesWorld) anew(t *testing.T, listener, to string) error {
	w.gateway.stop()
	w.startGateway(t)
	_, err := w.submit(listener, to, 1)
	unix.Sync()
	return err
}

// burst is what came of all messages at once.
type burst struct {
	result
	cpu          time.Duration // of both processes, until the last message is where it goes
	growth, peak float64       // MB: of the proportional set size, looked at ten times a second, and of the resident memory
}

func (w *devicesWorld) burst(t *testing.T, listener, to string) (b burst, err error) {
	if err := w.anew(t, listener, to); err != nil {
		return b, err
	}
	pid := w.gateway.cmd.Process.Pid
	if err := forgetPeaks(pid); err != nil {
		return b, err
	}
	used, err := cpuTime(pid)
	if err != nil {
		return b, err
	}
	before, _, err := resident(pid)
	if err != nil {
		return b, err
	}
	end := watchShare(pid)
	r, err := w.submit(listener, to, deviceCount)
	grown, shareErr := end()
	_, most, residentErr := resident(pid)
	now, cpuErr := cpuTime(pid)
	return burst{r, now - used, float64(grown) / 1e6, float64(most-before) / 1e6}, errors.Join(err, shareErr, residentErr, cpuErr)
}

// accepted is the time until all messages have their 250. What else was seen is added to seen, unless that is nil.
func (w *devicesWorld) accepted(t *testing.T, name, listener, to string, seen *[]burst) side {
	return side{name, func() (float64, error) {
		b, err := w.burst(t, listener, to)
		if err == nil && to == farDomain {
			err = withinLimits(b.result)
		}
		if seen != nil {
			*seen = append(*seen, b)
		}
		return b.Seconds * 1000, err
	}}
}

// held is what devices cost by themselves: their mail stays in the queue, too.
func (w *devicesWorld) held(t *testing.T) {
	compare(t, row{what: "500 messages at once, until all have their 250, held", unit: "ms", goal: 1.2, atMost: true},
		w.accepted(t, "devices", asDevices, heldDomain, nil), w.accepted(t, "without devices", without, heldDomain, nil))
}

// cpu is the same in processor time, whatever else the machine does.
func (w *devicesWorld) cpu(t *testing.T) {
	of := func(listener string) side {
		return side{listener, func() (float64, error) {
			b, err := w.burst(t, listener, heldDomain)
			return float64(b.cpu.Microseconds()) / deviceCount, err
		}}
	}
	compare(t, row{what: "the gateway's processor time for each of them, held", unit: "µs"}, of(asDevices), of(without))
}

// relay is what it costs that mail leaves while other mail comes in, without devices and without a pace.
func (w *devicesWorld) relay(t *testing.T) {
	compare(t, row{what: "the same without devices on either side, while they leave without a pace", unit: "ms"},
		w.accepted(t, "leaving", without, nearDomain, nil), w.accepted(t, "held", without, heldDomain, nil))
}

// provider is the devices' mail as it leaves: while it comes in, a minute's messages already do.
func (w *devicesWorld) provider(t *testing.T) {
	var leaving, held []burst
	compare(t, row{what: "500 messages at once, until all have their 250, while they leave", unit: "ms", goal: 1.2, atMost: true},
		w.accepted(t, "devices", asDevices, farDomain, &leaving), w.accepted(t, "without devices", without, heldDomain, &held))
	paces := each(leaving, func(b burst) float64 {
		return (deviceCount - providerPerMinute) / (b.Came[deviceCount-1] - b.Came[0]) * 60
	})
	ratio := func(pace float64) float64 { return pace / providerPerMinute }
	fmt.Printf("| leaving, once a minute's messages have, beside the route's limit | %s messages/min | %d messages/min | **%.3f** | 0.95 to 1.05 | %.3f to %.3f |\n",
		number(median(paces)), providerPerMinute, ratio(median(paces)), ratio(slices.Min(paces)), ratio(slices.Max(paces)))
	memory := func(what, goal string, of func(burst) float64) {
		ours, theirs := each(leaving, of), each(held, of)
		fmt.Printf("| %s | %s MB | %s MB | | %s | %.1f to %.1f MB |\n",
			what, number(median(ours)), number(median(theirs)), goal, slices.Min(ours), slices.Max(ours))
	}
	memory("growth of memory until all have left, both processes", "≤ 32 MB", func(b burst) float64 { return b.growth })
	memory("the same, the peak of resident memory", "", func(b burst) float64 { return b.peak })
}

func each(all []burst, of func(burst) float64) (values []float64) {
	for _, b := range all {
		values = append(values, of(b))
	}
	return values
}

// withinLimits wants no more connections at once than the provider takes, and at no time more messages: those of a minute
// may come at once, and all others at the pace.
func withinLimits(r result) error {
	if r.Open > providerConnections {
		return fmt.Errorf("the provider had %d connections at once", r.Open)
	}
	for i, came := range r.Came {
		past := came - r.Came[0]
		if due := providerPerMinute + past/60*providerPerMinute; float64(i) > 1.05*due+1 {
			return fmt.Errorf("after %.1f s %d messages had come to the provider, which takes %.0f by then", past, i+1, due)
		}
	}
	return nil
}

// watchShare looks at the proportional set size of a process and its children ten times a second, until the returned function
// says by how much it has grown at the most.
func watchShare(pid int) (end func() (grown int64, err error)) {
	stop, done := make(chan struct{}), make(chan struct{})
	first, err := share(pid)
	most := first
	go func() {
		defer close(done)
		ticks := time.NewTicker(100 * time.Millisecond)
		defer ticks.Stop()
		for err == nil {
			select {
			case <-stop:
				return
			case <-ticks.C:
			}
			var now int64
			now, err = share(pid)
			most = max(most, now)
		}
	}()
	return func() (int64, error) {
		close(stop)
		<-done
		return most - first, err
	}
}
