//go:build linux

package server

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
)

// TestWake: a route that has a login sees to it that it is used although no mail goes that way; another route needs nothing.
func TestWake(t *testing.T) {
	oauth := func(grant string) *config.OAuth {
		return &config.OAuth{Issuer: "https://issuer.example", Grant: grant, ClientID: "app", Scopes: []string{"mail"}, SealKey: config.Password{Value: tokenSeal}, ClientSecret: config.Password{Value: tokenSeal}}
	}
	cfg := &config.Config{StateFolder: t.TempDir(), Routes: []config.Route{
		{Name: "kept", OAuth: oauth("refresh_token")}, {Name: "application", OAuth: oauth("client_credentials")}, {Name: "open"},
	}}
	sources := &tokenSources{log: zerolog.Nop()}
	defer sources.close()
	sources.wake(cfg)
	kept, err := sources.ofRoute(cfg, cfg.Routes[0])
	if err != nil || len(sources.made) != 1 || sources.made[keyOf(cfg.OAuthOf(cfg.Routes[0]), "route kept")] != kept {
		t.Errorf("there are %d, %v", len(sources.made), err)
	}
	cfg.Routes = nil
	if sources.keep(cfg); len(sources.made) > 0 {
		t.Error("a route that is gone has its login used")
	}
}

// TestLoginConcerns: a login of what is in the configuration no more is told of, and how it is removed.
func TestLoginConcerns(t *testing.T) {
	cfg := &config.Config{
		Stores:  []config.Store{{Name: "here"}},
		Routes:  []config.Route{{Name: "here", OAuth: &config.OAuth{}}, {Name: "by-password"}},
		Collect: []config.Collect{{Name: "here", OAuth: &config.OAuth{}}},
	}
	var keys []string
	for _, c := range loginConcernsOf([]string{"collect gone", "collect here", "route by-password", "route here", "store gone", "store here"}, cfg) {
		keys = append(keys, c.Key)
		if _, whose, _ := strings.Cut(c.Key, ":"); !strings.Contains(c.Advice, "forget "+strings.Replace(whose, " ", ":", 1)+" ") || c.Severity != attention.Notice {
			t.Errorf("%+v", c)
		}
	}
	if got := strings.Join(keys, ", "); got != "login:collect gone, login:route by-password, login:store gone" {
		t.Error(got)
	}
}
