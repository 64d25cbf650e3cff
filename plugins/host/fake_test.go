package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// fakeStore is a backend that does what names tell it to. A message's id is "what:octets", as
// in "size:60000" or "crash:1000": a message of 60000 octets, and one during which the process
// ends after 1000.
type fakeStore struct {
	settings fakeSettings
	stuck    bool // Close does not end

	mu      sync.Mutex
	opened  int // maildrops open now
	drained int // how often it was told so
	asked   map[string]int
}

// ask counts a question, and returns how often it has been put.
func (f *fakeStore) ask(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == nil {
		f.asked = make(map[string]int)
	}
	f.asked[what]++
	return f.asked[what]
}

func (f *fakeStore) timesAsked(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[what]
}

// fakeSettings are its settings; Describe and the rest show what they say.
type fakeSettings struct {
	Name     string            `json:"name"`
	Messages []string          `json:"messages"`
	Many     int               `json:"many"` // so many messages more, of one octet each
	Wrong    bool              `json:"wrong"`
	Without  bool              `json:"without"` // take away what can be taken
	Slow     string            `json:"slow"`    // Configure takes so long
	Extra    map[string]string `json:"extra"`
}

func (f *fakeStore) Describe(context.Context) (backends.Description, error) {
	d := backends.Description{
		Name: "fake", Version: "1.0", Vendor: f.settings.Name, ExactSizes: true,
		Credentials: []backends.CredentialKind{backends.CredentialPassword, backends.CredentialGrant},
		Mechanisms:  []string{"X-TWO-STEPS"},
	}
	d.Limits.Maildrops, _ = strconv.Atoi(f.settings.Extra["maildrops"])
	if f.settings.Extra["describe"] == "hang" {
		select {}
	}
	if f.settings.Extra["describe"] == "name" {
		d.Name = "Bad\r\nName"
	}
	if f.settings.Without {
		d.Capabilities = backends.Capabilities{Receiver: true}
	}
	return d, nil
}

func (f *fakeStore) Configure(_ context.Context, settings backends.Settings) error {
	if err := json.Unmarshal(settings.Raw, &f.settings); err != nil && len(settings.Raw) > 0 {
		return err
	}
	if d, err := time.ParseDuration(f.settings.Slow); err == nil {
		<-time.After(d)
	}
	if f.settings.Wrong {
		return &backends.SettingsError{Problems: []backends.SettingsProblem{
			{Path: "wrong", Problem: "it is set", Suggest: "leave it out"}, {Problem: "and more"},
		}}
	}
	return nil
}

func (f *fakeStore) Health(context.Context) error {
	if f.settings.Extra["health"] == "hang" {
		select {}
	}
	if f.settings.Extra["health"] == "sick" {
		return backends.Fail(backends.Temporary, "the store is down")
	}
	return nil
}

func (f *fakeStore) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	account := backends.Account{ID: "id-" + c.User, Address: c.User + "@fake.example", Addresses: []string{c.User + "@fake.example", "@fake.example"}}
	switch {
	case c.User == "crash":
		os.Exit(3)
	case strings.HasPrefix(c.User, "crash:"): // once, which the file of that name says
		if file, err := os.OpenFile(strings.TrimPrefix(c.User, "crash:"), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_ = file.Close()
			os.Exit(3)
		}
	case c.User == "once" && f.ask("once") > 1:
		return account, backends.Fail(backends.BadCredentials, "the grant is used up")
	case c.User == "panic":
		panic("on purpose")
	case c.User == "hang":
		<-ctx.Done()
		return account, ctx.Err()
	case c.User == "deaf":
		select {}
	case c.User == "print":
		fmt.Println("printed to stdout")
		fmt.Fprintln(os.Stderr, "printed to stderr")
	case strings.HasPrefix(c.User, "env:"):
		account.DisplayName = os.Getenv(strings.TrimPrefix(c.User, "env:"))
	case c.User == "dir":
		account.DisplayName, _ = os.Getwd()
	case c.User == "trace":
		account.DisplayName = traceIn(ctx)
	case c.User == "pid":
		account.DisplayName = strconv.Itoa(os.Getpid())
	case c.User == "rss":
		account.DisplayName = strconv.Itoa(residentKiB())
	case c.User == "open":
		f.mu.Lock()
		defer f.mu.Unlock()
		account.DisplayName = strconv.Itoa(f.opened)
	case strings.HasPrefix(c.User, "asked:"):
		account.DisplayName = strconv.Itoa(f.timesAsked(strings.TrimPrefix(c.User, "asked:")))
	case strings.HasPrefix(c.User, "later:"):
		f.ask(c.User)
		after, _ := time.ParseDuration(strings.TrimPrefix(c.User, "later:"))
		return account, backends.Fail(backends.Throttled, "too many logins").After(after)
	case c.User == "noid":
		account.ID = ""
	case string(c.Secret) != "secret" && c.User != "":
		return backends.Account{}, backends.Fail(backends.BadCredentials, "the password of %s is another", c.User).Say("no such luck").WithCode("5.7.8")
	}
	return account, nil
}

