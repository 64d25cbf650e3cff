package storetest_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"iter"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/backends/vault"
)

// The suite is tested with lies: stores that are right in everything but one thing. Each must
// fail exactly the cases that are about that thing. A case that no lie fails may be deaf.

// lie is one way of breaking the contract.
type lie struct {
	name  string
	tell  func(*liar)
	fails []string // group/name of the cases that must fail, and no others
	may   []string // those that fail when the goroutines happen to meet
	wide  bool     // any others may fail too: it is a lie about everything
}

// liar is the reference store with some of its calls replaced. A function that is nil is the
// store's own.
type liar struct {
	*memstore.Store
	vault        vault.Vault // of the settings; the reference keeps nothing there
	describe     func(context.Context, backends.Description) backends.Description
	configure    func(context.Context, backends.Settings) error
	health       func(context.Context) error
	login        func(context.Context, backends.Credential) (backends.Account, error)
	openFirst    func(context.Context, backends.OpenRequest) (backends.Maildrop, error)
	drop         func(*liarDrop)
	resolve      func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error)
	deliver      func(context.Context, backends.Delivery, io.Reader) ([]backends.Verdict, error)
	send         func(context.Context, backends.Credential, backends.Delivery, io.Reader) ([]backends.Verdict, error)
	openSending  func(context.Context, backends.Credential) (backends.Sending, error)
	sending      func(*liarSending)
	collect      func(context.Context, backends.CollectRequest, acceptFunc) error
	settle       func(context.Context, []backends.Settlement) error
	watch        func(context.Context, func(backends.Hint)) error
	examine      func(context.Context, backends.ExamineRequest, func(backends.Step)) error
	maySend      func(context.Context, backends.MaySendQuery) (backends.SendRight, error)
	authenticate func(context.Context, string, backends.Peer) (sasl.Exchange[backends.Account], error)
	close        func() error
	killed       func(context.Context) error
	ending       func(storetest.Ending) error

	sendingEnds int // how often the server has ended the connections of sending sessions

	mu      sync.Mutex
	drops   []*killableDrop // opened since the process was killed last
	wasOpen bool            // one of them was open when it was
	keys    []string        // of the deliveries, for the lies that count them
}

type acceptFunc = func(context.Context, backends.Outgoing, backends.Content) error

func (l *liar) Describe(ctx context.Context) (backends.Description, error) {
	d, err := l.Store.Describe(ctx)
	if l.describe != nil {
		d = l.describe(ctx, d)
	}
	return d, err
}

func (l *liar) Configure(ctx context.Context, s backends.Settings) error {
	if l.configure != nil {
		return l.configure(ctx, s)
	}
	return l.Store.Configure(ctx, s)
}

func (l *liar) Health(ctx context.Context) error {
	if l.health != nil {
		return l.health(ctx)
	}
	return l.Store.Health(ctx)
}

func (l *liar) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if l.login != nil {
		return l.login(ctx, c)
	}
	return l.Store.Login(ctx, c)
}

func (l *liar) Watch(ctx context.Context, tell func(backends.Hint)) error {
	if l.watch != nil {
		return l.watch(ctx, tell)
	}
	return l.Store.Watch(ctx, tell)
}

func (l *liar) MaySend(ctx context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
	if l.maySend != nil {
		return l.maySend(ctx, q)
	}
	return l.Store.MaySend(ctx, q)
}

func (l *liar) Examine(ctx context.Context, r backends.ExamineRequest, tell func(backends.Step)) error {
	if l.examine != nil {
		return l.examine(ctx, r, tell)
	}
	return l.Store.Examine(ctx, r, tell)
}

func (l *liar) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	open := l.Store.Open
	if l.openFirst != nil {
		open = l.openFirst
	}
	d, err := open(ctx, r)
	if err != nil {
		return d, err
	}
	if l.killed != nil {
		killable := &killableDrop{Maildrop: d}
		l.mu.Lock()
		l.drops = append(l.drops, killable)
		l.mu.Unlock()
		d = killable
	}
	if l.drop == nil {
		return d, nil
	}
	lying := &liarDrop{Maildrop: d}
	l.drop(lying)
	if lying.many != nil {
		return manyDrop{lying}, nil
	}
	if lying.measure != nil {
		return measureDrop{lying}, nil
	}
	return lying, nil
}

