package server

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

// ThrottleLimits is what a configuration says of guessers.
func ThrottleLimits(cfg *config.Config) login.ThrottleLimits {
	t := cfg.Login.Throttle
	return login.ThrottleLimits{
		Free: float64(t.Free), Base: t.FirstDelay.Std(), Most: t.LongestDelay.Std(), Queue: t.Queue.Std(), HalfLife: t.HalfLife.Std(),
	}
}

// LoginPolicy is what a configuration says of logins.
func LoginPolicy(cfg *config.Config) login.Policy {
	policy := login.Policy{
		Mechanisms:  cfg.Login.Mechanisms,
		Certificate: login.CertificateName(cfg.Login.Certificate),
		Remember:    cfg.Login.Remember.Std(),
		Names:       stores.Names{Realms: make(map[string]string)},
	}
	for _, form := range stores.Forms() {
		if !slices.Contains(cfg.Login.Names, string(form)) {
			policy.Names.Off = append(policy.Names.Off, form)
		}
	}
	for realm, domain := range cfg.Login.Realms {
		policy.Names.Realms[strings.ToLower(realm)] = domain
	}
	return policy
}
