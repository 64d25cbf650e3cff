package storetest

import (
	"context"
	"errors"
	"io"
	"strings"
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
