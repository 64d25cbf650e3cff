package storetest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

type (
	resolveFunc = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error)
	deliverFunc = func(context.Context, backends.Delivery, io.Reader) ([]backends.Verdict, error)
)

// resolving changes what Resolve does.
func resolving(change func(resolveFunc) resolveFunc) func(*liar) {
	return func(l *liar) { l.resolve = change(l.Store.Resolve) }
}

// delivering changes what Deliver does.
func delivering(change func(deliverFunc) deliverFunc) func(*liar) {
	return func(l *liar) { l.deliver = change(l.Store.Deliver) }
}

// keeping changes the octets that Deliver keeps. Content that fails stays content that fails.
func keeping(change func([]byte) []byte) func(*liar) {
	return delivering(func(deliver deliverFunc) deliverFunc {
		return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
			data, err := io.ReadAll(content)
			if err != nil {
				return nil, backends.Fail(backends.Temporary, "content: %w", err)
			}
			return deliver(ctx, d, bytes.NewReader(change(data)))
		}
	})
}

// onBody applies a change to the body alone.
func onBody(change func([]byte) []byte) func([]byte) []byte {
	return func(data []byte) []byte {
		header, body, found := bytes.Cut(data, []byte("\r\n\r\n"))
		if !found {
			return data
		}
		return slices.Concat(header, []byte("\r\n\r\n"), change(body))
	}
}

func replacing(old, with string) func([]byte) []byte {
	return func(data []byte) []byte { return bytes.ReplaceAll(data, []byte(old), []byte(with)) }
}

// folded breaks lines that are longer than most octets.
func folded(most int) func([]byte) []byte {
	return func(data []byte) []byte {
		var out []byte
		for line := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte("\r\n")), []byte("\r\n")) {
			for len(line) > most {
				out = append(append(out, line[:most]...), "\r\n"...)
				line = line[most:]
			}
			out = append(append(out, line...), "\r\n"...)
		}
		return out
	}
}

// forgetting makes deliveries under another key, so that nothing is known of earlier ones.
func forgetting(key func(d backends.Delivery) string) func(*liar) {
	return delivering(func(deliver deliverFunc) deliverFunc {
		return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
			d.Key = key(d)
			return deliver(ctx, d, content)
		}
	})
}

// judging changes the verdicts of Deliver.
func judging(change func(*backends.Verdict)) func(*liar) {
	return delivering(func(deliver deliverFunc) deliverFunc {
		return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
			verdicts, err := deliver(ctx, d, content)
			for i := range verdicts {
				change(&verdicts[i])
			}
			return verdicts, err
		}
	})
}

