package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// unknownRecipients is a need for addresses that the store refuses.
func unknownRecipients(s *suite) string {
	if s.CatchAll {
		return ownNature + "it takes mail for every address"
	}
	return ""
}

func keepsNUL(s *suite) string {
	if s.AltersNUL {
		return ownNature + "it does not keep NUL octets"
	}
	return ""
}

func sizeLimit(s *suite) string {
	if s.description.Limits.MessageSize == 0 {
		return ownNature + "it takes messages of any size"
	}
	return ""
}

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

var deliverCases = []testcase{
	{"to-one", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		t.expect(t.first(), m)
	}},
	{"to-many", []need{receiver, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.SecondAddress, t.Address))
		t.expect(t.first(), m)
		t.expect(t.second(), m)
	}},
	{"mixed-outcomes", []need{receiver, reader, secondAccount, unknownRecipients}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		verdicts, err := t.deliver(m, t.Unknown, t.Address, t.Unknown+"2", t.SecondAddress)
		if err != nil {
			t.Fatalf("Deliver: %w", err)
		}
		for i, known := range []bool{false, true, false, true} {
			if v := verdicts[i]; (v.Failure == nil) != known || !known && v.Failure.Kind != backends.NotFound {
				t.Errorf("place %d, %s: %v", i+1, v.Recipient, v.Failure)
			}
		}
		t.expect(t.first(), m)
		t.expect(t.second(), m)
	}},
	{"to-nobody-known", []need{receiver, unknownRecipients}, func(t *trial) {
		verdicts, err := t.deliver(t.mails(1)[0], t.Unknown)
		t.wantKind("an address without a mailbox", failureOf(verdicts, err), backends.NotFound)
	}},
	{"to-hostile-recipients", []need{receiver, reader, unknownRecipients}, func(t *trial) {
		t.emptyAll()
		for _, r := range hostileRecipients(t) {
			if err := failureOf(t.deliver(t.mails(1)[0], r)); err == nil {
				t.Errorf("a message for %s is taken", excerpt([]byte(r)))
			}
		}
		t.expect(t.first())
	}},
	{"null-reverse-path", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		d := t.delivery(m, t.Address)
		d.From = ""
		t.delivered(t.deliverAs(d, m.reader()))
		t.expect(t.first(), m)
	}},
	{"stranger's-reverse-path", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		d := t.delivery(m, t.Address)
		d.From = `"a b"@storetest.invalid`
		t.delivered(t.deliverAs(d, m.reader()))
		t.expect(t.first(), m)
	}},
	{"full-envelope", []need{receiver, reader}, func(t *trial) {
		// What the store has no use for is no reason to refuse the message.
		t.emptyAll()
		m := t.mails(1)[0]
		d := t.delivery(m, t.Address)
		d.Envelope = backends.Envelope{
			From: t.Address, ID: "storetest+1", Return: backends.ReturnHeaders, Body: backends.Body8BitMIME, Priority: 3,
			DeliverBy: backends.DeliverBy{Until: time.Now().Add(time.Hour), Trace: true},
			Submitter: backends.Submitter{Store: "storetest-other", Account: "somebody", Address: "somebody@storetest.invalid"},
		}
		d.Recipients[0].Notify = backends.NotifySuccess | backends.NotifyFailure
		d.Recipients[0].OriginalRecipient = "rfc822;list@storetest.invalid"
		if err := failureOf(t.resolve(backends.ResolveQuery{Envelope: d.Envelope, Recipients: d.Recipients})); err != nil {
			t.Errorf("resolving: %w", err)
		}
		t.delivered(t.deliverAs(d, m.reader()))
		t.expect(t.first(), m)
	}},
	{"action-and-failure", []need{receiver}, func(t *trial) {
		if _, err := t.deliver(t.mails(1)[0], t.Address, t.Unknown); err != nil { // it judges the verdicts
			t.Fatalf("Deliver: %w", err)
		}
	}},
	{"where-it-went", []need{receiver}, func(t *trial) {
		t.tracked(t.deliver(t.mails(1)[0], t.Address, t.Unknown))
	}},
	{"stored-as", []need{receiver, reader}, func(t *trial) {
		// Optional: the id under which the copy is listed.
		t.emptyAll()
		m := t.mails(1)[0]
		verdicts, err := t.deliver(m, t.Address)
		t.delivered(verdicts, err)
		if verdicts[0].StoredAs == "" {
			t.notOffered("it does not tell the id of what it has stored")
		}
		d := t.open(t.first())
		defer d.close()
		if entries := d.list(); len(entries) != 1 || entries[0].ID != verdicts[0].StoredAs {
			t.Errorf("the copy is said to be %q, and the list is %v", verdicts[0].StoredAs, entries)
		}
	}},
	{"content-fails", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.large(200_000)
		for _, after := range []int{0, 10, 100_000, len(m.data)} {
			for _, reason := range []error{io.ErrUnexpectedEOF, errors.New("storetest: the client is gone"), context.Canceled} {
				d := t.delivery(m, t.Address)
				d.Key = newTag(t.id)
				if !allFailed(t.deliverAs(d, failing(m, after, reason))) {
					t.Errorf("content that fails after %d of %d octets (%v) is taken", after, len(m.data), reason)
				}
			}
		}
		t.expect(t.first())
	}},
	{"cancelled", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		ctx, cancel := context.WithCancel(t.ctx)
		content := io.MultiReader(m.reader(), &blocked{ctx, cancel})
		t.promptly("Deliver after its context has ended", func() {
			if !allFailed(t.store.(backends.Receiver).Deliver(ctx, t.delivery(m, t.Address), content)) {
				t.Errorf("a message whose end never came is taken")
			}
		})
		t.expect(t.first())
	}},
	{"too-large", []need{receiver, reader, sizeLimit}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		d := t.delivery(m, t.Address)
		d.Size = t.description.Limits.MessageSize + 1
		verdicts, err := t.deliverAs(d, m.reader())
		t.wantKind("a message declared as too large", failureOf(verdicts, err), backends.TooLarge)
		t.expect(t.first())
	}},
	{"memory", []need{receiver, func(s *suite) string {
		if s.InMemory {
			return ownNature + "it keeps its mail in memory"
		}
		if s.largest() < 32<<20 {
			return "a message of 32 MiB and more is needed to see it"
		}
		return ""
	}}, memoryIsBounded},
}