// killableDrop knows whether it is open still.
type killableDrop struct {
	backends.Maildrop
	closed atomic.Bool
}

// MarkSeen implements [backends.Marker].
func (d *killableDrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	if marker, ok := d.Maildrop.(backends.Marker); ok {
		return marker.MarkSeen(ctx, ids)
	}
	return backends.Fail(backends.Unsupported, "no marks")
}

func (d *killableDrop) Close() error {
	d.closed.Store(true)
	return d.Maildrop.Close()
}

func (l *liar) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	if l.resolve != nil {
		return l.resolve(ctx, q)
	}
	return l.Store.Resolve(ctx, q)
}

func (l *liar) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if l.deliver != nil {
		return l.deliver(ctx, d, content)
	}
	return l.Store.Deliver(ctx, d, content)
}

func (l *liar) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if l.send != nil {
		return l.send(ctx, c, d, content)
	}
	return l.Store.Send(ctx, c, d, content)
}

func (l *liar) Collect(ctx context.Context, r backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	if l.collect != nil {
		return l.collect(ctx, r, accept)
	}
	return l.Store.Collect(ctx, r, accept)
}

func (l *liar) Settle(ctx context.Context, s []backends.Settlement) error {
	if l.settle != nil {
		return l.settle(ctx, s)
	}
	return l.Store.Settle(ctx, s)
}

func (l *liar) Authenticate(ctx context.Context, mechanism string, p backends.Peer) (sasl.Exchange[backends.Account], error) {
	if l.authenticate != nil {
		return l.authenticate(ctx, mechanism, p)
	}
	return l.Store.Authenticate(ctx, mechanism, p)
}

func (l *liar) Close() error {
	if l.close != nil {
		return l.close()
	}
	return l.Store.Close()
}

// liarDrop is a maildrop with some of its calls replaced.
type liarDrop struct {
	backends.Maildrop
	list   func(context.Context) iter.Seq2[backends.Entry, error]
	entry  func(*backends.Entry) // changes each entry of the list
	fetch  func(context.Context, backends.FetchRequest) (backends.Content, error)
	remove func(context.Context, []backends.MessageID, backends.Disposal) ([]backends.Removal, error)
	mark   func(context.Context, []backends.MessageID) error
	many   func(*liarContents)
	// measure makes another Measure of the true one.
	measure func(measureFunc) measureFunc
	close   func() error
}

// MarkSeen implements [backends.Marker].
func (d *liarDrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	if d.mark != nil {
		return d.mark(ctx, ids)
	}
	return d.Maildrop.(backends.Marker).MarkSeen(ctx, ids)
}

