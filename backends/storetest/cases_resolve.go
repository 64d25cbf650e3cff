package storetest

import (
	"context"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

var resolveCases = []testcase{
	{"resolve-known", []need{receiver}, func(t *trial) {
		if err := failureOf(t.resolve(backends.ResolveQuery{Recipients: backends.To(t.Address)})); err != nil {
			t.Errorf("%w", err)
		}
	}},
	{"resolve-unknown", []need{receiver, unknownRecipients}, func(t *trial) {
		verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(t.Unknown)})
		t.wantKind("an address without a mailbox", failureOf(verdicts, err), backends.NotFound)
	}},
	{"resolve-in-order", []need{receiver, unknownRecipients, secondAccount}, func(t *trial) {
		recipients := []string{t.Unknown, t.SecondAddress, t.Unknown + "2", t.Address, t.SecondAddress}
		verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(recipients...)})
		if err != nil {
			t.Fatalf("Resolve: %w", err)
		}
		for i, known := range []bool{false, true, false, true, true} {
			if (verdicts[i].Failure == nil) != known {
				t.Errorf("place %d, %s: %v", i+1, recipients[i], verdicts[i].Failure)
			}
		}
	}},
	{"resolve-nobody", []need{receiver}, func(t *trial) {
		if _, err := t.resolve(backends.ResolveQuery{}); err != nil {
			t.Errorf("no recipients: %w", err)
		}
	}},
	{"resolve-many", []need{receiver}, func(t *trial) {
		var all []string
		for range 500 {
			all = append(all, t.Address)
		}
		if err := failureOf(t.resolve(backends.ResolveQuery{Recipients: backends.To(all...), Size: 1000})); err != nil {
			t.Errorf("500 recipients: %w", err)
		}
	}},
	{"resolve-domain-in-capitals", []need{receiver}, func(t *trial) {
		// RFC 5321 §2.4: a domain's name means the same in capitals.
		local, domain, _ := strings.Cut(t.Address, "@")
		recipient := local + "@" + strings.ToUpper(domain)
		if err := failureOf(t.resolve(backends.ResolveQuery{Recipients: backends.To(recipient)})); err != nil {
			t.Errorf("%w", err)
		}
	}},
	{"resolve-hostile", []need{receiver, unknownRecipients}, func(t *trial) {
		verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(hostileRecipients(t)...)})
		if err != nil {
			t.wantKind("hostile recipients", err, backends.Permanent, backends.NotFound)
		}
		for _, v := range verdicts {
			if v.Failure == nil {
				t.Errorf("the recipient %s is taken", excerpt([]byte(v.Recipient)))
			}
		}
	}},
	{"resolve-accounts", []need{receiver}, func(t *trial) {
		// Optional: no account, or the right one. Who has one may send as that address.
		t.resolvesTo(t.login(t.first()).ID, t.Address, withDetail(t.Address))
		if t.SecondUser != "" {
			t.resolvesTo(t.login(t.second()).ID, t.SecondAddress, withDetail(t.SecondAddress))
		}
		t.resolvesTo("", t.Unknown)
	}},
	{"resolve-too-large", []need{receiver, sizeLimit}, func(t *trial) {
		query := backends.ResolveQuery{Recipients: backends.To(t.Address), Size: t.description.Limits.MessageSize + 1}
		t.wantKind("a message announced as too large", failureOf(t.resolve(query)), backends.TooLarge)
	}},
	{"resolve-delivers-nothing", []need{receiver, reader}, func(t *trial) {
		t.empty(t.first())
		_, _ = t.resolve(backends.ResolveQuery{Recipients: backends.To(t.Address), Size: 100})
		t.expect(t.first())
	}},
	{"resolve-cancelled", []need{receiver}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Resolve with a context that has ended", func() {
			verdicts, err := t.store.(backends.Receiver).Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(t.Address)})
			if f := backends.AsFailure(failureOf(verdicts, err)); f != nil && !f.Temporary() {
				t.Errorf("a call that was cancelled is told as %q", f)
			}
		})
	}},
}

// withDetail is an address with a detail (RFC 5233).
func withDetail(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	return local + "+storetest@" + domain
}

// resolvesTo makes sure that a store which says whose some addresses are says that they are this account's.
func (t *trial) resolvesTo(account string, addresses ...string) {
	verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(addresses...), Accounts: true})
	if err != nil {
		t.Fatalf("Resolve: %w", err)
	}
	for _, v := range verdicts {
		if v.Account != "" && v.Account != account {
			t.Errorf("%s is said to be of the account %q, and is of %q", v.Recipient, v.Account, account)
		}
	}
}

// resolve resolves, and makes sure of the form of the verdicts.
func (t *trial) resolve(query backends.ResolveQuery) ([]backends.Verdict, error) {
	verdicts, err := t.store.(backends.Receiver).Resolve(t.ctx, query)
	if err == nil {
		t.judge(query.Recipients, verdicts)
	}
	return verdicts, err
}

func hostileRecipients(t *trial) []string {
	_, domain, _ := strings.Cut(t.Address, "@")
	return []string{
		"", "@", "@" + domain, "x", t.User + "\x00@" + domain, "../" + t.Address, "../../etc/passwd@" + domain,
		t.Address + "\r\nRCPT TO:<x>", strings.Repeat("x", 5000) + "@" + domain, `"` + t.Address + `"@` + domain,
		"storetest@storetest.invalid", t.Address + "@storetest.invalid", "*@" + domain,
	}
}
