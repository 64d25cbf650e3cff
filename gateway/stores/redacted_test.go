package stores_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// quoting is a store that quotes what it was sent.
type quoting struct {
	fakeStore
	failure func(c backends.Credential) error
}

func (q *quoting) Login(_ context.Context, c backends.Credential) (backends.Account, error) {
	return backends.Account{}, q.failure(c)
}

func (q *quoting) Open(_ context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	return nil, q.failure(r.Credential)
}

func (q *quoting) Send(_ context.Context, c backends.Credential, _ backends.Delivery, _ io.Reader) ([]backends.Verdict, error) {
	return nil, q.failure(c)
}

func (q *quoting) Authenticate(context.Context, string, backends.Peer) (sasl.Exchange[backends.Account], error) {
	return quotingExchange{q.failure}, nil
}

type quotingExchange struct {
	failure func(c backends.Credential) error
}

func (q quotingExchange) Next(_ context.Context, response []byte) ([]byte, *backends.Account, error) {
	return nil, nil, q.failure(backends.Credential{Secret: response})
}

func (quotingExchange) Close() error { return nil }

// TestRedacted: what a store says of a call has no secret in it, neither for who called nor for the log.
func TestRedacted(t *testing.T) {
	who := backends.Credential{Kind: backends.CredentialPassword, User: "ada", Secret: []byte("hunt\"er2")}
	inBase64 := base64.StdEncoding.EncodeToString
	plain := fmt.Errorf("server: %w", backends.Fail(backends.BadCredentials, "NO LOGIN ada %s", who.Secret).Say("not ada with "+string(who.Secret)))
	for name, failure := range map[string]func(c backends.Credential) error{
		"a failure": func(c backends.Credential) error {
			return backends.Fail(backends.BadCredentials, "NO LOGIN ada %s", c.Secret)
		},
		"its text": func(c backends.Credential) error {
			return backends.Fail(backends.BadCredentials, "").Say("not " + string(c.Secret))
		},
		"one wrapped": func(c backends.Credential) error {
			return fmt.Errorf("%s: %w", c.Secret, backends.Fail(backends.BadCredentials, "no"))
		},
		"an error": func(c backends.Credential) error { return errors.New("BAD " + string(c.Secret)) },
		"quoted":   func(c backends.Credential) error { return backends.Fail(backends.Temporary, "%q", c.Secret) },
		"LOGIN's":  func(c backends.Credential) error { return backends.Fail(backends.Temporary, "%s", inBase64(c.Secret)) },
		"PLAIN's": func(c backends.Credential) error {
			return backends.Fail(backends.Temporary, "%s", inBase64([]byte("\x00"+c.User+"\x00"+string(c.Secret))))
		},
		"text and more": func(backends.Credential) error { return plain },
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			q := &quoting{failure: failure}
			q.said.Mechanisms = []string{"NTLM"}
			table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q), stores.Traced(zerolog.New(&log))))
			store := table.StoreFor("sakes.example")
			_, login := store.Login(t.Context(), who)
			sending, err := backends.OpenSending(t.Context(), store.Sender, who)
			if err != nil {
				t.Fatal(err)
			}
			_, message := sending.Send(t.Context(), backends.Delivery{}, nil)
			_, open := store.Reader.Open(t.Context(), backends.OpenRequest{Credential: who})
			exchange, err := store.Authenticator.Authenticate(t.Context(), "NTLM", backends.Peer{})
			if err != nil {
				t.Fatal(err)
			}
			_, _, step := exchange.Next(t.Context(), who.Secret)
			for call, err := range map[string]error{"Login": login, "Open": open, "step": step, "a message of a session": message} {
				said := fmt.Sprint(err, backends.AsFailure(err).Text)
				if err == nil || strings.Contains(said, "er2") || strings.Contains(said, inBase64(who.Secret)[:8]) || strings.Contains(said, inBase64([]byte("\x00ada\x00"))[:6]) {
					t.Errorf("%s: %s", call, said)
				}
				if want := backends.KindOf(failure(who)); backends.KindOf(err) != want {
					t.Errorf("%s: %v, want %v", call, backends.KindOf(err), want)
				}
			}
			if got := log.String(); strings.Contains(got, "er2") || strings.Count(got, `"call":"`) != 6 {
				t.Errorf("the log is %s", got)
			}
		})
	}
}

// TestNothingToRedact: an error without a secret comes as it is.
func TestNothingToRedact(t *testing.T) {
	given := errors.New("down")
	q := &quoting{failure: func(backends.Credential) error { return given }}
	table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q)))
	for _, secret := range []string{"", "own", "hunter2"} { // "own" is too short, and in the word
		if _, err := table.StoreFor("sakes.example").Login(t.Context(), backends.Credential{Secret: []byte(secret)}); err != given { //nolint:errorlint // the very same
			t.Errorf("%q: %v", secret, err)
		}
	}
}

