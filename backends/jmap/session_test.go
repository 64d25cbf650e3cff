package jmap_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestCredentialStaysHome: whatever the session resource names, and wherever an answer leads, the
// credential goes to the server in the settings alone, and to the hosts that they allow.
func TestCredentialStaysHome(t *testing.T) {
	var reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		_, _ = io.WriteString(w, "body")
	}))
	defer other.Close()
	there := strings.TrimPrefix(other.URL, "http://")
	for name, c := range map[string]struct{ key, value string }{
		"the API elsewhere":       {"apiUrl", other.URL + "/api"},
		"downloads elsewhere":     {"downloadUrl", other.URL + "/{accountId}/{blobId}/{name}?t={type}"},
		"uploads elsewhere":       {"uploadUrl", other.URL + "/{accountId}"},
		"without a scheme":        {"downloadUrl", "//" + there + "/{blobId}"},
		"a host that is a value":  {"downloadUrl", "http://{blobId}/"},
		"behind a user":           {"apiUrl", "http://home.example@" + there + "/"},
		"another scheme":          {"apiUrl", "https://{home}/api"},
		"a name that only begins": {"apiUrl", "http://{home}.evil.example/api"},
		"no URL":                  {"apiUrl", ""},
		"no template":             {"downloadUrl", "/download/{blobId"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			home, _ := url.Parse(f.URL)
			f.mails["M1"] = "x\r\n"
			f.session[c.key] = strings.ReplaceAll(c.value, "{home}", home.Host)
			_, err := f.store(t, nil).Login(t.Context(), ada())
			if backends.KindOf(err) != backends.Temporary {
				t.Errorf("a login: %v", err)
			}
		})
	}
	t.Run("redirects", func(t *testing.T) {
		for _, path := range []string{"session", "api", "download", "upload"} {
			f := startFake(t)
			f.mails["M1"] = "x\r\n"
			f.paths[path] = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			}
			s := f.store(t, map[string]any{"delivery": map[string]any{"accounts": map[string]string{user: secret}}})
			verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To(user)}, strings.NewReader("x\r\n"))
			if path != "download" && (err != nil || verdicts[0].Failure == nil || verdicts[0].Failure.Kind != backends.Temporary) {
				t.Errorf("%s: %+v, %v", path, verdicts, err)
			}
			drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ada()})
			if err == nil {
				if _, err = drop.Fetch(t.Context(), backends.FetchRequest{ID: "M1"}); path != "upload" && backends.KindOf(err) != backends.Temporary {
					t.Errorf("%s: %v", path, err)
				}
				_ = drop.Close()
			}
		}
	})
	t.Run("a host that a value completes", func(t *testing.T) {
		f := startFake(t)
		f.mails["M1"] = "x\r\n"
		home := strings.Replace(f.URL, "127.0.0.1", "localhost", 1)
		f.session["downloadUrl"] = strings.Replace(home, "localhost", "localhost{blobId}", 1)
		_, err := f.open(t, f.store(t, map[string]any{"url": home + "/session"})).Fetch(t.Context(), backends.FetchRequest{ID: "M1"})
		if backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "it is not given the password") {
			t.Errorf("got %v", err)
		}
	})
	if reached.Load() > 0 {
		t.Fatalf("the other server was asked %d times", reached.Load())
	}
	t.Run("allowed", func(t *testing.T) {
		f := startFake(t)
		f.mails["M1"] = "body"
		f.session["downloadUrl"] = other.URL + "/{blobId}"
		drop := f.open(t, f.store(t, map[string]any{"hosts": []string{there}}))
		content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "M1"})
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if reached.Load() != 1 {
			t.Errorf("the other server was asked %d times", reached.Load())
		}
	})
}

// TestRedirectAtHome: a redirect on the same server is followed, with the credential.
func TestRedirectAtHome(t *testing.T) {
	f := startFake(t)
	f.paths[".well-known"] = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/session", http.StatusMovedPermanently)
	}
	s := f.store(t, map[string]any{"url": f.URL})
	if account, err := s.Login(t.Context(), ada()); err != nil || account.ID != "a1" || account.DisplayName != "Ada" {
		t.Errorf("%+v, %v", account, err)
	}
}