func (d *liarDrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	if d.list != nil {
		return d.list(ctx)
	}
	return func(yield func(backends.Entry, error) bool) {
		for e, err := range d.Maildrop.List(ctx) {
			if d.entry != nil && err == nil {
				d.entry(&e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (d *liarDrop) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	if d.fetch != nil {
		return d.fetch(ctx, r)
	}
	return d.Maildrop.Fetch(ctx, r)
}

func (d *liarDrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if d.remove != nil {
		return d.remove(ctx, ids, disposal)
	}
	return d.Maildrop.Remove(ctx, ids, disposal)
}

func (d *liarDrop) Close() error {
	if d.close != nil {
		return d.close()
	}
	return d.Maildrop.Close()
}

// rewrite changes whatever is fetched, consistently.
func (d *liarDrop) rewrite(change func(backends.FetchRequest, []byte) []byte) {
	d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
		c, err := d.Maildrop.Fetch(ctx, r)
		if err != nil {
			return nil, err
		}
		return &liarContent{Content: c, change: func(b []byte) []byte { return change(r, b) }}, nil
	}
}

// entries are the true list.
func (d *liarDrop) entries(ctx context.Context) []backends.Entry {
	var all []backends.Entry
	for e, err := range d.Maildrop.List(ctx) {
		if err == nil {
			all = append(all, e)
		}
	}
	return all
}

// liarContent gives something else than the content it stands for. It reads all of it at the
// first Read, and fails as it does afterwards.
type liarContent struct {
	backends.Content
	change func([]byte) []byte
	data   *bytes.Reader
}

func (c *liarContent) Size() int64 { return -1 }

func (c *liarContent) Read(p []byte) (int, error) {
	if c.data == nil {
		data, err := io.ReadAll(c.Content)
		if err != nil {
			return 0, err
		}
		c.data = bytes.NewReader(c.change(data))
	}
	if _, err := c.Content.Read(nil); err != nil && err != io.EOF {
		return 0, err
	}
	return c.data.Read(p)
}

const raw = `{
	"impersonation": true,
	"message_size": 2000000,
	"accounts": [
		{"user": "anna", "password": "secret of anna", "address": "anna@sakes.example", "preferences": {"rich_text": "as-sent", "format": "uuencode", "charset": "iso-8859-15"}, "aliases": ["a@sakes.example"], "folders": ["Archive/2026"]},
		{"user": "bert", "password": "secret of bert", "address": "bert@sakes.example"}
	],
	"lists": [{"address": "all@sakes.example", "members": ["anna@sakes.example", "bert@sakes.example"]}]
}`

// target is the suite's view of a store, small enough to be run many times.
func target(dir string, tell func(*liar)) storetest.Target {
	settings := backends.Settings{Raw: []byte(raw), Domains: []string{"sakes.example"}, BaseDir: dir, Vault: &vault.Memory{}}
	var opened *memstore.Store
	var running *liar
	fresh := func(context.Context) (backends.Store, error) {
		l := &liar{Store: memstore.New()}
		tell(l)
		return l, nil
	}
	return storetest.Target{
		New: fresh,
		Defer: func(_ context.Context, address string) (func(), error) {
			opened.Inject(memstore.Fault{Call: "send", Recipient: address, Kind: memstore.Kind(backends.Temporary)})
			return opened.Mend, nil
		},
		SendLogins: func() int { return opened.SendLogins() },
		EndSending: func(context.Context) error {
			opened.EndSending()
			running.sendingEnds++
			return nil
		},
		Open: func(ctx context.Context) (backends.Store, error) {
			store, err := fresh(ctx)
			if err == nil {
				store.(*liar).vault = settings.Vault
				// The reference's own: a lie about settings is told to the cases alone.
				running = store.(*liar)
				opened = running.Store
				err = opened.Configure(ctx, settings)
			}
			return store, err
		},
		Process:  killable{func() *liar { return running }},
		Settings: settings,
		User:     "anna", Password: "secret of anna", Address: "anna@sakes.example",
		SecondUser: "bert", SecondPassword: "secret of bert", SecondAddress: "bert@sakes.example",
		List: "all@sakes.example", Preferences: backends.Preferences{RichText: backends.RichTextAsSent, Format: backends.FormatUUENCODE, Charset: "iso-8859-15"},
		Folder:   "Archive/2026",
		Outside:  []string{"carl@elsewhere.example", "dora@elsewhere.example"},
		InMemory: true,
		BadSettings: map[string]string{
			"accounts.0.password": `{"accounts": [{"user": "anna"}]}`,
			"faults.0.kind":       `{"faults": [{"call": "fetch", "kind": "tempory"}]}`,
		},
		Large: 1 << 19, Many: 30, Timeout: 20 * time.Second,
	}
}

func failing(t *testing.T, target storetest.Target) (failed []string, errs map[string]error) {
	t.Helper()
	errs = make(map[string]error)
	err := storetest.Check(t.Context(), target, func(r storetest.Result) {
		if r.Err != nil {
			name := r.Group + "/" + r.Name
			failed = append(failed, name)
			errs[name] = r.Err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return failed, errs
}

var allLies = slices.Concat(
	storeLies, loginLies, listLies, fetchLies, manyLies, measureLies, readingLies, sessionLies, folderLies, removeLies, markLies, receiverLies, directoryLies, contentLies, senderLies, sendingLies, outboxLies, watcherLies, sendRightsLies, examineLies, processLies,
)

// TestLies runs each lie in a bubble where time passes only when everybody waits: a store that
// hangs costs nothing, and a busy machine makes none look as if it did.
func TestLies(t *testing.T) {
	names := make(map[string]bool)
	for i, l := range allLies {
		if names[l.name] {
			t.Errorf("two lies are called %q", l.name)
		}
		names[l.name] = true
		if raceDetector && i%8 != 0 {
			continue // they are slow under it, and differ little in what they run
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				got, errs := failing(t, target(dir, l.tell))
				l.judge(t, got, errs)
				time.Sleep(time.Minute) // for what was left hanging
			})
		})
	}
}

func (l lie) judge(t *testing.T, got []string, errs map[string]error) {
	want := slices.Clone(l.fails)
	slices.SortFunc(want, byPlace)
	got = slices.DeleteFunc(got, func(name string) bool {
		return !slices.Contains(want, name) && (l.wide || slices.Contains(l.may, name) || slices.Contains(broad, name))
	})
	if d := gocmp.Diff(want, got); d != "" || len(want) == 0 {
		t.Errorf("the cases that should fail, and those that do:\n%s", d)
	}
	if os.Getenv("STORETEST_VERBOSE") != "" || t.Failed() {
		for name, err := range errs {
			t.Logf("%s: %v", name, err)
		}
	}
}

func byPlace(a, b string) int {
	names := storetest.Names()
	return cmp.Compare(slices.Index(names, a), slices.Index(names, b))
}

// TestTruth: the reference, seen through the liar without a lie, fails nothing.
func TestTruth(t *testing.T) {
	for name, tell := range map[string]func(*liar){
		"nothing": func(*liar) {}, "several messages": manyOf(func(*liarContents) {}), "files": manyOf(filed(func(*inFile) {})),
		"whole files": manyOf(wholly(func(*wholeFile) {})), "whole files of any length": manyOf(wholly(func(f *wholeFile) { f.length = -1 })),
		"measured messages": measured(func(backends.MeasureRequest, *backends.Measured) {}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if failed, errs := failing(t, target(t.TempDir(), tell)); len(failed) > 0 {
				t.Errorf("%v", errs)
			}
		})
	}
}

// TestEveryCaseHears: for each case there is a lie that it hears.
func TestEveryCaseHears(t *testing.T) {
	heard := make(map[string]bool)
	for _, l := range allLies {
		for _, name := range l.fails {
			heard[name] = true
		}
	}
	for _, name := range storetest.Names() {
		if !heard[name] && !slices.Contains(deaf, name) {
			t.Errorf("no lie fails %s", name)
		}
	}
	for _, name := range deaf {
		if heard[name] {
			t.Errorf("%s is not deaf", name)
		}
	}
}

// broad are the cases that do so much that many a lie about something else fails them, too.
var broad = []string{
	"receiver/key-among-many", "receiver/key-outlives-its-message",
	"receiver/directory-form", "receiver/directory-canonical", "receiver/directory-list", "receiver/directory-preferences",
	"receiver/where-it-went", "sender/where-it-went",
	"maildrop/cancelled-fetches", "maildrop/unread-content-waits", "maildrop/unread-list-waits",
	"process/killed-after-a-delivery", "process/killed-between-two-attempts", "process/killed-with-half-a-message",
	"process/killed-after-a-removal", "process/ids-last", "process/killed-with-a-session",
}

// deaf are the cases for which there is no lie here, each for a reason.
var deaf = []string{
	"receiver/memory", // the reference keeps mail in memory; TestMemoryCase has its lie
}