// quotingDrop is a maildrop whose store quotes the password with which it logs in again.
type quotingDrop struct{ said *backends.Failure }

func (quotingDrop) Opened() backends.Opened { return backends.Opened{FolderID: "inbox"} }

func (q quotingDrop) List(context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) { yield(backends.Entry{}, q.said) }
}

func (q quotingDrop) Fetch(_ context.Context, r backends.FetchRequest) (backends.Content, error) {
	if r.Top {
		return nil, q.said
	}
	return quotingContent(q), nil
}

func (q quotingDrop) Remove(_ context.Context, ids []backends.MessageID, _ backends.Disposal) ([]backends.Removal, error) {
	if len(ids) == 0 {
		return nil, q.said
	}
	return []backends.Removal{{ID: ids[0], Failure: q.said}}, nil
}

func (q quotingDrop) FetchMany(_ context.Context, r backends.FetchManyRequest) (backends.Contents, error) {
	if r.Top {
		return nil, q.said
	}
	return &quotingContents{said: q.said}, nil
}

func (q quotingDrop) Measure(_ context.Context, r backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		if r.Top {
			yield(backends.Measured{}, q.said)
			return
		}
		yield(backends.Measured{ID: "1", Failure: q.said}, nil)
	}
}

func (q quotingDrop) MarkSeen(context.Context, []backends.MessageID) error { return q.said }
func (q quotingDrop) Close() error                                         { return q.said }

type quotingContents struct {
	said  *backends.Failure
	given bool
}

func (q *quotingContents) Next(context.Context) (backends.Content, error) {
	if q.given {
		return nil, q.said
	}
	q.given = true
	return quotingContent{q.said}, nil
}
func (q *quotingContents) Close() error { return q.said }

type quotingContent struct{ said *backends.Failure }

func (q quotingContent) Read([]byte) (int, error) { return 0, q.said }
func (quotingContent) Size() int64                { return -1 }
func (q quotingContent) Close() error             { return q.said }

// all is the errors of everything that can be asked of a maildrop.
func (q quotingDrop) all(t *testing.T, drop backends.Maildrop) map[string]error {
	errs := map[string]error{}
	for _, err := range drop.List(t.Context()) {
		errs["List"] = err
	}
	_, errs["Fetch"] = drop.Fetch(t.Context(), backends.FetchRequest{Top: true})
	_, errs["Remove"] = drop.Remove(t.Context(), nil, 0)
	removals, _ := drop.Remove(t.Context(), []backends.MessageID{"1"}, 0)
	errs["a removal"] = removals[0].Failure
	content, _ := drop.Fetch(t.Context(), backends.FetchRequest{})
	_, errs["Read"] = content.Read(nil)
	_, errs["WriteTo"] = content.(io.WriterTo).WriteTo(io.Discard)
	many := drop.(backends.ManyFetcher)
	_, errs["FetchMany"] = many.FetchMany(t.Context(), backends.FetchManyRequest{Top: true})
	contents, _ := many.FetchMany(t.Context(), backends.FetchManyRequest{})
	content, _ = contents.Next(t.Context())
	_, errs["Read of many"] = content.Read(nil)
	_, errs["Next"] = contents.Next(t.Context())
	errs["the end of a content"], errs["the end of many"] = content.Close(), contents.Close()
	for measured := range drop.(backends.Measurer).Measure(t.Context(), backends.MeasureRequest{}) {
		errs["a measure"] = measured.Failure
	}
	for _, err := range drop.(backends.Measurer).Measure(t.Context(), backends.MeasureRequest{Top: true}) {
		errs["Measure"] = err
	}
	errs["MarkSeen"] = drop.(backends.Marker).MarkSeen(t.Context(), nil)
	errs["Close"] = drop.Close()
	return errs
}

