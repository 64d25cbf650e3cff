package exchange

import (
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// waiting are sessions of clients whose login was verified a moment ago, and who are about to open a maildrop or to send with it: what they have made
// of it is there already. Each is for one of them, so that each login is verified by the server. The zero value is ready.
type waiting[T waiter] struct {
	mu     sync.Mutex
	all    []*waitingOne[T] // the one that has waited longest first
	closed bool
	ended  sync.WaitGroup // sessions that are being ended
}

// waiter is what can wait.
type waiter interface {
	whose() login
	// close ends the session, and may wait for the server.
	close()
}

type waitingOne[T waiter] struct {
	session T
	timer   *time.Timer
}

// Bounds of waiting.
const (
	waitMost    = 10 * time.Second
	waitingMost = 200
)

// put keeps a session for whoever wants one with the same login.
func (q *waiting[T]) put(session T) {
	if !q.add(session) {
		session.close()
	}
}

// add adds a session, in the place of the one that has waited longest where they are many. False: the store is closed.
func (q *waiting[T]) add(session T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if len(q.all) >= waitingMost {
		q.end(0)
	}
	one := &waitingOne[T]{session: session}
	one.timer = time.AfterFunc(waitMost, func() { q.drop(one) })
	q.all = append(q.all, one)
	return true
}

// end begins to end a session. The lock is held.
func (q *waiting[T]) end(i int) {
	one := q.all[i]
	one.timer.Stop()
	q.all = slices.Delete(q.all, i, i+1)
	q.ended.Go(one.session.close)
}

// take returns the session of a login, if one is waiting. The credential must be the very same.
func (q *waiting[T]) take(l login) (session T, there bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, one := range q.all {
		if w := one.session.whose(); w.address == l.address && w.own == l.own && w.service == l.service && same(w.credential, l.credential) {
			one.timer.Stop()
			q.all = slices.Delete(q.all, i, i+1)
			return one.session, true
		}
	}
	return session, false
}

// drop ends a session that nobody has wanted.
func (q *waiting[T]) drop(unwanted *waitingOne[T]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.all, unwanted); i >= 0 {
		q.end(i)
	}
}

// close ends all of them.
func (q *waiting[T]) close() {
	q.mu.Lock()
	q.closed = true
	for len(q.all) > 0 {
		q.end(0)
	}
	q.mu.Unlock()
	q.ended.Wait()
}

// same says whether two credentials are one.
func same(a, b signin.Credential) bool {
	equal := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	return a.User == b.User && equal(a.Password, b.Password) && equal(a.Token, b.Token) && a.Keytab == b.Keytab
}
