package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/plugins/host"
	"github.com/dipylon/dipylon/plugins/serve"
	double "github.com/dipylon/dipylon/test/exchange"
)

// site is a server with two mailboxes, and the settings for it.
type site struct {
	*double.Server
	boxes    map[string]*double.Mailbox
	settings backends.Settings
}

const (
	george = "george@sakes.example"
	chris  = "chris@sakes.example"
	// service is the account that may open everybody's mailbox.
	service = "keeper@sakes.example"
	// connector is whose Outbox has mail for the gateway to send.
	connector = "connector@sakes.example"
)

func start(t testing.TB, settings map[string]any) *site {
	t.Helper()
	s := &site{Server: double.Start(t), boxes: make(map[string]*double.Mailbox)}
	for _, user := range []string{george, chris, connector} {
		name, _, _ := strings.Cut(user, "@")
		s.boxes[user] = s.AddMailbox(user, name+"-secret", "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn="+name)
		s.boxes[user].AddFolder("", "Archive")
		s.boxes[user].AddFolder("Archive", "2026")
	}
	keeper := s.AddMailbox(service, "keeper-secret", "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=keeper")
	for _, box := range s.boxes {
		box.Grant(keeper, double.Rights{Reads: true, Admin: box.User == chris})
	}
	s.boxes[service] = keeper
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"url": s.Root, "ca": ca}
	for name, value := range settings {
		all[name] = value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	s.settings = backends.Settings{Store: "sakes", Domains: []string{"sakes.example"}, Raw: raw, BaseDir: t.TempDir(), StateDir: t.TempDir()}
	return s
}

// put delivers mail as a server does that keeps what it was.
func (s *site) put(user string, mail []byte) error {
	return s.putBy(mime.Reader{Received: time.Now(), Skeleton: true}, user, mail)
}

// putBy puts the object into a mailbox that a reader makes of mail.
func (s *site) putBy(r mime.Reader, user string, mail []byte) error {
	o, err := r.Read(bytes.NewReader(mail), int64(len(mail)))
	if err != nil {
		return err
	}
	var stream bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := w.Content(o); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.boxes[user].DeliverMail(time.Now(), mail, stream.Bytes())
	return nil
}

// enqueue puts mail into a folder of the connector, as one that was submitted.
func (s *site) enqueue(folder string, out backends.Outgoing, mail []byte) error {
	return s.enqueueFor(folder, out, mail, nil)
}

// enqueueFor is enqueue where others deliver to some recipients.
func (s *site) enqueueFor(folder string, out backends.Outgoing, mail []byte, others []string) error {
	o, err := mime.Reader{}.Read(bytes.NewReader(mail), int64(len(mail)))
	if err != nil {
		return err
	}
	o.Recipients = nil
	for _, address := range backends.Addresses(out.Recipients) {
		r := &mapi.Recipient{}
		r.Set(mapi.PidTagRecipientType, mapi.Integer32(1))
		r.SetAddress(mapi.RecipientAddress, mapi.Address{Name: address, Type: mapi.AddressSMTP, Address: address, SMTP: address})
		if slices.Contains(others, address) {
			r.Set(mapi.PidTagResponsibility, mapi.Boolean(true))
		}
		o.Recipients = append(o.Recipients, r)
	}
	var stream bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := errors.Join(w.Content(o), w.Flush()); err != nil {
		return err
	}
	const submitted = 4
	s.boxes[connector].Put(folder, submitted, stream.Bytes())
	return nil
}

func (s *site) store(t testing.TB) *exchange.Store {
	t.Helper()
	store := exchange.New()
	exchange.Patient(store)
	if err := store.Configure(t.Context(), s.settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// TestMain serves the store where the test binary is started as a plugin.
func TestMain(m *testing.M) {
	if os.Getenv(helper) == "plugin" {
		serve.Store(exchange.New(exchange.WithLogger(serve.Logger())))
		return
	}
	os.Exit(m.Run())
}

// helper is the variable that has the test binary be another process.
const helper = "EXCHANGE_TEST_HELPER"

// sends are the settings of a store that sends, too, and takes those of one that takes mail in as well.
var (
	sends = map[string]any{"submission": true}
	takes = map[string]any{
		"submission": true, "delivery": map[string]any{"create": true}, "outbox": map[string]any{"mailbox": connector}, "service": map[string]any{"user": service, "password": "keeper-secret"},
	}
)

// with adds a setting to others.
func with(settings map[string]any, name string, value any) map[string]any {
	all := maps.Clone(settings)
	all[name] = value
	return all
}

// boundary are the cases in which a store as a plugin could differ from one in process: what it is told and says of itself, what flows in pieces, what
// is given up on one side of the boundary and has to end on the other, and its end. What the server does is the same, and seen in process.
const boundary = "^(describe|configure|health|examine|close|hygiene)/|" +
	"^login/(right|wrong-password|impersonation|act-as-another|cancelled|secret-stays-unchanged)$|" +
	"^maildrop/(whole|top-n|large|file|many-in-order|many-given-up|many-cancelled|measure-in-order|measure-cancelled|given-up|cancelled|fetch-cancelled|" +
	"unread-content-waits|content-after-close|folders-described|encodings-described|bodies-described|unknown-folder|new-mail)$|" +
	"^remove/(exactly-these|gone-already|cancelled)$|^receiver/(resolve-many|mixed-outcomes|content-fails|cancelled|retry)$|" +
	"^sender/(to-both|content-fails|session-one-login|cancelled)$|^outbox/(collect|not-accepted|settled|cancelled)$"

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, start(t, takes).target(t))
	})
	t.Run("as plugin", func(t *testing.T) {
		t.Parallel()
		some(t, asPlugin(t, start(t, takes).target(t)), boundary)
	})
	t.Run("by EWS, in process", func(t *testing.T) {
		t.Parallel()
		target := start(t, with(takes, "protocol", "ews")).target(t)
		target.Large = 320 << 10 // which is kept in a file, as all above 256 KiB
		storetest.Run(t, target)
	})
	t.Run("by EWS, as plugin", func(t *testing.T) {
		t.Parallel()
		some(t, asPlugin(t, start(t, with(takes, "protocol", "ews")).target(t)), boundary)
	})
	t.Run("by EWS, as there is nothing else", func(t *testing.T) {
		t.Parallel()
		s := start(t, takes)
		s.WithoutMAPI(true)
		some(t, s.target(t), "^(login|describe|close|hygiene|remove|sender)/")
	})
	t.Run("with a service account", func(t *testing.T) {
		t.Parallel()
		target := start(t, map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}}).target(t)
		some(t, target, "^(login|describe|close|hygiene)/")
	})
}