func (f *fakeStore) Close() error {
	if f.stuck {
		select {}
	}
	if path := f.settings.Extra["closed"]; path != "" {
		return os.WriteFile(path, []byte("closed"), 0o600)
	}
	return nil
}

// Metrics implements [backends.Meter].
func (f *fakeStore) Metrics() []backends.Metric {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []backends.Metric{{Name: "maildrops", Kind: backends.MetricGauge, Value: float64(f.opened)}, {Name: "not a name"}}
}

// Drain implements [backends.Drainer].
func (f *fakeStore) Drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained++
}

func (f *fakeStore) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	account, err := f.Login(ctx, r.Credential)
	if err != nil {
		return nil, err
	}
	if r.Folder != "" {
		return nil, backends.Fail(backends.NotFound, "no folder %q", r.Folder)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	return &fakeDrop{store: f, account: account}, nil
}

type fakeDrop struct {
	store   *fakeStore
	account backends.Account
	closed  sync.Once
}

func (d *fakeDrop) Opened() backends.Opened {
	return backends.Opened{Account: d.account, FolderID: "INBOX"}
}

func (d *fakeDrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		for _, id := range d.store.settings.Messages {
			if id == "listfails:0" {
				yield(backends.Entry{}, backends.Fail(backends.Throttled, "slow down").After(time.Minute))
				return
			}
			_, n := splitID(id)
			if !yield(backends.Entry{ID: backends.MessageID(id), Size: n, Exact: true, Received: time.Unix(1e9, 0).UTC(), UIDL: "uidl-" + id}, nil) {
				return
			}
		}
		for i := range d.store.settings.Many {
			if ctx.Err() != nil || !yield(backends.Entry{ID: backends.MessageID(fmt.Sprintf("many-%d:1", i)), Size: 1}, nil) {
				return
			}
		}
	}
}

func splitID(id string) (what string, octets int64) {
	what, n, _ := strings.Cut(id, ":")
	octets, _ = strconv.ParseInt(n, 10, 64)
	return what, octets
}

func (d *fakeDrop) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	what, n := splitID(string(r.ID))
	c := &fakeContent{ctx: ctx, what: what, at: n, size: n}
	times := d.store.ask("fetch")
	switch what {
	case "throttled":
		return nil, backends.Fail(backends.Throttled, "slow down").After(time.Hour)
	case "once-throttled":
		if times == 1 {
			return nil, backends.Fail(backends.Throttled, "slow down").After(20 * time.Millisecond)
		}
	case "archived":
		return nil, backends.Fail(backends.Temporary, "it is on a tape").After(time.Hour)
	case "drained":
		d.store.mu.Lock()
		defer d.store.mu.Unlock()
		c.at, c.size = int64(d.store.drained), -1
	case "form":
		return formContent(r.Rendering), nil
	case "gone":
		return nil, backends.Fail(backends.NotFound, "it is gone")
	case "poison":
		return nil, backends.Fail(backends.Poison, "it cannot be rendered")
	case "cut":
		return nil, backends.Fail(backends.Poison, "its properties are cut off: %w", io.EOF)
	case "panic":
		panic("on purpose")
	case "deaf":
		select {}
	case "unsized":
		c.size = -1
	case "crash", "hang", "fail", "short", "readpanic":
		c.size = n + 100_000
	case "long":
		c.size = n - 1
	}
	if strings.HasPrefix(what, "whole") {
		return wholeContentOf(c, what)
	}
	if strings.HasPrefix(what, "file") {
		return fileContentOf(c, what)
	}
	if r.Top {
		c.at, c.size = int64(r.Lines)*lineLen, -1
	}
	return c, nil
}

func (d *fakeDrop) Remove(_ context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if disposal != backends.DisposalRemove {
		return nil, backends.Fail(backends.Unsupported, "disposal %d", disposal)
	}
	var removals []backends.Removal
	for _, id := range ids {
		r := backends.Removal{ID: id}
		switch what, _ := splitID(string(id)); what {
		case "kept":
			r.Failure = backends.Fail(backends.Permanent, "it is kept")
		case "crash":
			os.Exit(3)
		case "other":
			r.ID = "size:1"
		case "forgotten":
			continue
		}
		removals = append(removals, r)
	}
	return removals, nil
}