// TestURLTemplates: values are percent-encoded as RFC 6570 has it, and URLs may be relative.
func TestURLTemplates(t *testing.T) {
	f := startFake(t)
	f.session["primaryAccounts"] = map[string]string{"urn:ietf:params:jmap:mail": "a/1 +ü{x}"}
	f.session["downloadUrl"] = "download/{accountId}/{blobId}/{name}?type={type}&none={other}"
	f.mails["M1"] = "x\r\n"
	var asked atomic.Pointer[url.URL]
	f.paths["download"] = func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL)
		_, _ = io.WriteString(w, "x\r\n")
	}
	content, err := f.open(t, f.store(t, nil)).Fetch(t.Context(), backends.FetchRequest{ID: "M1"})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	const want = "/download/a%2F1%20%2B%C3%BC%7Bx%7D/BM1/message.eml?type=message%2Frfc822&none="
	if got := asked.Load().RequestURI(); got != want {
		t.Errorf("asked for %s, wanted %s", got, want)
	}
}

// TestSessionChanges: a sessionState that changes makes the session resource be fetched again,
// once, and its new URLs be used; an account that is lost is told.
func TestSessionChanges(t *testing.T) {
	f := startFake(t)
	f.fill(3)
	drop := f.open(t, f.store(t, nil))
	fetched := func() (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, r := range f.seen {
			if r.URL.Path == "/session" {
				n++
			}
		}
		return n
	}
	before := fetched()
	f.mu.Lock()
	f.news, f.session["state"], f.session["downloadUrl"] = "s1", "s1", "/moved/{blobId}"
	f.paths["moved"] = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, f.mail("M000001")) }
	f.mu.Unlock()
	if _, err := list(t.Context(), drop); err != nil { // its answer has the news
		t.Fatal(err)
	}
	for range 3 {
		content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "M000001"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(content); err != nil || string(got) != f.mail("M000001") {
			t.Errorf("%q, %v", got, err)
		}
		_ = content.Close()
	}
	f.mu.Lock()
	f.news = "s2" // and the resource says s1 for ever
	f.mu.Unlock()
	for range 3 {
		if _, err := drop.Remove(t.Context(), []backends.MessageID{"M1"}, backends.DisposalRemove); err != nil {
			t.Fatal(err)
		}
	}
	if n := fetched() - before; n != 2 {
		t.Errorf("the session resource was fetched %d times", n)
	}
	f.mu.Lock()
	f.news, f.session["state"], f.session["accounts"] = "s3", "s3", map[string]any{}
	f.mu.Unlock()
	_, _ = drop.Remove(t.Context(), []backends.MessageID{"M1"}, backends.DisposalRemove)
	if _, err := drop.Remove(t.Context(), []backends.MessageID{"M1"}, backends.DisposalRemove); backends.KindOf(err) != backends.Permanent {
		t.Errorf("an account that is lost: %v", err)
	}
}

