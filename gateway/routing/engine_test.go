package routing_test

import (
	"context"
	"fmt"
	"net"
	netsmtp "net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// serve puts the engine before a backend, on a real socket.
func serve(t *testing.T, role smtp.Role, backend smtp.Backend) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &smtp.Server{Backend: backend, Role: role, Hostname: "mail.sakes.example", AllowInsecureAuth: true}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// TestRetryThroughTheEngine has the engine's own Received line in front, which must not make
// another message of the second try.
func TestRetryThroughTheEngine(t *testing.T) {
	g := newGateway(t)
	address := serve(t, smtp.MX, routing.NewMX(g.options))
	to := []string{"bob@sakes.example", "eve@tea.example"}
	g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	err := netsmtp.SendMail(address, nil, "carol@far.example", to, []byte(letter))
	if err == nil || !strings.HasPrefix(err.Error(), "451 ") {
		t.Fatalf("got %v", err)
	}
	g.tea.before = nil
	if err := netsmtp.SendMail(address, nil, "carol@far.example", to, []byte(letter)); err != nil {
		t.Fatal(err)
	}
	if g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 {
		t.Errorf("bob has %d copies, eve %d", g.sakes.has(to[0]), g.tea.has(to[1]))
	}
	if got := g.sakes.copies[to[0]][0]; !strings.HasPrefix(got, "Received: ") || !strings.HasSuffix(got, letter) {
		t.Errorf("bob has %q", got)
	}
	if err := netsmtp.SendMail(address, nil, "", []string{"postmaster"}, []byte(letter)); err != nil || g.sakes.has("postmaster@sakes.example") != 1 {
		t.Errorf("postmaster: %v", err)
	}
	err = netsmtp.SendMail(address, nil, "carol@far.example", []string{"zoe@far.example"}, []byte(letter))
	if err == nil || !strings.HasPrefix(err.Error(), "550 ") {
		t.Errorf("relaying: %v", err)
	}
}

func TestSubmissionThroughTheEngine(t *testing.T) {
	g := newGateway(t)
	address := serve(t, smtp.Submission, routing.NewSubmission(g.options))
	to := []string{"bob@sakes.example", "dan@sakes.example"}
	auth := netsmtp.PlainAuth("", "alice@sakes.example", "sesame", "127.0.0.1")
	if err := netsmtp.SendMail(address, auth, "alice@sakes.example", to, []byte("Bcc: dan@sakes.example\r\n"+letter)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(g.sakes.copies[to[0]]); g.sakes.has(to[1]) != 1 || strings.Contains(got, "Bcc") || !strings.Contains(got, "\r\nMessage-ID: <") {
		t.Errorf("bob has %q", got)
	}
	wrong := netsmtp.PlainAuth("", "alice@sakes.example", "simsim", "127.0.0.1")
	if err := netsmtp.SendMail(address, wrong, "alice@sakes.example", to, []byte(letter)); err == nil || !strings.HasPrefix(err.Error(), "535 ") {
		t.Errorf("wrong password: %v", err)
	}
	if err := netsmtp.SendMail(address, nil, "alice@sakes.example", to, []byte(letter)); err == nil || !strings.HasPrefix(err.Error(), "530 ") {
		t.Errorf("no login: %v", err)
	}
}

// counting is a store that counts how often it is asked for its description.
type counting struct {
	sender
	asked int
}

func (u *counting) Describe(context.Context) (backends.Description, error) {
	u.asked++
	return backends.Description{}, nil
}

// TestEHLOAsksNoPlugin: what EHLO tells of stores is what they have said already.
func TestEHLOAsksNoPlugin(t *testing.T) {
	g := newGateway(t)
	store := &counting{sender: sender{receiver{g.sakes}}}
	said := backends.Description{Capabilities: backends.CapabilitiesOf(store), Limits: backends.Limits{MessageSize: 4711}}
	plugin := stores.Plugin{Backend: store, Description: func() *backends.Description { return &said }}
	g.options.Router.Swap(g.table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Sends: true}.In(plugin)))
	for role, backend := range map[smtp.Role]smtp.Backend{smtp.MX: routing.NewMX(g.options), smtp.Submission: routing.NewSubmission(g.options)} {
		client, err := netsmtp.Dial(serve(t, role, backend))
		if err != nil {
			t.Fatal(err)
		}
		if _, size := client.Extension("SIZE"); size != "4711" {
			t.Errorf("the size that is told is %q", size)
		}
		if offers, _ := client.Extension("AUTH"); offers != (role == smtp.Submission) {
			t.Errorf("AUTH is offered: %v", offers)
		}
		if err := client.Quit(); err != nil {
			t.Error(err)
		}
	}
	if store.asked > 0 {
		t.Errorf("the store was asked %d times", store.asked)
	}
}