// blocked is a content whose next octet never comes; whoever waits for it is cancelled.
type blocked struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (b *blocked) Read([]byte) (int, error) {
	b.cancel()
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// sample is a message that some stores cannot keep as it is.
type sample struct {
	name string
	make func(*suite) mail
}

func body(text string) func(*suite) mail { return func(s *suite) mail { return s.mail(text) } }

// withHeader puts octets between the suite's header and the empty line.
func withHeader(fields string) func(*suite) mail {
	return func(s *suite) mail {
		tag := newTag(s.id)
		return mail{tag, []byte(s.header(tag) + fields + "\r\nBody.\r\n")}
	}
}

// samples are made when they are asked for: a program that only has the suite in it should not hold them.
func samples() []sample {
	return []sample{
		{"plain", body("Hello.\r\n")},
		{"empty-body", body("")},
		{"no-body", func(s *suite) mail { tag := newTag(s.id); return mail{tag, []byte(s.header(tag))} }},
		{"body-of-empty-lines", body("\r\n\r\n\r\n")},
		{"trailing-spaces", body("Hello. \t \r\n \r\n\t\r\n")},
		{"dots", body(".\r\n..\r\n.hidden\r\n...\r\n\r\n.\r\n")},
		{"from-lines", body("From storetest@example.org Thu Jan  1 00:00:00 1970\r\n>From here\r\nFrom  \r\n")},
		{"8-bit", body("Gr\xc3\xbc\xc3\x9fe, \xe2\x82\xac\r\n")},
		{"every-octet", body(everyOctet())},
		{"nul", body("before\x00after\r\n\x00\r\n")},
		{"line-of-998", body(strings.Repeat("x", 998) + "\r\n")}, // RFC 5322 §2.1.1
		{"line-of-10000", body(strings.Repeat("x", 10000) + "\r\nnext\r\n")},
		{"line-of-200000", body(strings.Repeat("0123456789", 20000) + "\r\nnext\r\n")},
		{"many-lines", body(strings.Repeat("x\r\n", 20000))},
		{"long-header", withHeader("X-Storetest: " + strings.Repeat("folded\r\n ", 2000) + "end\r\n")},
		{"many-fields", withHeader(strings.Repeat("X-Storetest: again\r\n", 500))},
		{"8-bit-header", withHeader("X-Storetest: Gr\xc3\xbc\xc3\x9fe\r\n")},
		{"odd-fields", withHeader("X-Storetest:no space\r\nX-EMPTY:\r\nx-storetest : before the colon\r\n")},
		{"multipart", withHeader("X-Parts: 1\r\nContent-Type: multipart/mixed; boundary=storetest\r\n\r\n--storetest\r\n\r\nOne.\r\n--storetest--\r\n")},
		{"mime-that-is-broken", body("--storetest\r\nContent-Type: multipart/mixed; boundary=\"\r\n\r\n--\r\n")},
	}
}

// everyOctet is all octets but NUL, CR and LF, in several orders.
func everyOctet() string {
	var b bytes.Buffer
	for step := range 4 {
		for c := range 256 {
			if o := byte(c * (2*step + 1)); o != 0 && o != '\r' && o != '\n' {
				b.WriteByte(o)
			}
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// contentCases are a case for each sample, and for each way in which a reader may give it.
func contentCases() []testcase {
	var cases []testcase
	for i, sample := range samples() {
		needs := []need{receiver, reader}
		if sample.name == "nul" {
			needs = append(needs, keepsNUL)
		}
		cases = append(cases, testcase{"content-" + sample.name, needs, func(t *trial) {
			t.comesBack(samples()[i].make(t.suite), func(r io.Reader) io.Reader { return r })
		}})
	}
	for _, way := range []struct {
		name string
		wrap func(io.Reader) io.Reader
	}{
		{"octet-by-octet", iotest.OneByteReader},
		{"with-the-end-in-the-last-read", iotest.DataErrReader},
		{"in-halves", iotest.HalfReader},
	} {
		cases = append(cases, testcase{"reader-" + way.name, []need{receiver, reader}, func(t *trial) {
			t.comesBack(t.large(20_000), way.wrap)
		}})
	}
	return append(cases, testcase{"content-large", []need{receiver, reader, octets}, func(t *trial) {
		t.comesBack(t.large(t.largest()), func(r io.Reader) io.Reader { return r })
		t.empty(t.first())
	}})
}

// comesBack delivers a message and looks at what comes back. A store that cannot keep it as it
// is may refuse it for good; a message that it takes is unharmed.
func (t *trial) comesBack(m mail, way func(io.Reader) io.Reader) {
	t.emptyAll()
	verdicts, err := t.deliverAs(t.delivery(m, t.Address), way(m.reader()))
	if f := backends.AsFailure(failureOf(verdicts, err)); f != nil {
		if f.Kind != backends.Permanent && f.Kind != backends.TooLarge {
			t.Fatalf("delivering: %w", f)
		}
		t.expect(t.first())
		t.notOffered("it refuses such a message: %v", f)
	}
	t.expect(t.first(), m)
}

var keyCases = []testcase{
	{"retry", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		t.delivered(t.retry(m, t.Address))
		t.delivered(t.retry(m, t.Address))
		t.expect(t.first(), m)
	}},
	{"retry-in-another-form", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		// A gateway's policy may change between attempts, and with it what is done to content on its way. It is the key
		// that says which message it is.
		all := t.mails(2)
		t.delivered(t.deliver(all[0], t.Address))
		d := t.delivery(all[1], t.Address)
		d.Key, d.Retry = all[0].tag, true
		t.delivered(t.deliverAs(d, all[1].reader()))
		t.expect(t.first(), all[0])
	}},
	{"retry-of-nothing", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.retry(m, t.Address)) // the first attempt never came
		t.expect(t.first(), m)
	}},
	{"retry-after-failed-content", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.large(100_000)
		_, _ = t.deliverAs(t.delivery(m, t.Address), failing(m, 50_000, io.ErrUnexpectedEOF))
		t.delivered(t.retry(m, t.Address))
		t.expect(t.first(), m)
	}},
	{"retry-for-one-more", []need{receiver, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		t.delivered(t.retry(m, t.Address, t.SecondAddress))
		t.expect(t.first(), m)
		t.expect(t.second(), m)
	}},
	{"same-key-for-another-recipient", []need{receiver, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		t.delivered(t.deliver(m, t.SecondAddress))
		t.expect(t.first(), m)
		t.expect(t.second(), m)
	}},
	{"one-recipient-twice", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address, t.Address))
		t.expect(t.first(), m)
	}},
	{"other-key-same-content", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		d := t.delivery(m, t.Address)
		d.Key = newTag(t.id)
		t.delivered(t.deliverAs(d, m.reader()))
		t.expect(t.first(), m, m)
	}},
	{"odd-keys", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		// Each is a key of its own: printable ASCII without spaces, up to 64.
		id := t.id
		keys := []string{
			id + "/", id + "_", id + ":", id + ".", id + "%2F", id + "\\", "../" + id, "/" + id, id + "'", id + "<>",
			id + strings.Repeat("k", 64-len(id)), id + strings.Repeat("k", 63-len(id)), id + "A", id + "a", "!" + id + "~",
		}
		var all []mail
		for _, key := range keys {
			m := t.mails(1)[0]
			all = append(all, m)
			d := t.delivery(m, t.Address)
			d.Key = key
			t.delivered(t.deliverAs(d, m.reader()))
			d.Retry = true
			t.delivered(t.deliverAs(d, m.reader()))
		}
		t.expect(t.first(), all...)
	}},
}

// retry delivers as a gateway does that does not know whether it has before.
func (t *trial) retry(m mail, recipients ...string) ([]backends.Verdict, error) {
	d := t.delivery(m, recipients...)
	d.Retry = true
	return t.deliverAs(d, m.reader())
}