// TestMaildropSaysNoSecret: a store may log in again while a maildrop is open, and then quotes the secret
// in whatever it was asked meanwhile: the client's, or the one of its settings.
func TestMaildropSaysNoSecret(t *testing.T) {
	for name, c := range map[string]struct{ credential, settings string }{
		"the client's":   {"hunter22", `{}`},
		"the settings'":  {"", `{"master": {"password": "hunter22"}}`},
		"of two secrets": {"swordfish", `{"master": {"password": "hunter22"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			said := backends.Fail(backends.Temporary, "LOGIN ada hunter22 failed")
			o := &opening{drop: quotingDrop{said}}
			o.said.Settings = []backends.Setting{{Path: "master.password", Secret: true}}
			plugin := storestest.In(o)
			plugin.Settings = []byte(c.settings)
			table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(plugin))
			drop, err := table.StoreFor("sakes.example").Reader.Open(t.Context(), backends.OpenRequest{Credential: backends.Credential{User: "ada", Secret: []byte(c.credential)}})
			if err != nil {
				t.Fatal(err)
			}
			errs := quotingDrop{said}.all(t, drop)
			for call, err := range errs {
				if err == nil || err.Error() != "temporary: LOGIN ada [redacted] failed" {
					t.Errorf("%s: %v", call, err)
				}
			}
			if len(errs) != 15 || said.Detail != "LOGIN ada hunter22 failed" {
				t.Errorf("%d calls, and the store's own is %q", len(errs), said.Detail)
			}
		})
	}
}

// TestSendingSaysNoSecret: nor does the end of a session of sending, whichever secret it is, or of an
// exchange.
func TestSendingSaysNoSecret(t *testing.T) {
	for name, settings := range map[string]string{"the client's": `{}`, "the settings'": `{"master": {"password": "open-sesame"}}`} {
		t.Run(name, func(t *testing.T) {
			q := &quotingSender{}
			q.said.Mechanisms = []string{"NTLM"}
			q.said.Settings = []backends.Setting{{Path: "master.password", Secret: true}}
			plugin := storestest.In(q)
			plugin.Settings = []byte(settings)
			table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(plugin))
			secret := map[string]string{"the client's": "open-sesame"}[name]
			sending, err := backends.OpenSending(t.Context(), table.StoreFor("sakes.example").Sender, backends.Credential{User: "ada", Secret: []byte(secret)})
			if err != nil {
				t.Fatal(err)
			}
			if err := sending.Close(); err == nil || err.Error() != "temporary: QUIT after AUTH ada [redacted]" {
				t.Error(err)
			}
			if name == "the client's" {
				return // an exchange has none when it ends
			}
			exchange, err := table.StoreFor("sakes.example").Authenticator.Authenticate(t.Context(), "NTLM", backends.Peer{})
			if err != nil {
				t.Fatal(err)
			}
			if err := exchange.Close(); err == nil || err.Error() != "temporary: QUIT after AUTH ada [redacted]" {
				t.Error(err)
			}
		})
	}
}

// quotingSender is a store whose sessions of sending end with a secret.
type quotingSender struct{ fakeStore }

func (q *quotingSender) OpenSending(context.Context, backends.Credential) (backends.Sending, error) {
	return quotingSending{}, nil
}

func (q *quotingSender) Authenticate(context.Context, string, backends.Peer) (sasl.Exchange[backends.Account], error) {
	return closing{}, nil
}

type closing struct{ quotingExchange }

func (closing) Close() error { return quotingSending{}.Close() }

type quotingSending struct{ backends.Sending }

func (quotingSending) Close() error {
	return backends.Fail(backends.Temporary, "QUIT after AUTH ada open-sesame")
}

// TestVerdictsSayNoSecret: nor does what is told of one recipient.
func TestVerdictsSayNoSecret(t *testing.T) {
	const secret = "hunter22"
	verdict := backends.Verdict{
		Recipient: "a@x.example", Failure: backends.Fail(backends.Permanent, "535 %s", secret).Say("not with " + secret),
		Destination: "dns; " + secret + ".example", RemoteDiagnostic: "smtp; 535 AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ada\x00"+secret)),
	}
	q := &telling{verdict: verdict}
	table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q)))
	sender, who := table.StoreFor("sakes.example").Sender, backends.Credential{User: "ada", Secret: []byte(secret)}
	session, err := backends.OpenSending(t.Context(), sender, who)
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func() ([]backends.Verdict, error){
		"Send":       func() ([]backends.Verdict, error) { return sender.Send(t.Context(), who, backends.Delivery{}, nil) },
		"of session": func() ([]backends.Verdict, error) { return session.Send(t.Context(), backends.Delivery{}, nil) },
	} {
		got, err := send()
		if err != nil {
			t.Fatal(err)
		}
		v := got[0]
		said := []string{v.Failure.Detail, v.Failure.Text, v.Destination, v.RemoteDiagnostic}
		want := []string{"535 [redacted]", "not with [redacted]", "dns; [redacted].example", "smtp; 535 AUTH PLAIN [redacted]"}
		if !slices.Equal(said, want) {
			t.Errorf("%s: %q", name, said)
		}
	}
}

// telling is a store with one verdict on all that is sent.
type telling struct {
	fakeStore
	verdict backends.Verdict
}

func (t *telling) Send(context.Context, backends.Credential, backends.Delivery, io.Reader) ([]backends.Verdict, error) {
	return []backends.Verdict{t.verdict}, nil
}

// TestSettingsSaySecrets: nor do the secrets of the store's own settings, with which it logs in for others,
// stand in what it says of any call.
func TestSettingsSaySecrets(t *testing.T) {
	said := "LOGIN ada*master open-sesame: try key-of-b or key-of-a, not abc, at mail.example"
	q := &quoting{failure: func(backends.Credential) error { return backends.Fail(backends.Temporary, "%s", said) }}
	q.said.Settings = []backends.Setting{
		{Path: "host"},
		{Path: "master.password", Secret: true},
		{Path: "accounts[].key", Secret: true},
		{Path: "short", Secret: true},
		{Path: "delivery.*", Secret: true},
		{Path: "host.of.none", Secret: true},
		{Path: "accounts.*", Secret: true},
		{Path: "number", Secret: true},
	}
	plugin := storestest.In(q)
	plugin.Settings = []byte(`{"host": "mail.example", "master": {"password": "open-sesame"}, "short": "abc", "number": 1234567,
		"accounts": [{"key": "key-of-a"}, {"user": "ada*master"}, 7], "delivery": {"ada@sakes.example": "key-of-b"}}`)
	store := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(plugin)).StoreFor("sakes.example")
	const want = "temporary: LOGIN ada*master [redacted]: try [redacted] or [redacted], not abc, at mail.example"
	_, login := store.Login(t.Context(), backends.Credential{Kind: backends.CredentialImpersonation, User: "ada"})
	for call, err := range map[string]error{"Login": login, "Health": store.Health(t.Context())} {
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", call, err)
		}
	}
	verdicts, err := store.Receiver.Deliver(t.Context(), backends.Delivery{}, nil)
	if err != nil || verdicts[0].Failure.Error() != want || strings.Contains(verdicts[0].RemoteDiagnostic, "open") {
		t.Errorf("Deliver: %+v %v", verdicts, err)
	}
}

func (q *quoting) Health(context.Context) error { return q.failure(backends.Credential{}) }

func (q *quoting) Deliver(context.Context, backends.Delivery, io.Reader) ([]backends.Verdict, error) {
	said := backends.AsFailure(q.failure(backends.Credential{}))
	return []backends.Verdict{{Failure: said, RemoteDiagnostic: said.Detail}}, nil
}

// TestFormsOfASecret: in whatever form a server quotes it, and wherever what it says is cut off.
func TestFormsOfASecret(t *testing.T) {
	token := strings.Repeat("eyJ0eXAiOi/Jhb+GciO~", 8)
	inBase64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct{ secret, said string }{
		"XOAUTH2":           {token, "bad: " + inBase64([]byte("user=ada\x01auth=Bearer "+token+"\x01\x01"))},
		"OAUTHBEARER":       {token, "bad: " + inBase64([]byte("n,a=ada,\x01auth=Bearer "+token+"\x01\x01"))},
		"Basic":             {"hunter22", "bad: Authorization: Basic " + inBase64([]byte("ada@sakes.example:hunter22"))},
		"URL":               {"hunt&er 22%", "bad: https://mail.example/?p=hunt%26er+22%25"},
		"path":              {"hunt/er 22%", "bad: https://mail.example/hunt%2Fer%2022%25/x"},
		"JSON":              {"hunt<er>22", `bad: {"password":"hunt\u003cer\u003e22"}`},
		"URL's Base64":      {"hunter22??>>", "bad: " + base64.RawURLEncoding.EncodeToString([]byte("hunter22??>>"))},
		"cut":               {token, "bad: Bearer " + token[:50]},
		"cut in the middle": {token, "bad: " + token[:30] + "… (70 more), says the server"},
		"its end":           {token, "bad: …" + token[100:]},
		"cut Base64":        {token, "bad: " + inBase64([]byte("user=ada\x01auth=Bearer " + token))[:60] + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			q := &quoting{failure: func(backends.Credential) error { return backends.Fail(backends.BadCredentials, "%s", c.said) }}
			table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q)))
			_, err := table.StoreFor("sakes.example").Login(t.Context(), backends.Credential{User: "ada", Secret: []byte(c.secret)})
			said := err.Error()
			if !strings.Contains(said, "bad: ") || !strings.Contains(said, "[redacted]") {
				t.Error(said)
			}
			for _, form := range []string{c.secret, inBase64([]byte(c.secret)), strings.TrimPrefix(c.said, "bad: ")} {
				for i := 0; i+8 <= len(form); i++ {
					if part := form[i : i+8]; strings.Contains(said, part) && strings.Contains(c.secret+inBase64([]byte("\x00"+c.secret)), part) {
						t.Fatalf("%q has %q", said, part)
					}
				}
			}
		})
	}
}

// BenchmarkHide is a failed login with the longest token there may be, of a store that says as much.
func BenchmarkHide(b *testing.B) {
	token := strings.Repeat("abcdefghijklmnop", 768)
	q := &quoting{failure: func(backends.Credential) error { return backends.Fail(backends.BadCredentials, "%s", token[:2048]) }}
	store := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q))).StoreFor("sakes.example")
	for b.Loop() {
		_, _ = store.Login(b.Context(), backends.Credential{Secret: []byte(token)})
	}
}