// some runs the cases of the suite whose names match.
func some(t *testing.T, target storetest.Target, names string) {
	t.Helper()
	target.Only, target.Timeout, target.Patience = regexp.MustCompile(names), 5*time.Minute, time.Minute // as storetest.Run has it
	err := storetest.Check(t.Context(), target, func(r storetest.Result) {
		if r.Err != nil {
			t.Errorf("%s/%s: %v", r.Group, r.Name, r.Err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// asPlugin has the store of a target run in a process of its own.
func asPlugin(t *testing.T, target storetest.Target) storetest.Target {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := func(in backends.Settings) host.Spec {
		return host.Spec{Store: "sakes", Command: []string{self}, Env: []string{helper + "=plugin", "GORACE=atexit_sleep_ms=0"}, Settings: in}
	}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	target.New = nil
	// Each try of settings is a process that is started: one shows the way, the others are tried without it.
	target.BadSettings = map[string]string{"uri": target.BadSettings["uri"]}
	target.Configure = func(ctx context.Context, in backends.Settings) error { return host.CheckSettings(ctx, log, spec(in)) }
	target.Open = func(ctx context.Context) (backends.Store, error) {
		s := host.New(log, spec(target.Settings))
		return s, s.Start(ctx)
	}
	return target
}

// target is the suite's.
func (s *site) target(t *testing.T) storetest.Target {
	return storetest.Target{
		New:      func(context.Context) (backends.Store, error) { return exchange.New(), nil },
		Open:     func(context.Context) (backends.Store, error) { return s.store(t), nil },
		Settings: s.settings,
		User:     george, Password: "george-secret", Address: george,
		SecondUser: chris, SecondPassword: "chris-secret", SecondAddress: chris,
		Folder: "Archive/2026", Renders: true, InMemory: true, Large: 64 << 10, Many: 40,
		Put: func(_ context.Context, user string, mail []byte) error { return s.put(user, mail) },
		Enqueue: func(_ context.Context, out backends.Outgoing, mail []byte) error {
			return s.enqueue("Outbox", out, mail)
		},
		SendLogins: func() int {
			byEWS := 0
			for _, operation := range s.Operations() {
				if operation == "GetFolder" {
					byEWS++
				}
			}
			return s.Connects() + byEWS
		},
		EndSending: func(context.Context) error {
			s.Forget()
			return nil
		},
		BadSettings: map[string]string{
			"url":             `{"url": "http://mail.sakes.example"}`,
			"uri":             `{"uri": "x"}`,
			"authentication":  `{"url": "https://mail.sakes.example", "authentication": "digest"}`,
			"protocol":        `{"url": "https://mail.sakes.example", "protocol": "imap"}`,
			"username":        `{"url": "https://mail.sakes.example", "username": "upn"}`,
			"domain":          `{"url": "https://mail.sakes.example", "domain": "SAKES\\"}`,
			"removal":         `{"url": "https://mail.sakes.example", "removal": "never"}`,
			"service":         `{"url": "https://mail.sakes.example", "service": {"user": "keeper@sakes.example"}}`,
			"service.address": `{"url": "https://mail.sakes.example", "service": {"user": "SAKES\\\\keeper", "password": "x"}}`,
			"timeout":         `{"url": "https://mail.sakes.example", "timeout": "1ms"}`,
			"pin":             `{"url": "https://mail.sakes.example", "pin": "sha1/x"}`,
		},
	}
}

func TestSettings(t *testing.T) {
	for _, url := range []string{"", "mail.sakes.example", "https://george:secret@mail.sakes.example", "https://mail.sakes.example/mapi", "https://mail.sakes.example?x"} {
		settings := backends.Settings{Raw: fmt.Appendf(nil, `{"url": %q}`, url)}
		if err := exchange.New().Configure(t.Context(), settings); err == nil || !strings.Contains(err.Error(), "url: ") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestSchema(t *testing.T) {
	d, err := exchange.New().Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	storetest.Documented(t, d.Settings, "README.md")
}