func (d *fakeDrop) Close() error {
	d.closed.Do(func() {
		d.store.mu.Lock()
		defer d.store.mu.Unlock()
		d.store.opened--
	})
	return nil
}

// fakeContent gives octets of a pattern up to at, and then does what its name says.
type fakeContent struct {
	ctx    context.Context
	what   string
	at     int64
	size   int64
	offset int64
}

const lineLen = 64

// pattern is what messages are made of: lines of 64 octets.
var pattern = bytes.Repeat(append(bytes.Repeat([]byte("abcdefgh"), 7), "123456\r\n"...), 1024)

func (c *fakeContent) Size() int64 { return c.size }

func (c *fakeContent) Read(p []byte) (int, error) {
	if c.offset == c.at {
		switch c.what {
		case "crash":
			os.Exit(3)
		case "hang":
			<-c.ctx.Done()
			return 0, c.ctx.Err()
		case "fail":
			return 0, backends.Fail(backends.Throttled, "the store stopped in the middle")
		case "readpanic":
			panic("on purpose")
		}
		return 0, io.EOF
	}
	from := pattern[c.offset%int64(len(pattern)):]
	n := copy(p, from[:min(int64(len(from)), c.at-c.offset)])
	c.offset += int64(n)
	return n, nil
}

func (c *fakeContent) Close() error { return nil }

// wholePattern is the content of a message of n octets.
func wholePattern(n int) []byte {
	return bytes.Repeat(pattern, n/len(pattern)+1)[:n]
}

func (f *fakeStore) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	var verdicts []backends.Verdict
	for _, r := range backends.Addresses(q.Recipients) {
		v := backends.Verdict{Recipient: r}
		switch {
		case strings.HasPrefix(r, "unknown"):
			v.Failure = backends.Fail(backends.NotFound, "nobody has this address").WithCode("5.1.1")
		case strings.HasPrefix(r, "later"):
			f.ask(r)
			v.Failure = backends.Fail(backends.Temporary, "greylisted").After(time.Hour)
		case strings.HasPrefix(r, "forgotten"):
			continue
		case strings.HasPrefix(r, "other"):
			v.Recipient = "x" + r
		case strings.HasPrefix(r, "crash"):
			os.Exit(3)
		case strings.HasPrefix(r, "holds"):
			f.ask("holds")
			v.Holds = time.Hour
		case strings.HasPrefix(r, "trace"):
			v.RemoteDiagnostic = traceIn(ctx)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

func (f *fakeStore) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if slices.Contains(backends.Addresses(d.Recipients), "refused-early@fake.example") {
		return []backends.Verdict{{Recipient: d.Recipients[0].Address, Failure: backends.Fail(backends.OverQuota, "full")}}, nil
	}
	if slices.Contains(backends.Addresses(d.Recipients), "taken-early@fake.example") {
		return []backends.Verdict{{Recipient: d.Recipients[0].Address}}, nil
	}
	octets, err := io.Copy(io.Discard, content)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	if slices.Contains(backends.Addresses(d.Recipients), "crash-late@fake.example") {
		os.Exit(3)
	}
	if slices.Contains(backends.Addresses(d.Recipients), "panic-late@fake.example") {
		panic("on purpose")
	}
	switch d.Recipients[0].Address {
	case "slow@fake.example":
		f.ask("slow")
		<-ctx.Done()
		return nil, ctx.Err()
	case "deaf@fake.example": // as long as the process lives
		f.ask("deaf")
		select {}
	case "large-answer@fake.example":
		return []backends.Verdict{{Recipient: d.Recipients[0].Address, Account: strings.Repeat("x", wire.MessageMost)}}, nil
	}
	if want, ok := strings.CutPrefix(d.From, "octets="); ok && want != fmt.Sprint(octets) {
		return nil, fmt.Errorf("%d octets came, not %s", octets, want)
	}
	return f.Resolve(ctx, backends.ResolveQuery{Recipients: d.Recipients})
}

func (f *fakeStore) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if _, err := f.Login(ctx, c); err != nil {
		return nil, err
	}
	return f.Deliver(ctx, d, content)
}

// fakeSending numbers the logins and messages of sending sessions, and tells them with the verdicts.
type fakeSending struct {
	*fakeStore
	login, messages int
	trace           string
}

func (f *fakeStore) OpenSending(ctx context.Context, c backends.Credential) (backends.Sending, error) {
	if _, err := f.Login(ctx, c); err != nil {
		return nil, err
	}
	return &fakeSending{fakeStore: f, login: f.ask("sending"), trace: traceIn(ctx)}, nil
}

