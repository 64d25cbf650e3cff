package maildrop

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// farStore is a store with a round trip of 40 ms, on the bubble's clock. A message's id is its number.
type farStore struct {
	mu      sync.Mutex
	fetches map[want]int
	open    int // asked for, and not closed
	most    int
	largest int // request
	fail    map[int]error
	hangs   bool // FetchMany waits until its context ends
}

const roundTrip = 40 * time.Millisecond

// ask counts a message, and gives its failure.
func (f *farStore) ask(w want) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetches[w]++
	f.open++
	f.most = max(f.most, f.open)
	return f.fail[w.index]
}

func arrive(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch is one message by itself.
func (f *farStore) fetch(ctx context.Context, w want) (*reading, error) {
	err := f.ask(w)
	if e := arrive(ctx, time.Now().Add(roundTrip)); e != nil {
		err = e
	}
	if err != nil {
		f.closed(1)
		return nil, err
	}
	return &reading{source: f.content(ctx, w.index), top: 0, size: -1, notice: true}, nil
}

func (f *farStore) content(ctx context.Context, index int) *farContent {
	return &farContent{Reader: strings.NewReader(farText(index)), ctx: ctx, store: f}
}

func farText(index int) string { return "message " + strconv.Itoa(index) }

// FetchMany implements [backends.ManyFetcher]: the messages come together, after one round trip.
func (f *farStore) FetchMany(ctx context.Context, r backends.FetchManyRequest) (backends.Contents, error) {
	if f.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c := &farContents{store: f, ctx: ctx, at: time.Now().Add(roundTrip), left: len(r.IDs)}
	for _, id := range r.IDs {
		index, _ := strconv.Atoi(string(id))
		w := want{index, -1}
		if r.Top {
			w.top = r.Lines
		}
		c.indexes, c.failures = append(c.indexes, index), append(c.failures, f.ask(w))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.largest = max(f.largest, len(r.IDs))
	return c, nil
}

type farContents struct {
	store    *farStore
	ctx      context.Context //nolint:containedctx // what real ones have, too
	at       time.Time
	indexes  []int
	failures []error
	reading  *farContent // given last
	given    int
	left     int // that are not given yet
}

func (c *farContents) Next(ctx context.Context) (backends.Content, error) {
	if c.given == len(c.failures) {
		return nil, io.EOF
	}
	err := arrive(ctx, c.at)
	if err == nil {
		err = c.failures[c.given]
	}
	index := c.indexes[c.given]
	c.given++
	c.left--
	if err != nil {
		c.store.closed(1)
		return nil, err
	}
	c.reading = c.store.content(ctx, index)
	return c.reading, nil
}

func (c *farContents) Close() error {
	if c.reading != nil {
		_ = c.reading.Close()
	}
	c.store.closed(c.left)
	c.left = 0
	return nil
}

func (f *farStore) closed(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open -= n
}

func (f *farStore) times(w want) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetches[w]
}

// mend takes a failure away.
func (f *farStore) mend(index int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.fail, index)
}

func (f *farStore) total() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.fetches {
		n += times
	}
	return n
}

type farContent struct {
	io.Reader
	ctx   context.Context //nolint:containedctx // what a real content has, too
	store *farStore
	over  bool
}

func (c *farContent) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if c.over {
		return 0, errors.New("the content is closed")
	}
	return c.Reader.Read(p)
}

func (c *farContent) Size() int64 { return -1 }

func (c *farContent) Close() error {
	if !c.over {
		c.over = true
		c.store.closed(1)
	}
	return nil
}

type aheadTest struct {
	*ahead
	store *farStore
	t     *testing.T
}

func newAheadTest(t *testing.T, count int, budget, perSession int64) *aheadTest {
	t.Helper()
	store := &farStore{fetches: make(map[want]int), fail: make(map[int]error)}
	a := &ahead{
		store: store, count: count, budget: NewBudget(budget), left: perSession, company: &company{}, last: want{-1, -1}, step: 1,
		id:   func(i int) backends.MessageID { return backends.MessageID(strconv.Itoa(i)) },
		size: func(int) (int64, bool) { return 1000, true },
		skip: func(int) bool { return false },
		open: func(_ context.Context, w want, _ int64, c backends.Content) *reading {
			return &reading{source: c, index: w.index, top: 0, size: -1, notice: true}
		},
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return &aheadTest{a, store, t}
}

// read reads a message as drop.Open does.
func (a *aheadTest) read(index, top int) error {
	a.t.Helper()
	c, err, ok := a.take(a.t.Context(), want{index, top})
	if !ok {
		c, err = a.store.fetch(a.t.Context(), want{index, top})
	}
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err == nil && string(got) != farText(index) {
		a.t.Errorf("message %d came as %q", index, got)
	}
	return err
}

// end closes, and makes sure that nothing is left: no message, no octet of the budgets.
func (a *aheadTest) end(budget, perSession int64) {
	a.t.Helper()
	a.close()
	if a.store.open != 0 {
		a.t.Errorf("%d messages are left open", a.store.open)
	}
	if got := a.budget.octets.Load(); got != budget {
		a.t.Errorf("the budget of all has %d octets, and had %d", got, budget)
	}
	if a.left != perSession {
		a.t.Errorf("the session's budget has %d octets, and had %d", a.left, perSession)
	}
}

func TestDrainingHidesTheRoundTrip(t *testing.T) {
	for name, step := range map[string]int{"every message": 1, "every third": 3, "the newest first": -1} {
		for _, top := range []int{-1, 0} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newAheadTest(t, 200, 1<<20, 1<<20)
					begin, n := time.Now(), 0
					for i := max(0, -199*step); i >= 0 && i < 200; i += step {
						if err := a.read(i, top); err != nil {
							t.Fatal(err)
						}
						n++
					}
					if took, alone := time.Since(begin), time.Duration(n)*roundTrip; took > alone/5 {
						t.Errorf("%d messages took %v; one after the other they take %v", n, took, alone)
					}
					if a.store.largest != aheadMessages {
						t.Errorf("the largest request was of %d messages", a.store.largest)
					}
					for w, times := range a.store.fetches {
						if times > 1 {
							t.Errorf("message %v was fetched %d times", w, times)
						}
					}
					a.end(1<<20, 1<<20)
				})
			})
		}
	}
}

