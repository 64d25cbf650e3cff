//go:build linux

package signin_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/test/peers"
)

// realm is a server whose logins MIT Kerberos and gss-ntlmssp judge.
type realm struct {
	*site
	kdc *peers.KDC
	gss *peers.GSS
	k   *kerberos.Kerberos

	each   bool // it forgets a login with each reply
	silent bool // it does not prove itself
	bind   []byte
	bound  map[string]bool // by the client's address, what was signed in
}

func startRealm(t *testing.T, offers ...string) *realm {
	t.Helper()
	r := &realm{site: serve(t, offers...), kdc: peers.StartKDC(t, "SAKES.EXAMPLE"), bound: map[string]bool{}}
	r.kdc.AddUser("george", "sesame")
	r.gss = peers.StartGSS(t, peers.GSSAccounts{
		NTLM: "SAKES:george:sesame", Keytab: r.kdc.AddService("HTTP/127.0.0.1"), Config: r.kdc.Config,
	})
	sum := sha256.Sum256(r.Certificate().Raw)
	r.bind = append([]byte("tls-server-end-point:"), sum[:]...)
	var err error
	if r.k, err = kerberos.New(kerberos.Config{Realm: r.kdc.Realm, KDCs: []string{r.kdc.Address}, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	logins := map[string]*peers.GSSLogin{}
	r.hook = func(w http.ResponseWriter, q *http.Request, _ int) bool { return r.judge(w, q, logins) }
	return r
}

// judge answers what is about NTLM and Negotiate. It is called under the lock.
func (r *realm) judge(w http.ResponseWriter, q *http.Request, logins map[string]*peers.GSSLogin) bool {
	scheme, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if scheme == "" && r.bound[q.RemoteAddr] {
		r.bound[q.RemoteAddr] = !r.each
		_, _ = io.WriteString(w, "hello there")
		return true
	}
	if scheme != "NTLM" && scheme != "Negotiate" {
		return false
	}
	octets, _ := base64.StdEncoding.DecodeString(token)
	if logins[q.RemoteAddr] == nil {
		logins[q.RemoteAddr] = r.gss.Begin(scheme, r.bind)
	}
	v, err := logins[q.RemoteAddr].Step(octets)
	if err != nil {
		r.t.Error(err)
	}
	if len(v.Token) > 0 && !r.silent {
		w.Header().Set("WWW-Authenticate", scheme+" "+base64.StdEncoding.EncodeToString(v.Token))
	}
	if v.Complete || v.Error != "" {
		delete(logins, q.RemoteAddr)
		r.judged++
	}
	if !v.Complete || !v.Bound {
		if v.Complete || v.Error != "" {
			r.t.Logf("refused: %+v", v)
		}
		if w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", scheme)
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	r.bound[q.RemoteAddr] = !r.each
	_, _ = io.WriteString(w, "hello there")
	return true
}

func (r *realm) login(c signin.Config, who signin.Credential) *signin.Login {
	c.Kerberos = r.k
	return r.site.login(c, who)
}

// TestKerberos has what is sent for three requests, which MIT Kerberos and gss-ntlmssp take as bound.
func TestKerberos(t *testing.T) {
	r := startRealm(t, "Negotiate", "NTLM")
	for _, test := range []struct {
		name   string
		method signin.Method
		who    signin.Credential
		each   bool
		want   string
	}{
		{"kerberos", signin.Kerberos, signin.Credential{User: "george@sakes.example", Password: "sesame"}, false, "0, Negotiate 5, 5, 5"},
		{"auto", signin.Auto, george, false, "0, Negotiate 5, 5, 5"},
		{"ntlm", signin.NTLM, george, false, "NTLM 0, NTLM 5, 5, 5"},
		{"with each request", signin.Kerberos, george, true, "0, Negotiate 5, 5, Negotiate 5, Negotiate 5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.each = test.each
			l := r.login(signin.Config{Method: test.method}, test.who)
			for range 3 {
				if got, err := ask(t, l, r.URL+"/mapi/x", "there"); err != nil || got != "200 hello there" {
					t.Fatal(got, err)
				}
			}
			if got := r.came(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestKerberosOrNTLM: where there is no ticket to get, auto goes on with NTLM; not where the KDC has refused the password.
func TestKerberosOrNTLM(t *testing.T) {
	r := startRealm(t, "Negotiate", "NTLM", `Basic realm="x"`)
	r.kdc.AddUser("expired", "sesame")
	r.kdc.Modify("expired", "-pwexpire", "yesterday")
	r.kdc.AddUser("locked", "sesame")
	r.kdc.Modify("locked", "-allow_tix")
	for _, test := range []struct {
		name, user, password, service string
		kind                          backends.Kind
		judged                        int
	}{
		{"no such service", "george", "sesame", "HTTP/elsewhere.example", 0, 1},
		{"no such user", `SAKES\nobody`, "sesame", "", backends.BadCredentials, 1},
		{"a wrong password", "george", "wrong", "", backends.BadCredentials, 0},
		{"an expired password", "expired", "sesame", "", backends.PasswordExpired, 0},
		{"a wrong password that has expired", "expired", "wrong", "", backends.BadCredentials, 0},
		{"a locked account", "locked", "sesame", "", backends.BadCredentials, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.judged = 0
			failed := strings.Count(r.kdc.Log(), "PREAUTH_FAILED")
			user := test.user
			if !strings.Contains(user, `\`) {
				user = `SAKES\` + user
			}
			l := r.login(signin.Config{Service: test.service}, signin.Credential{User: user, Password: test.password})
			for range 2 {
				if _, err := ask(t, l.Again(), r.URL+"/mapi/x", "there"); backends.KindOf(err) != test.kind {
					t.Error(err)
				}
			}
			if want := test.judged * (1 + boolean(test.kind == 0)); r.judged != want {
				t.Errorf("the server has judged it %d times", r.judged)
			}
			if n := strings.Count(r.kdc.Log(), "PREAUTH_FAILED") - failed; n > 1 {
				t.Errorf("the KDC has judged it %d times", n)
			}
		})
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestBindingRefused: a server behind another certificate refuses both, and Kerberos can tell that it is not the password.
func TestBindingRefused(t *testing.T) {
	for _, test := range []struct {
		method  signin.Method
		unbound bool
		kind    backends.Kind
	}{
		{signin.NTLM, false, backends.BadCredentials},
		{signin.Kerberos, false, backends.Permanent},
		{signin.Kerberos, true, backends.Permanent}, // it must have one
	} {
		r := startRealm(t, "Negotiate", "NTLM")
		if !test.unbound {
			r.bind = []byte("tls-server-end-point:another")
		}
		_, err := ask(t, r.login(signin.Config{Method: test.method, Unbound: test.unbound}, george), r.URL+"/mapi/x", "there")
		if backends.KindOf(err) != test.kind || !strings.Contains(err.Error(), "channel binding") {
			t.Errorf("%s: %v", test.method, err)
		}
	}
}

// TestNotProved: what a server answers that has taken a ticket and does not prove itself is not believed.
func TestNotProved(t *testing.T) {
	r := startRealm(t, "Negotiate")
	r.silent = true
	got, err := ask(t, r.login(signin.Config{Method: signin.Kerberos}, george), r.URL+"/mapi/x", "there")
	if err == nil || !strings.Contains(err.Error(), kerberos.ErrNotProved.Error()) {
		t.Error(got, err)
	}
}

// TestServiceHasAnotherKey: a service whose key was changed gets another ticket, once.
func TestServiceHasAnotherKey(t *testing.T) {
	r := startRealm(t, "Negotiate")
	l := r.login(signin.Config{Method: signin.Kerberos}, george)
	if _, err := ask(t, l, r.URL+"/mapi/x", "there"); err != nil {
		t.Fatal(err)
	}
	l.CloseIdleConnections()
	keytab := r.kdc.NewKey("HTTP/127.0.0.1")
	r.mu.Lock()
	r.gss = peers.StartGSS(t, peers.GSSAccounts{Keytab: keytab, Config: r.kdc.Config})
	r.mu.Unlock()
	if _, err := ask(t, l, r.URL+"/mapi/x", "there"); err != nil {
		t.Error(err)
	}
}

// TestKDCIsAway: a KDC that cannot be reached is told as that, and with auto NTLM is there.
func TestKDCIsAway(t *testing.T) {
	s := serve(t, "Negotiate", "NTLM")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	k, err := kerberos.New(kerberos.Config{Realm: "SAKES.EXAMPLE", KDCs: []string{nobody.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, s.login(signin.Config{Method: signin.Kerberos, Kerberos: k}, george), s.URL+"/mapi/x", "there"); backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
	if _, err := ask(t, s.login(signin.Config{Kerberos: k}, george), s.URL+"/mapi/x", "there"); err != nil {
		t.Error(err)
	}
}

// lossy is a KDC that answers the first request, and hangs up on all after it.
func lossy(t *testing.T, behind string) (address string, asked *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	asked = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			var size [4]byte
			if _, err := io.ReadFull(in, size[:]); err == nil {
				request := make([]byte, binary.BigEndian.Uint32(size[:]))
				_, _ = io.ReadFull(in, request)
				if asked.Add(1) == 1 {
					forward(conn, behind, append(size[:], request...))
				}
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), asked
}

func forward(conn net.Conn, behind string, request []byte) {
	next, err := net.Dial("tcp", behind)
	if err != nil {
		return
	}
	defer next.Close()
	_, _ = next.Write(request)
	var size [4]byte
	if _, err := io.ReadFull(next, size[:]); err == nil {
		reply := make([]byte, binary.BigEndian.Uint32(size[:]))
		_, _ = io.ReadFull(next, reply)
		_, _ = conn.Write(append(size[:], reply...))
	}
}

// TestReplyOfKDCIsLost: a request that has the password goes to no other KDC when its reply is lost, as that would count twice.
func TestReplyOfKDCIsLost(t *testing.T) {
	r := startRealm(t, "Negotiate")
	address, asked := lossy(t, r.kdc.Address)
	k, err := kerberos.New(kerberos.Config{Realm: r.kdc.Realm, KDCs: []string{address, r.kdc.Address}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Ticket(t.Context(), "george", kerberos.Password("wrong"), "HTTP/127.0.0.1")
	if err == nil || asked.Load() != 2 || strings.Contains(r.kdc.Log(), "PREAUTH_FAILED") {
		t.Errorf("%v, %d requests\n%s", err, asked.Load(), r.kdc.Log())
	}
}

// TestCredentialsAreHidden: no form of printing shows a secret.
func TestCredentialsAreHidden(t *testing.T) {
	for _, one := range []any{signin.Credential{User: "u", Password: "sesame", Token: "sesame"}, kerberos.Password("sesame")} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(format, one); strings.Contains(text, "sesame") {
				t.Errorf("%s: %s", format, text)
			}
		}
	}
}