var receiverLies = []lie{
	{
		name:  "the stored copy has another id",
		tell:  judging(func(v *backends.Verdict) { v.StoredAs += "x" }),
		fails: []string{"receiver/stored-as"},
	},
	{
		name:  "what is delivered was refused elsewhere",
		tell:  judging(func(v *backends.Verdict) { v.RemoteDiagnostic = "smtp; 550 5.1.1 no" }),
		fails: []string{"receiver/where-it-went"},
	},
	{
		name:  "it goes to two lines",
		tell:  judging(func(v *backends.Verdict) { v.Destination = "INBOX\r\nX-Other: x" }),
		fails: []string{"receiver/where-it-went"},
	},
	{
		name:  "what is delivered has failed",
		tell:  judging(func(v *backends.Verdict) { v.Action = backends.ActionFailed }),
		fails: []string{"receiver/action-and-failure"},
		wide:  true,
	},
	{
		name: "a sender's own id is a reason to refuse",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if d.ID != "" {
					return nil, backends.Fail(backends.Permanent, "ENVID")
				}
				return deliver(ctx, d, content)
			}
		}),
		fails: []string{"receiver/full-envelope"},
	},
	{
		name: "every address is known",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				for i := range verdicts {
					if f := verdicts[i].Failure; f != nil && f.Kind == backends.NotFound {
						verdicts[i].Failure = nil
					}
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-unknown", "receiver/resolve-in-order", "receiver/resolve-hostile"},
	},
	{
		name: "an unknown address is an outage",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				for i := range verdicts {
					if f := verdicts[i].Failure; f != nil && f.Kind == backends.NotFound {
						verdicts[i].Failure = backends.Fail(backends.Temporary, "no")
					}
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-unknown"},
	},
	{
		name: "the known come first",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				slices.SortStableFunc(verdicts, func(a, b backends.Verdict) int {
					switch {
					case a.Failure == nil && b.Failure != nil:
						return -1
					case a.Failure != nil && b.Failure == nil:
						return 1
					}
					return 0
				})
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-in-order", "receiver/directory-form"},
	},
	{
		name: "failures have the wrong place",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				if len(verdicts) == 5 {
					verdicts[0].Failure, verdicts[1].Failure = verdicts[1].Failure, verdicts[0].Failure
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-in-order"},
	},
	{
		name: "a question about nobody is refused",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				if len(q.Recipients) == 0 {
					return nil, backends.Fail(backends.Permanent, "nobody")
				}
				return resolve(ctx, q)
			}
		}),
		fails: []string{"receiver/resolve-nobody"},
	},
	{
		name: "no more than a hundred are looked up",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				q.Recipients = backends.To(backends.Addresses(q.Recipients)[:min(len(q.Recipients), 100)]...)
				return resolve(ctx, q)
			}
		}),
		fails: []string{"receiver/resolve-many"},
	},
	{
		name: "domains in capitals are others",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				for i, v := range verdicts {
					if v.Recipient != strings.ToLower(v.Recipient) {
						verdicts[i].Failure = backends.Fail(backends.NotFound, "no")
					}
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-domain-in-capitals"},
	},
	{
		name: "addresses are cut at NUL and CRLF",
		tell: func(l *liar) {
			cut := func(all []string) []string {
				var out []string
				for _, r := range all {
					r, _, _ = strings.Cut(r, "\r\n")
					out = append(out, r)
				}
				return out
			}
			l.resolve = func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				asked := backends.Addresses(q.Recipients)
				q.Recipients = backends.To(cut(asked)...)
				verdicts, err := l.Store.Resolve(ctx, q)
				for i := range verdicts {
					verdicts[i].Recipient = asked[i]
				}
				return verdicts, err
			}
			l.deliver = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				asked := backends.Addresses(d.Recipients)
				d.Recipients = backends.To(cut(asked)...)
				verdicts, err := l.Store.Deliver(ctx, d, content)
				for i := range verdicts {
					verdicts[i].Recipient = asked[i]
				}
				return verdicts, err
			}
		},
		fails: []string{"receiver/resolve-hostile", "receiver/to-hostile-recipients"},
	},
	{
		name: "all addresses are of one account",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				for i := range verdicts {
					verdicts[i].Account = "anna"
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-accounts"},
	},
	{
		name: "an account is named as no login names it",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				verdicts, err := resolve(ctx, q)
				for i := range verdicts {
					verdicts[i].Account = strings.ToUpper(verdicts[i].Account)
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/resolve-accounts"},
	},
	{
		name: "the announced size is not looked at",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				q.Size = 0
				return resolve(ctx, q)
			}
		}),
		fails: []string{"receiver/resolve-too-large"},
	},
	{
		name: "Resolve leaves a message",
		tell: func(l *liar) {
			l.resolve = func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				if q.Size == 100 {
					_, _ = l.Put("anna", "", []byte("Subject: x\r\n\r\n"))
				}
				return l.Store.Resolve(ctx, q)
			}
		},
		fails: []string{"receiver/resolve-delivers-nothing"},
	},
	{
		name: "a cancelled question has a final answer",
		tell: resolving(func(resolve resolveFunc) resolveFunc {
			return func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
				if ctx.Err() != nil {
					return nil, backends.Fail(backends.Permanent, "no")
				}
				return resolve(ctx, q)
			}
		}),
		fails: []string{"receiver/resolve-cancelled"},
	},
	{
		name: "the first recipient alone gets it",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				all := backends.Addresses(d.Recipients)
				if len(all) > 1 {
					d.Recipients = backends.To(all[:1]...)
				}
				verdicts, err := deliver(ctx, d, content)
				for _, r := range all[len(d.Recipients):] {
					verdicts = append(verdicts, backends.Verdict{Recipient: r})
				}
				return verdicts, err
			}
		}),
		fails: []string{
			"receiver/to-many", "receiver/mixed-outcomes", "receiver/retry-for-one-more", "concurrency/deliveries-and-readers",
		},
	},
	{
		name: "nobody gets what somebody cannot get",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if len(d.Recipients) > 1 && strings.Contains(strings.Join(backends.Addresses(d.Recipients), " "), "no-such") {
					return nil, backends.Fail(backends.NotFound, "one of them")
				}
				return deliver(ctx, d, content)
			}
		}),
		fails: []string{"receiver/action-and-failure", "receiver/mixed-outcomes", "receiver/where-it-went"},
	},
	{
		name: "mail is lost",
		tell: delivering(func(deliverFunc) deliverFunc {
			return func(_ context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if _, err := io.Copy(io.Discard, content); err != nil {
					return nil, backends.Fail(backends.Temporary, "content: %w", err)
				}
				var verdicts []backends.Verdict
				for _, r := range backends.Addresses(d.Recipients) {
					verdicts = append(verdicts, backends.Verdict{Recipient: r})
				}
				return verdicts, nil
			}
		}),
		fails: []string{"receiver/to-one", "receiver/to-many", "receiver/retry", "concurrency/deliveries-and-readers"},
		wide:  true,
	},
	{
		name: "an unknown recipient at delivery is an outage",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				verdicts, err := deliver(ctx, d, content)
				for i := range verdicts {
					if f := verdicts[i].Failure; f != nil && f.Kind == backends.NotFound {
						verdicts[i].Failure = backends.Fail(backends.Temporary, "no")
					}
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/mixed-outcomes", "receiver/to-nobody-known"},
	},
	{
		name: "the null reverse-path is refused",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if d.From == "" {
					return nil, backends.Fail(backends.Permanent, "no sender")
				}
				return deliver(ctx, d, content)
			}
		}),
		fails: []string{"receiver/null-reverse-path"},
	},
	{
		name: "a reverse-path with a quoted local part is refused",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if strings.Contains(d.From, `"`) {
					return nil, backends.Fail(backends.Permanent, "bad sender")
				}
				return deliver(ctx, d, content)
			}
		}),
		fails: []string{"receiver/stranger's-reverse-path"},
	},
	{
		name: "what came of failed content is kept",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, _ := io.ReadAll(content)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return deliver(ctx, d, bytes.NewReader(data))
			}
		}),
		fails: []string{"receiver/content-fails", "receiver/retry-after-failed-content"},
	},
	{
		name: "content that fails after the last octet is complete",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				return deliver(ctx, d, io.LimitReader(content, d.Size))
			}
		}),
		fails: []string{"receiver/content-fails", "receiver/cancelled"},
	},
	{
		name: "cancelled mail is kept",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				if err != nil && ctx.Err() == nil {
					return nil, backends.Fail(backends.Temporary, "content: %w", err)
				}
				return deliver(context.WithoutCancel(ctx), d, bytes.NewReader(data))
			}
		}),
		fails: []string{"receiver/cancelled"},
	},
	{
		name: "too large is an outage",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				verdicts, err := deliver(ctx, d, content)
				if backends.KindOf(err) == backends.TooLarge {
					err = backends.Fail(backends.Temporary, "no")
				}
				return verdicts, err
			}
		}),
		fails: []string{"receiver/too-large"},
	},
	{
		name: "nothing is known of earlier deliveries",
		tell: forgetting(func(backends.Delivery) string { return unique() }),
		fails: []string{
			"receiver/retry", "receiver/retry-in-another-form", "receiver/retry-for-one-more", "receiver/odd-keys", "concurrency/one-key-at-once",
		},
	},
	{
		name: "the same key with other content is another message",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				sum := sha256.Sum256(append([]byte(d.Key), data...))
				d.Key = hex.EncodeToString(sum[:])
				return deliver(ctx, d, io.MultiReader(bytes.NewReader(data), failingWith(err)))
			}
		}),
		fails: []string{"receiver/retry-in-another-form"},
	},
	{
		name: "a retry is taken for delivered",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if d.Retry {
					var verdicts []backends.Verdict
					for _, r := range backends.Addresses(d.Recipients) {
						verdicts = append(verdicts, backends.Verdict{Recipient: r})
					}
					return verdicts, nil
				}
				return deliver(ctx, d, content)
			}
		}),
		fails: []string{"receiver/retry-of-nothing", "receiver/retry-after-failed-content", "receiver/retry-for-one-more", "concurrency/one-key-at-once"},
	},
	{
		name: "a key is remembered before the content has come",
		tell: remembering(func(d backends.Delivery, _ string) string { return d.Key }, true),
		fails: []string{
			"receiver/retry-after-failed-content", "receiver/retry-for-one-more", "receiver/same-key-for-another-recipient",
		},
	},
	{
		name:  "a key is for all recipients",
		tell:  remembering(func(d backends.Delivery, _ string) string { return d.Key }, false),
		fails: []string{"receiver/retry-for-one-more", "receiver/same-key-for-another-recipient"},
	},
	{
		name: "the same content is the same message",
		tell: remembering(func(d backends.Delivery, sum string) string {
			return sum + strings.Join(backends.Addresses(d.Recipients), " ")
		}, false),
		fails: []string{"receiver/other-key-same-content"},
	},
	{
		name:  "keys are made fit for file names",
		tell:  forgetting(func(d backends.Delivery) string { return strings.ReplaceAll(d.Key, "/", "_") }),
		fails: []string{"receiver/odd-keys"},
	},
	{
		name:  "keys are compared without regard to case",
		tell:  forgetting(func(d backends.Delivery) string { return strings.ToLower(d.Key) }),
		fails: []string{"receiver/odd-keys"},
	},
	{
		name:  "keys count up to 63 characters",
		tell:  forgetting(func(d backends.Delivery) string { return d.Key[:min(len(d.Key), 63)] }),
		fails: []string{"receiver/odd-keys"},
	},
	{
		name: "one recipient twice is two copies",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				if len(d.Recipients) == 2 && d.Recipients[0].Address == d.Recipients[1].Address && err == nil {
					twin := d
					twin.Key, twin.Recipients = unique(), backends.To(backends.Addresses(d.Recipients)[:1]...)
					_, _ = deliver(ctx, twin, bytes.NewReader(data))
				}
				return deliver(ctx, d, io.MultiReader(bytes.NewReader(data), failingWith(err)))
			}
		}),
		fails: []string{"receiver/one-recipient-twice"},
	},
	{
		name: "at once, one is lost",
		tell: func(l *liar) {
			busy := make(chan struct{}, 1)
			l.deliver = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				select {
				case busy <- struct{}{}:
					defer func() { <-busy }()
				default:
					return nil, backends.Fail(backends.Permanent, "busy")
				}
				if len(d.Recipients) == 2 || d.Retry {
					_ = sleep(ctx)
				}
				return l.Store.Deliver(ctx, d, content)
			}
		},
		fails: []string{"concurrency/deliveries-and-readers", "concurrency/one-key-at-once"},
	},
	{
		name: "at once, sessions fail",
		tell: func(l *liar) {
			busy := make(chan struct{}, 2)
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				select {
				case busy <- struct{}{}:
					defer func() { <-busy }()
				default:
					return nil, backends.Fail(backends.Temporary, "busy")
				}
				if ctx.Err() == nil {
					_ = sleep(ctx)
				}
				return l.Store.Open(ctx, r)
			}
		},
		fails: []string{"concurrency/sessions"},
	},
}

