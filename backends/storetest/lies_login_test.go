package storetest_test

import (
	"context"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
)

// loggingIn changes what Login answers.
func loggingIn(change func(context.Context, backends.Credential, backends.Account, error) (backends.Account, error)) func(*liar) {
	return func(l *liar) {
		l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
			a, err := l.Store.Login(ctx, c)
			return change(ctx, c, a, err)
		}
	}
}

// failingLogin changes what Login answers to a credential that is wrong.
func failingLogin(change func(backends.Credential, *backends.Failure) error) func(*liar) {
	return loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
		if backends.KindOf(err) == backends.BadCredentials {
			err = change(c, backends.AsFailure(err))
		}
		return a, err
	})
}

func known(user string) bool {
	return strings.HasPrefix(user, "anna") || strings.HasPrefix(user, "bert")
}

var loginLies = []lie{
	{
		name: "the vault is given passwords in the clear",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if l.vault != nil && len(c.Secret) > 0 {
					_, _ = l.vault.Put(ctx, "password", vault.Change{Value: c.Secret})
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"hygiene/vault"},
	},
	{
		name: "accounts without an ID",
		tell: loggingIn(func(_ context.Context, _ backends.Credential, a backends.Account, err error) (backends.Account, error) {
			a.ID = ""
			return a, err
		}),
		fails: []string{
			"login/right", "login/another-account", "maildrop/account", "authenticator/right",
			"receiver/resolve-accounts", "sendrights/own-addresses",
		},
	},
	{
		name: "the primary address is not among the addresses",
		tell: loggingIn(func(_ context.Context, _ backends.Credential, a backends.Account, err error) (backends.Account, error) {
			a.Addresses = nil
			return a, err
		}),
		fails: []string{"login/right"},
	},
	{
		name: "the ID is the name that was typed",
		tell: loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
			if strings.Contains(c.User, "@") {
				a.ID = c.User
			}
			return a, err
		}),
		fails: []string{"login/same-id-for-every-name"},
	},
	{
		name: "a new ID at each login",
		tell: func(l *liar) {
			n := make(chan string, 1000)
			for i := range 1000 {
				n <- strings.Repeat("x", 1+i%7)
			}
			loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
				if c.Kind == backends.CredentialPassword {
					a.ID += <-n
				}
				return a, err
			})(l)
		},
		fails: []string{"login/same-id-again", "login/same-id-for-every-name", "login/impersonation", "maildrop/account", "authenticator/right", "receiver/resolve-accounts", "sendrights/own-addresses"},
	},
	{
		name:  "a wrong password is an outage",
		tell:  failingLogin(func(backends.Credential, *backends.Failure) error { return backends.Fail(backends.Temporary, "no") }),
		fails: []string{"login/wrong-password", "login/empty-password", "login/another's-password", "login/unknown-user", "login/forged-grant"},
	},
	{
		name: "an unknown user is not found",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			if c.Kind == backends.CredentialPassword && !known(c.User) {
				return backends.Fail(backends.NotFound, "no")
			}
			return f
		}),
		fails: []string{"login/unknown-user"},
	},
	{
		name: "an unknown user is told in other words",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			if !known(c.User) {
				return f.Say("there is no such user")
			}
			return f
		}),
		fails: []string{"login/unknown-user-told-as-wrong-password"},
	},
	{
		name: "no password is needed",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if c.Kind == backends.CredentialPassword && len(c.Secret) == 0 {
					c.Kind = backends.CredentialImpersonation
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/empty-password"},
	},
	{
		name: "any account's password will do",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if c.Kind == backends.CredentialPassword && string(c.Secret) == "secret of bert" {
					c.Kind = backends.CredentialImpersonation
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/another's-password"},
	},
	{
		name: "names are cut at NUL",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				c.User, _, _ = strings.Cut(c.User, "\x00")
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/hostile-names"},
	},
	{
		name: "an unsupported kind is a wrong password",
		tell: loggingIn(func(_ context.Context, _ backends.Credential, a backends.Account, err error) (backends.Account, error) {
			if backends.KindOf(err) == backends.Unsupported {
				err = backends.Fail(backends.BadCredentials, "no")
			}
			return a, err
		}),
		fails: []string{"login/unsupported-kind"},
	},
	{
		name: "impersonation is for everybody",
		tell: loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
			if c.Kind == backends.CredentialImpersonation {
				err = nil
			}
			return a, err
		}),
		fails: []string{"login/impersonation", "login/impersonation-opens-no-more"},
	},
	{
		name: "by the gateway's word any mailbox is open",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if c.Kind == backends.CredentialImpersonation && c.ActAs != "" {
					c.User, c.ActAs = c.ActAs, ""
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/impersonation-opens-no-more"},
	},
	{
		name: "the authorization identity is ignored",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				c.ActAs = ""
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/act-as-another"},
	},
	{
		name: "nobody may act as anybody",
		tell: loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
			if c.ActAs != "" {
				err = backends.Fail(backends.Permanent, "no")
			}
			return a, err
		}),
		fails: []string{"login/act-as-oneself"},
	},
	{
		name: "any grant opens",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if c.Kind == backends.CredentialGrant {
					c.Kind = backends.CredentialImpersonation
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/forged-grant"},
	},
	{
		name: "a cancelled login is a wrong password",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if ctx.Err() != nil {
					return backends.Account{}, backends.Fail(backends.BadCredentials, "no")
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/cancelled"},
	},
	{
		name: "Login ignores its context",
		tell: loggingIn(func(ctx context.Context, _ backends.Credential, a backends.Account, err error) (backends.Account, error) {
			_ = deafTo(ctx)
			return a, err
		}),
		fails: []string{"login/cancelled"},
	},
	{
		name: "one login at a time",
		tell: func(l *liar) {
			busy := make(chan struct{}, 1)
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				select {
				case busy <- struct{}{}:
					defer func() { <-busy }()
				default:
					return backends.Account{}, backends.Fail(backends.Throttled, "one at a time")
				}
				_ = sleep(ctx)
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/at-once"},
	},
	{
		name: "Open takes a wrong password for an outage",
		tell: func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				d, err := l.Store.Open(ctx, r)
				if backends.KindOf(err) == backends.BadCredentials && r.Credential.Kind == backends.CredentialPassword {
					err = backends.Fail(backends.Temporary, "no")
				}
				return d, err
			}
		},
		fails: []string{"login/open-fails-as-login-does"},
	},
	{
		name: "the secret is wiped",
		tell: loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
			clear(c.Secret)
			return a, err
		}),
		fails: []string{"login/secret-stays-unchanged"},
	},
	{
		name: "an unknown user panics",
		tell: func(l *liar) {
			l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
				if c.User == "" {
					panic("no user")
				}
				return l.Store.Login(ctx, c)
			}
		},
		fails: []string{"login/unknown-user"},
	},
	{
		name: "texts of two lines",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			return f.Say("wrong\r\n+OK but never mind")
		}),
		fails: []string{"hygiene/texts"},
	},
	{
		name: "texts with a path",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			return f.Say("open /var/lib/passwd/users: permission denied")
		}),
		fails: []string{"hygiene/texts"},
	},
	{
		name: "texts with a host",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			return f.Say("dial tcp 10.1.2.3:389: connection refused")
		}),
		fails: []string{"hygiene/texts"},
	},
	{
		name: "codes of another class",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			return f.WithCode("4.7.8")
		}),
		fails: []string{"hygiene/codes"},
	},
	{
		name: "the secret in the log",
		tell: failingLogin(func(c backends.Credential, f *backends.Failure) error {
			return backends.Fail(f.Kind, "password %q", c.Secret)
		}),
		fails: []string{"hygiene/secrets"},
	},
	{
		name: "a kind that is none",
		tell: loggingIn(func(_ context.Context, c backends.Credential, a backends.Account, err error) (backends.Account, error) {
			if c.Kind == 99 {
				err = backends.Fail(77, "no")
			}
			return a, err
		}),
		fails: []string{"hygiene/kinds"},
	},
}
