package signin_test

import (
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// TestMethods has what is sent for two requests, by each method: with auto, by the best that is offered. "NTLM 0" is a
// request that has an NTLM message and no body.
func TestMethods(t *testing.T) {
	for _, test := range []struct {
		name   string
		offers []string
		method signin.Method
		who    signin.Credential
		want   string
	}{
		{"basic", []string{`Basic realm="x"`}, signin.Basic, george, "Basic 5, Basic 5"},
		{"ntlm", []string{"NTLM"}, signin.NTLM, george, "NTLM 0, NTLM 5, 5"},
		{"ntlm under negotiate alone", []string{"Negotiate"}, signin.NTLM, george, "NTLM 0, Negotiate 0, Negotiate 5, 5"},
		{"auto takes basic", []string{`Basic realm="x"`}, signin.Auto, george, "0, Basic 5, Basic 5"},
		{"auto prefers ntlm", []string{`Basic realm="x"`, "Negotiate", "NTLM"}, signin.Auto, george, "0, NTLM 0, NTLM 5, 5"},
		{"auto, ntlm under negotiate", []string{"Negotiate", `Basic realm="x"`}, signin.Auto, george, "0, Negotiate 0, Negotiate 5, 5"},
		{"a token", []string{"NTLM", "Bearer"}, signin.Auto, signin.Credential{User: "george", Token: "sesame"}, "Bearer 5, Bearer 5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.offers...)
			s.binding = true
			l := s.login(signin.Config{Method: test.method}, test.who)
			for range 2 {
				if got, err := ask(t, l, s.URL+"/mapi/x", "there"); err != nil || got != "200 hello there" {
					t.Fatal(got, err)
				}
			}
			if got := s.came(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestRefusedOnce: a password that is wrong is looked at once, by whatever method, and however often it is tried.
func TestRefusedOnce(t *testing.T) {
	for _, method := range []signin.Method{signin.Auto, signin.Basic, signin.NTLM} {
		t.Run(string(method), func(t *testing.T) {
			s := serve(t, "NTLM", "Negotiate", `Basic realm="x"`)
			l := s.login(signin.Config{Method: method}, signin.Credential{User: `SAKES\george`, Password: "wrong"})
			results := make(chan error)
			for range 10 {
				go func() {
					_, err := ask(t, l, s.URL+"/mapi/x", "there")
					results <- err
				}()
			}
			for range 10 {
				if err := <-results; backends.KindOf(err) != backends.BadCredentials {
					t.Error(err)
				}
			}
			if s.judged != 1 {
				t.Errorf("it was looked at %d times", s.judged)
			}
		})
	}
}

// TestNotOffered: what the server does not have is told as that, and as no wrong password.
func TestNotOffered(t *testing.T) {
	for _, test := range []struct {
		offers []string
		method signin.Method
	}{
		{[]string{"NTLM"}, signin.Basic},
		{[]string{`Basic realm="x"`}, signin.NTLM},
		{[]string{"Digest"}, signin.Auto},
		{nil, signin.Auto},
	} {
		s := serve(t, test.offers...)
		_, err := ask(t, s.login(signin.Config{Method: test.method}, george), s.URL+"/mapi/x", "there")
		if f := backends.AsFailure(err); f == nil || f.Kind != backends.Permanent || f.Code != "5.7.4" {
			t.Errorf("%v, %s: %v", test.offers, test.method, err)
		}
	}
}