// failingWith is a reader of nothing that ends as it is told.
func failingWith(err error) io.Reader { return again(nil, err) }

// again goes on with a reader, unless it has ended already.
func again(r io.Reader, err error) io.Reader {
	if err == nil && r != nil {
		return r
	}
	if err == nil {
		err = io.EOF
	}
	return readerFunc(func([]byte) (int, error) { return 0, err })
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type lossy struct{ io.Reader }

func (l lossy) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err != nil {
		return 0, err
	}
	return n, nil
}

// impatient takes a read of half of what there was room for as the last one.
type impatient struct {
	r    io.Reader
	over bool
}

func (i *impatient) Read(p []byte) (int, error) {
	if i.over {
		return 0, io.EOF
	}
	n, err := i.r.Read(p)
	if len(p) > 100 && n == (len(p)+1)/2 {
		i.over = true
	}
	return n, err
}

var uniqueKeys = struct {
	sync.Mutex
	n int
}{}

func unique() string {
	uniqueKeys.Lock()
	defer uniqueKeys.Unlock()
	uniqueKeys.n++
	return strings.Repeat("u", 1+uniqueKeys.n%20) + string(rune('a'+uniqueKeys.n%26)) + strings.Repeat("v", uniqueKeys.n/20)
}

// remembering answers "delivered" to whatever has been delivered under the same name.
func remembering(name func(d backends.Delivery, sum string) string, early bool) func(*liar) {
	return func(l *liar) {
		var mu sync.Mutex
		seen := make(map[string]bool)
		l.deliver = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
			data, err := io.ReadAll(content)
			sum := sha256.Sum256(data)
			mu.Lock()
			this := name(d, string(sum[:]))
			known := seen[this]
			if early || err == nil {
				seen[this] = true
			}
			mu.Unlock()
			if known {
				var verdicts []backends.Verdict
				for _, r := range backends.Addresses(d.Recipients) {
					verdicts = append(verdicts, backends.Verdict{Recipient: r})
				}
				return verdicts, nil
			}
			return l.Store.Deliver(ctx, d, io.MultiReader(bytes.NewReader(data), failingWith(err)))
		}
	}
}
