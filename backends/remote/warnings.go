package remote

import (
	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
)

// TokenWarnings are what there is to tell of a source of tokens; nil: there is none.
func TokenWarnings(source *oauth.Source) (all []backends.Warning) {
	if source == nil {
		return nil
	}
	for _, m := range source.Matters() {
		all = append(all, backends.Warning{
			Name: m.Name, Kind: warningKind(m), Text: m.Text, Advice: m.Advice, Since: m.Since, Until: m.Until, Stops: m.Stops,
		})
	}
	return all
}

func warningKind(m oauth.Matter) backends.WarningKind {
	switch m.Kind {
	case oauth.SecretExpired, oauth.SecretWrong:
		return backends.WarningSecret
	case oauth.CertificateExpired, oauth.CertificateUnusable, oauth.CertificateWrong:
		return backends.WarningCertificate
	case oauth.ConsentMissing, oauth.ScopeWrong, oauth.ClientUnknown:
		return backends.WarningConsent
	}
	return backends.WarningToken
}
