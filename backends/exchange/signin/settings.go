package signin

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/backends/remote"
)

// Settings are the part of a backend's settings that says how its server is signed in to. They are embedded in the struct that the
// settings are read into.
type Settings struct {
	Authentication string   `json:"authentication"` // a Method
	Realm          string   `json:"realm"`          // of Kerberos; empty: that of Krb5Conf, or there is no Kerberos
	KDC            []string `json:"kdc"`            // host or host:port; empty: those of Krb5Conf, or of DNS
	Krb5Conf       string   `json:"krb5_conf"`      // a file; empty: none is read
	SPN            string   `json:"spn"`            // the service's name in Kerberos and NTLM; empty: HTTP/host
	Lockout        struct {
		Attempts int             `json:"attempts"` // wrong passwords of a user that go to the server; 0: any number
		Within   remote.Duration `json:"within"`   // the time in which they count
	} `json:"lockout"`
}

// DefaultSettings are those of a backend without any.
func DefaultSettings() Settings {
	s := Settings{Authentication: string(Auto)}
	s.Lockout.Attempts, s.Lockout.Within = 4, remote.Duration(15*time.Minute)
	return s
}

var methods = []string{string(Auto), string(Kerberos), string(NTLM), string(Basic), string(Bearer)}

// Config makes the configuration of a server of it, without the URL and the TLS, and notes what is wrong. A relative path is
// relative to base.
func (s Settings) Config(wrong *backends.SettingsError, base string) Config {
	remote.OneOf(wrong, "authentication", s.Authentication, methods...)
	c := Config{Method: Method(s.Authentication), Service: s.SPN, Lockout: NewLockout(s.Lockout.Attempts, time.Duration(s.Lockout.Within))}
	if s.Lockout.Attempts < 0 || s.Lockout.Within < remote.Duration(time.Second) {
		wrong.Add("lockout", "expected how many wrong passwords of a user go to the server, and within what time: {attempts: 4, within: 15m}")
	}
	if service, host, ok := strings.Cut(s.SPN, "/"); s.SPN != "" && (!ok || service == "" || host == "" || strings.ContainsAny(s.SPN, "@ ")) {
		wrong.Add("spn", "expected the service's name without a realm: HTTP/mail.sakes.example")
	}
	if s.Realm != strings.ToUpper(s.Realm) {
		wrong.Add("realm", "realms of Windows are in capital letters: %s", strings.ToUpper(s.Realm))
	}
	switch {
	case s.Realm == "" && s.Krb5Conf == "" && len(s.KDC) > 0:
		wrong.Add("kdc", `"realm" says whose KDCs these are`)
	case s.Realm == "" && s.Krb5Conf == "" && c.Method == Kerberos:
		wrong.Add("authentication", `Kerberos needs "realm", or "krb5_conf"`)
	case s.Realm != "" || s.Krb5Conf != "":
		c.Kerberos = s.kerberos(wrong, base)
	}
	return c
}

func (s Settings) kerberos(wrong *backends.SettingsError, base string) *kerberos.Kerberos {
	file := s.Krb5Conf
	if file != "" && !filepath.IsAbs(file) {
		file = filepath.Join(base, file)
	}
	k, err := kerberos.New(kerberos.Config{Realm: s.Realm, KDCs: s.KDC, File: file})
	if err != nil {
		wrong.Add("krb5_conf", "%v", err)
	}
	return k
}

// Document adds what there is to say of [Settings] to the notes of a store's settings.
func Document(notes map[string]backends.SettingNote) {
	notes["authentication"] = backends.SettingNote{
		Doc:    "How the server is signed in to: by the strongest method that it offers (auto: Kerberos where there is a realm, NTLM, Basic), by one alone, or by the token that a client logs in with (bearer).",
		Values: methods,
	}
	notes["realm"] = backends.SettingNote{Doc: "The realm of Kerberos, which is the Windows domain's DNS name in capital letters.", Default: "no Kerberos"}
	notes["kdc[]"] = backends.SettingNote{Doc: "The realm's KDCs, host or host:port: the domain controllers.", Default: "what DNS says"}
	notes["krb5_conf"] = backends.SettingNote{Doc: "A krb5.conf, of which the realms and their KDCs count.", Default: "none"}
	notes["lockout.attempts"] = backends.SettingNote{Doc: "How many wrong passwords of a user go to the server within the time, so that no directory locks the account; 0: any number."}
	notes["lockout.within"] = backends.SettingNote{Doc: "The time in which they count."}
	notes["spn"] = backends.SettingNote{Doc: "The service's name in Kerberos, as setspn has it.", Default: "HTTP/ and the host of url"}
}
