package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
)

// describing changes the description.
func describing(change func(*backends.Description)) func(*liar) {
	return func(l *liar) {
		l.describe = func(_ context.Context, d backends.Description) backends.Description {
			change(&d)
			return d
		}
	}
}

// configuring changes the verdict on settings.
func configuring(change func(backends.Settings, *backends.SettingsError) error) func(*liar) {
	return func(l *liar) {
		l.configure = func(ctx context.Context, s backends.Settings) error {
			err := l.Store.Configure(ctx, s)
			var wrong *backends.SettingsError
			if err == nil || !errors.As(err, &wrong) {
				return err
			}
			return change(s, wrong)
		}
	}
}

var badSettings = []string{
	"configure/not-json", "configure/not-a-mapping", "configure/unknown-key", "configure/misspelt-key",
	"configure/wrong-type", "configure/all-at-once", "configure/its-own-bad-settings",
}

var storeLies = []lie{
	{
		name: "another name before Configure",
		tell: func(l *liar) {
			l.describe = func(_ context.Context, d backends.Description) backends.Description {
				if d.Limits.MessageSize == 0 {
					d.Name = "unconfigured"
				}
				return d
			}
		},
		fails: []string{"describe/before-configure"},
	},
	{
		name: "name for people", tell: describing(func(d *backends.Description) { d.Name = "Mem Store" }),
		fails: []string{"describe/name-and-version"},
	},
	{
		name: "no version", tell: describing(func(d *backends.Description) { d.Version = "" }),
		fails: []string{"describe/name-and-version"},
	},
	{
		name:  "Describe asks the network",
		tell:  describing(func(*backends.Description) { time.Sleep(1100 * time.Millisecond) }),
		fails: []string{"describe/at-once"},
	},
	{
		name: "the description changes",
		tell: func(l *liar) {
			var n atomic.Int64
			l.describe = func(_ context.Context, d backends.Description) backends.Description {
				d.Vendor = fmt.Sprint(n.Add(1))
				return d
			}
		},
		fails: []string{"describe/the-same-again"},
	},
	{
		name: "a capability is hidden and works",
		tell: describing(func(d *backends.Description) {
			d.Capabilities = backends.Capabilities{Reader: true, Receiver: true, Sender: true, Authenticator: true}
		}),
		fails: []string{"describe/capabilities"},
	},
	{
		name: "a capability is claimed and does not work",
		tell: func(l *liar) {
			l.resolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
				return nil, backends.Fail(backends.Unsupported, "not here")
			}
		},
		fails: []string{
			"receiver/full-envelope",
			"describe/capabilities", "receiver/resolve-known", "receiver/resolve-unknown", "receiver/resolve-in-order",
			"receiver/resolve-nobody", "receiver/resolve-many", "receiver/resolve-accounts", "receiver/resolve-domain-in-capitals",
			"receiver/resolve-hostile", "receiver/resolve-too-large", "receiver/resolve-cancelled",
			"receiver/directory-form", "receiver/directory-canonical", "receiver/directory-list", "receiver/directory-preferences",
		},
	},
	{
		name:  "a kind of credential that is none",
		tell:  describing(func(d *backends.Description) { d.Credentials = append(d.Credentials, 9) }),
		fails: []string{"describe/credentials"},
	},
	{
		name: "mechanisms in small letters", tell: describing(func(d *backends.Description) { d.Mechanisms = []string{"NTLM", "plain text"} }),
		fails: []string{"describe/mechanisms"},
	},
	{
		name: "a negative limit", tell: describing(func(d *backends.Description) { d.Limits.Recipients = -1 }),
		fails: []string{"describe/limits"},
	},
	{
		name: "good settings are refused",
		tell: func(l *liar) {
			l.configure = func(_ context.Context, s backends.Settings) error {
				return &backends.SettingsError{Problems: []backends.SettingsProblem{{Problem: "no"}}}
			}
		},
		fails: append([]string{"configure/good-settings"}, badSettings[2:]...),
	},
	{
		name: "Check makes a file",
		tell: func(l *liar) {
			l.configure = func(ctx context.Context, s backends.Settings) error {
				if err := os.WriteFile(filepath.Join(s.BaseDir, "lock"), nil, 0o600); err != nil {
					return err
				}
				return l.Store.Configure(ctx, s)
			}
		},
		fails: []string{"configure/check-creates-nothing"},
	},
	{
		name:  "any settings are taken",
		tell:  configuring(func(backends.Settings, *backends.SettingsError) error { return nil }),
		fails: badSettings,
	},
	{
		name: "bad settings are any error",
		tell: configuring(func(_ backends.Settings, wrong *backends.SettingsError) error {
			return errors.New(wrong.Error())
		}),
		fails: badSettings,
	},
	{
		name: "problems without a path",
		tell: configuring(func(_ backends.Settings, wrong *backends.SettingsError) error {
			for i := range wrong.Problems {
				wrong.Problems[i].Path = ""
			}
			return wrong
		}),
		fails: badSettings[2:],
	},
	{
		name: "problems without words",
		tell: configuring(func(_ backends.Settings, wrong *backends.SettingsError) error {
			for i := range wrong.Problems {
				wrong.Problems[i].Problem = ""
			}
			return wrong
		}),
		fails: badSettings,
	},
	{
		name: "no suggestions",
		tell: configuring(func(_ backends.Settings, wrong *backends.SettingsError) error {
			for i := range wrong.Problems {
				wrong.Problems[i].Suggest = ""
			}
			return wrong
		}),
		fails: []string{"configure/misspelt-key"},
	},
	{
		name: "one problem at a time",
		tell: configuring(func(_ backends.Settings, wrong *backends.SettingsError) error {
			wrong.Problems = wrong.Problems[:1]
			return wrong
		}),
		fails: []string{"configure/all-at-once"},
	},
	{
		name: "the settings stand in the error",
		tell: configuring(func(s backends.Settings, wrong *backends.SettingsError) error {
			wrong.Problems[0].Problem += ": " + string(s.Raw)
			return wrong
		}),
		fails: []string{"configure/secrets-are-not-told"},
	},
	{
		name: "never healthy",
		tell: func(l *liar) {
			l.health = func(context.Context) error { return backends.Fail(backends.Temporary, "ill") }
		},
		fails: []string{"health/ready"},
	},
	{
		name:  "Health ignores its context",
		tell:  func(l *liar) { l.health = func(ctx context.Context) error { return deafTo(ctx) } },
		fails: []string{"health/cancelled"},
	},
	{
		name: "Close leaves everything open",
		tell: func(l *liar) { l.close = func() error { return nil } },
		fails: []string{
			"close/ends-everything", "close/content-under-way-fails",
		},
	},
	{
		name:  "Close does not end",
		tell:  func(l *liar) { l.close = closingOnce(l.Store) },
		fails: []string{"close/ends-everything", "close/content-under-way-fails"},
	},
}

// deafTo waits much longer than anybody has patience for when the context has ended.
func deafTo(ctx context.Context) error {
	if ctx.Err() != nil {
		time.Sleep(8 * time.Second)
	}
	return nil
}

// closingOnce is slow to close, though not for the suite's own store, which has mail.
func closingOnce(s *memstore.Store) func() error {
	return func() error {
		if s.Messages("bert", "") == nil {
			time.Sleep(8 * time.Second)
		}
		return s.Close()
	}
}