// A client that passes messages over gets the one that it asks for, and those before it are not kept.
func TestPassedOverIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 24, 1<<20, 1<<20)
		for _, index := range []int{0, 1, 3, 12, 13} { // 12 is of the second request
			if err := a.read(index, -1); err != nil {
				t.Fatal(err)
			}
		}
		if a.store.largest != 24-9 || a.store.open != 24-14 {
			t.Errorf("%d messages are ahead of the last 10, at most %d of one request", a.store.open, a.store.largest)
		}
		a.end(1<<20, 1<<20)
	})
}

// A client that jumps about makes the guessing stop: it costs the store little more than
// what was asked for.
func TestGuessingStopsWhenItIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 10_000, 1<<30, 1<<30)
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			if err := a.read(random.IntN(10_000), -1); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.store.total(); n > 200+3*8 {
			t.Errorf("200 messages that were asked for cost %d fetches", n)
		}
		// And it starts again when there is a pattern.
		begin := time.Now()
		for i := range 100 {
			if err := a.read(i, -1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took > 100*roundTrip/3 {
			t.Errorf("draining after jumping took %v", took)
		}
		a.end(1<<30, 1<<30)
	})
}

func TestAheadStaysInItsBudgets(t *testing.T) {
	for name, tt := range map[string]struct {
		all, session int64
		most         int
	}{
		"of the session": {1 << 20, 3000, 4},
		"of all":         {2000, 1 << 20, 3},
		"none":           {0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAheadTest(t, 50, tt.all, tt.session)
				for i := range 50 {
					if err := a.read(i, -1); err != nil {
						t.Fatal(err)
					}
				}
				if a.store.most > tt.most {
					t.Errorf("%d messages of 1000 octets were open at once", a.store.most)
				}
				a.end(tt.all, tt.session)
			})
		})
	}
}

func TestAheadIsGivenUpForAnIdleClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 50, 1<<20, 1<<20)
		if err := a.read(0, -1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * aheadIdle) // the bubble's clock
		synctest.Wait()
		if a.store.open != 0 || a.budget.octets.Load() != 1<<20 {
			t.Errorf("%d messages are kept for an idle client", a.store.open)
		}
		if err := a.read(1, -1); err != nil {
			t.Fatal(err)
		}
		a.end(1<<20, 1<<20)
	})
}

// A client that is slow to read keeps the message that it reads, and nothing that is ahead of it.
func TestAheadIsGivenUpBesideASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 50, 1<<20, 1<<20)
		_ = a.read(0, -1)
		c, err, ok := a.take(t.Context(), want{1, -1})
		if err != nil || !ok {
			t.Fatal(err, ok)
		}
		time.Sleep(2 * aheadIdle) // the bubble's clock
		synctest.Wait()
		if got, err := io.ReadAll(c); err != nil || string(got) != farText(1) {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.Close()
		if a.store.open != 0 || a.budget.octets.Load() != 1<<20 {
			t.Errorf("%d messages are kept for an idle client", a.store.open)
		}
		a.end(1<<20, 1<<20)
	})
}

// A failure of a message ahead is asked again; that a message is gone is believed.
func TestFailuresAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 50, 1<<20, 1<<20)
		gone := backends.Fail(backends.NotFound, "gone")
		a.store.fail[2] = gone
		a.store.fail[4] = backends.Fail(backends.Throttled, "too many")
		_ = a.read(0, -1)
		_ = a.read(1, -1)
		if err := a.read(2, -1); !errors.Is(err, gone) || a.store.times(want{2, -1}) != 1 {
			t.Errorf("got %v after %d fetches", err, a.store.times(want{2, -1}))
		}
		_ = a.read(3, -1)
		a.store.mend(4)
		if err := a.read(4, -1); err != nil {
			t.Errorf("a message that was throttled ahead: %v", err)
		}
		a.end(1<<20, 1<<20)
	})
}

// The command's context ends a message that was ahead, waited for or being read.
func TestContextEndsWhatWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 50, 1<<20, 1<<20)
		_ = a.read(0, -1)
		ctx, cancel := context.WithCancel(t.Context())
		c, err, ok := a.take(ctx, want{1, -1})
		if err != nil || !ok {
			t.Fatal(err, ok)
		}
		cancel()
		synctest.Wait()
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
			t.Errorf("reading goes on: %v", err)
		}
		_ = c.Close()
		if _, err, ok := a.take(ctx, want{9, -1}); ok && !errors.Is(err, context.Canceled) {
			t.Errorf("waiting goes on: %v", err)
		}
		a.end(1<<20, 1<<20)
	})
}

// A store that does not take a request for what is next holds the client up no longer than the command
// lasts.
func TestContextEndsAskingAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAheadTest(t, 50, 1<<20, 1<<20)
		a.store.hangs = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, ok := a.take(ctx, want{0, -1}); ok || ctx.Err() == nil {
			t.Errorf("asking ahead: a message was there: %v, the command's time was over: %v", ok, ctx.Err())
		}
		a.store.hangs = false
		if err := a.read(1, -1); err != nil {
			t.Error(err)
		}
		a.end(1<<20, 1<<20)
	})
}