// TestAuthorization: passwords and tokens are presented as the settings say.
func TestAuthorization(t *testing.T) {
	token := backends.Credential{Kind: backends.CredentialToken, User: user, Secret: []byte("t0ken")}
	for name, c := range map[string]struct {
		credential backends.Credential
		settings   map[string]any
		want       string
	}{
		"basic":          {ada(), nil, "Basic YWRhQHBlZXIuZXhhbXBsZTphIHNlY3JldCBvZiBoZXJz"},
		"local":          {ada(), map[string]any{"username": "local"}, "Basic YWRhOmEgc2VjcmV0IG9mIGhlcnM="},
		"token":          {token, nil, "Bearer t0ken"},
		"password, sent": {backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte("t0ken")}, map[string]any{"auth": "bearer"}, "Bearer t0ken"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			got := ""
			f.paths["session"] = func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("Authorization")
				w.WriteHeader(http.StatusUnauthorized)
			}
			if _, err := f.store(t, c.settings).Login(t.Context(), c.credential); backends.KindOf(err) != backends.BadCredentials || got != c.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestImportWithoutAnswer: an import whose answer is lost may have been one, and a server that
// says that it has the message already is believed.
func TestImportWithoutAnswer(t *testing.T) {
	f := startFake(t)
	s := f.store(t, map[string]any{"delivery": map[string]any{"accounts": map[string]string{user: secret}}})
	d := backends.Delivery{Key: "k", Recipients: backends.To(user, strings.ToUpper(user), "ada+lists@peer.example", "nobody@peer.example")}
	deliver := func() []backends.Verdict {
		t.Helper()
		verdicts, err := s.Deliver(t.Context(), d, strings.NewReader("x\r\n"))
		if err != nil || len(verdicts) != 4 || verdicts[3].Failure == nil || verdicts[3].Failure.Kind != backends.NotFound {
			t.Fatalf("%+v, %v", verdicts, err)
		}
		return verdicts
	}
	f.methods["Email/import"] = func(map[string]any) (any, bool) { panic(http.ErrAbortHandler) }
	if f := deliver()[0].Failure; f == nil || f.Kind != backends.Uncertain {
		t.Errorf("without an answer: %v", f)
	}
	for kind, want := range map[string]backends.Kind{"alreadyExists": 0, "overQuota": backends.OverQuota, "invalidEmail": backends.Permanent, "serverPartialFail": backends.Uncertain} {
		f.mu.Lock() // a handler that panics gives no answer that it could be known to be over by
		f.methods["Email/import"] = func(map[string]any) (any, bool) {
			return map[string]any{"notCreated": map[string]any{"m": map[string]any{"type": kind}}}, true
		}
		f.mu.Unlock()
		for _, v := range deliver()[:3] {
			if got := kindOf(v.Failure); got != want {
				t.Errorf("%s: %v", kind, v.Failure)
			}
		}
	}
	before := f.count("Email/import")
	delete(f.methods, "Email/import")
	deliver()
	if n := f.count("Email/import") - before; n != 1 {
		t.Errorf("three names of one account had %d copies", n)
	}
}

func kindOf(f *backends.Failure) backends.Kind {
	if f == nil {
		return 0
	}
	return f.Kind
}

// TestDeliveryStatus: what a server knows already of recipients, once a submission is made, is
// their verdict; and a submission whose answer is lost is uncertain.
func TestDeliveryStatus(t *testing.T) {
	f := startFake(t)
	s := f.store(t, map[string]any{"submission": true})
	account, err := s.Login(t.Context(), ada())
	if err != nil || len(account.Addresses) != 2 || account.Addresses[1] != "@alias.example" {
		t.Errorf("%+v, %v", account, err)
	}
	d := backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "x@alias.example"}, Recipients: backends.To("yes@x.example", "no@x.example", "queued@x.example", "gone@x.example")}
	status := map[string]any{
		"yes@x.example": map[string]any{"delivered": "yes", "smtpReply": "250 2.1.5 ok"}, "no@x.example": map[string]any{"delivered": "no", "smtpReply": "550 5.1.1 nobody"},
		"queued@x.example": map[string]any{"delivered": "queued", "smtpReply": "451 4.2.1 later"}, "gone@x.example": map[string]any{"delivered": "no", "smtpReply": "what?"},
	}
	identity := ""
	f.methods["EmailSubmission/set"] = func(arguments map[string]any) (any, bool) {
		identity = arguments["create"].(map[string]any)["s"].(map[string]any)["identityId"].(string)
		return map[string]any{"created": map[string]any{"s": map[string]any{"id": "S1"}}}, true
	}
	f.methods["EmailSubmission/get"] = func(map[string]any) (any, bool) {
		return map[string]any{"list": []any{map[string]any{"id": "S1", "deliveryStatus": status}}}, true
	}
	verdicts, err := s.Send(t.Context(), ada(), d, strings.NewReader("x\r\n"))
	if err != nil || len(verdicts) != 4 || identity != "i2" {
		t.Fatalf("%+v, %v, as %s", verdicts, err, identity)
	}
	for i, want := range []backends.Kind{0, backends.NotFound, 0, backends.Permanent} {
		if kindOf(verdicts[i].Failure) != want {
			t.Errorf("%s: %v", verdicts[i].Recipient, verdicts[i].Failure)
		}
	}
	for i, want := range []string{"smtp; 250 2.1.5 ok", "smtp; 550 5.1.1 nobody", "smtp; 451 4.2.1 later", ""} {
		if v := verdicts[i]; v.RemoteDiagnostic != want || v.CheckTrack() != nil {
			t.Errorf("%s: %v, %q: %v", v.Recipient, v.Action, v.RemoteDiagnostic, v.CheckTrack())
		}
	}
	f.methods["EmailSubmission/set"] = func(map[string]any) (any, bool) { panic(http.ErrAbortHandler) }
	verdicts, err = s.Send(t.Context(), ada(), d, strings.NewReader("x\r\n"))
	if err != nil || kindOf(verdicts[0].Failure) != backends.Uncertain || f.count("Email/set") > 0 {
		t.Errorf("without an answer: %+v, %v, and the draft is gone: %d", verdicts, err, f.count("Email/set"))
	}
	if _, err := s.Send(t.Context(), ada(), d, io.MultiReader(strings.NewReader("x"), failing{})); backends.KindOf(err) != backends.Temporary || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a content that fails: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
