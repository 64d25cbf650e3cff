package exchange

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// service is an account of the server that may open everybody's mailbox. It acts for users whom the gateway has proved.
type service struct {
	User     string `json:"user"`     // its login name: user@domain or DOMAIN\user
	Password string `json:"password"` // its password
	Keytab   string `json:"keytab"`   // a file with its key, in the place of the password: for Kerberos
	Address  string `json:"address"`  // of its own mailbox, where the user is no address

	key *kerberos.Keytab // of the file
}

// errService is that of a service account that is refused.
var errService = errors.New(`the service account cannot log in, see "service"`)

// servicePause is for how long a password of the service account that was refused is not sent again: an account is locked after a few.
const servicePause = 10 * time.Minute

func (v *service) given() bool { return v.User != "" }

func (v *service) check(wrong *backends.SettingsError) {
	if *v == (service{}) {
		return
	}
	if (v.User == "") != (v.Password == "" && v.Keytab == "") || v.Password != "" && v.Keytab != "" {
		wrong.Add("service", "user and password go together, or user and keytab")
	}
	if strings.ContainsFunc(v.User+v.Password, unicode.IsControl) || len(v.User) > userMost {
		wrong.Add("service", "the user or the password has characters that cannot be sent")
	}
	if v.Address == "" && !strings.Contains(v.User, "@") || v.Address != "" && !strings.Contains(v.Address, "@") {
		wrong.Add("service.address", "the address of the account's own mailbox is needed, as its login name is none: gateway@sakes.example")
	}
}

// load reads the keytab. A relative path is relative to base.
func (v *service) load(wrong *backends.SettingsError, base string, how signin.Config) {
	if v.given() && v.Keytab == "" && how.Method == signin.Bearer {
		wrong.Add("service", "the service account signs in with a password or a keytab, which authentication: bearer does not")
	}
	if v.Keytab == "" {
		return
	}
	if how.Kerberos == nil || how.Method != signin.Kerberos && how.Method != signin.Auto {
		wrong.Add("service.keytab", `a keytab is for Kerberos: set "realm", and authentication to kerberos or auto`)
		return
	}
	path := v.Keytab
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	key, err := kerberos.LoadKeytab(path)
	if err != nil {
		wrong.Add("service.keytab", "%v", err)
		return
	}
	v.key = &key
}

// own is the address of its mailbox.
func (v *service) own() string {
	if v.Address != "" {
		return v.Address
	}
	return v.User
}

// login is the service account, who opens somebody's mailbox.
func (v *service) login(address string) login {
	return login{address: address, own: v.own(), service: true, credential: signin.Credential{User: v.User, Password: v.Password, Keytab: v.key}}
}

// guard keeps the service account from being locked. The zero value is not ready: use newGuard.
type guard struct {
	turn    chan struct{} // has one value while nobody tries a password that was never right
	proven  atomic.Bool
	refused atomic.Pointer[refusal]
}

// refusal is when a password was refused.
type refusal struct {
	at      time.Time
	failure *backends.Failure
}

func newGuard() *guard {
	g := &guard{turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	return g
}

// do does what presents the password: alone, until it was right once, and not at all for a while after it was refused. That is
// an outage to whoever the account was to act for.
func (g *guard) do(ctx context.Context, something func() error) error {
	if !g.proven.Load() {
		select {
		case <-g.turn:
			defer func() { g.turn <- struct{}{} }()
		case <-ctx.Done():
			return backends.AsFailure(context.Cause(ctx))
		}
	}
	if r := g.refused.Load(); r != nil {
		if left := servicePause - time.Since(r.at); left > 0 {
			return r.failure.After(left)
		}
	}
	return g.note(something())
}

// note takes notice of what the password has come to, and returns what the client is told.
func (g *guard) note(err error) error {
	switch backends.KindOf(err) {
	case 0:
		g.proven.Store(true)
		g.refused.Store(nil)
	case backends.BadCredentials, backends.AccountDisabled, backends.PasswordExpired:
		g.proven.Store(false)
		f := backends.Fail(backends.Temporary, "%w: %w", errService, err).After(servicePause)
		g.refused.Store(&refusal{time.Now(), f})
		return f
	}
	return err
}