func (s *fakeSending) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	s.messages++
	verdicts, err := s.Deliver(ctx, d, content)
	for i := range verdicts {
		verdicts[i].RemoteDiagnostic = s.trace
		verdicts[i].Destination = fmt.Sprintf("message %d of login %d", s.messages, s.login)
	}
	return verdicts, err
}

func (s *fakeSending) Close() error { return nil }

// oneByOne is a store without sending sessions.
type oneByOne struct {
	backends.Store
	backends.Sender
}

func (f *fakeStore) Collect(ctx context.Context, r backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	select { // as for mail that comes late
	case <-time.After(r.Wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i, id := range f.settings.Messages {
		if r.Most > 0 && i == r.Most {
			return nil
		}
		what, n := splitID(id)
		content := &fakeContent{ctx: ctx, what: what, at: n, size: n}
		if what == "fail" {
			content.size = n + 1
		}
		o := backends.Outgoing{ID: backends.MessageID(id), Envelope: backends.Envelope{From: "a@fake.example"}, Recipients: backends.To("b@elsewhere.example"), Size: content.size}
		if err := accept(ctx, o, content); err != nil && what != "fail" {
			return err
		}
	}
	return nil
}

func (f *fakeStore) Settle(_ context.Context, settlements []backends.Settlement) error {
	if len(settlements) != 1 || settlements[0].ID != "size:10" || len(settlements[0].Verdicts) != 2 || settlements[0].Verdicts[1].Failure == nil {
		return backends.Fail(backends.Permanent, "settled something else: %v", settlements)
	}
	return nil
}

// traceIn is a call's trace; empty: it has none.
func traceIn(ctx context.Context) string {
	if trace, ok := backends.TraceOf(ctx); ok {
		return trace.String()
	}
	return ""
}

func (f *fakeStore) Authenticate(ctx context.Context, mechanism string, _ backends.Peer) (sasl.Exchange[backends.Account], error) {
	if mechanism != "X-TWO-STEPS" {
		return nil, backends.Fail(backends.Unsupported, "no mechanism %s", mechanism)
	}
	return &fakeExchange{trace: traceIn(ctx)}, nil
}

// fakeExchange wants none, then the user's name, then "secret".
type fakeExchange struct {
	step        int
	user, trace string
}

func (e *fakeExchange) Next(_ context.Context, response []byte) ([]byte, *backends.Account, error) {
	e.step++
	switch {
	case e.step == 1 && response == nil:
		return []byte("user?"), nil, nil
	case e.step == 2:
		e.user = string(response)
		return []byte{}, nil, nil
	case e.step == 3 && string(response) == "secret":
		return nil, &backends.Account{ID: e.user, DisplayName: e.trace}, nil
	}
	return nil, nil, backends.Fail(backends.BadCredentials, "step %d", e.step)
}

func (e *fakeExchange) Close() error { return nil }

// MaySend answers as the address says: "no@…", "as@…", "behalf@…", "down@…", and else what is no answer.
func (f *fakeStore) MaySend(_ context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
	word, _, _ := strings.Cut(q.Address, "@")
	if word == "down" {
		return 0, backends.Fail(backends.Temporary, "down")
	}
	return map[string]backends.SendRight{"no": backends.SendNo, "as": backends.SendAs, "behalf": backends.SendOnBehalf, "odd": 77}[word], nil
}

// Examine tells as many steps as the folder says, each odd in its way.
func (f *fakeStore) Examine(_ context.Context, r backends.ExamineRequest, tell func(backends.Step)) error {
	if r.Credential.Kind == 0 {
		tell(backends.Step{Name: "step 0", Outcome: backends.StepSkipped, Detail: "nobody"})
		return nil
	}
	if r.Folder == "down" {
		return backends.Fail(backends.Throttled, "down")
	}
	n, _ := strconv.Atoi(r.Folder)
	for i := range n {
		tell(backends.Step{
			Name: fmt.Sprint("step ", i+1), Outcome: 77, Took: time.Second, Detail: r.Credential.User + "\ntwo lines", Cause: fmt.Sprint("odd-", i), Advice: "look",
		})
	}
	return nil
}

// Watch tells of Messages, and waits.
func (f *fakeStore) Watch(ctx context.Context, tell func(backends.Hint)) error {
	for _, account := range f.settings.Messages {
		tell(backends.Hint{Kind: backends.HintCredentials, Account: account})
	}
	if f.settings.Extra["watch"] == "ends" {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}
