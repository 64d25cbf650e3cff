package exchange

import (
	"crypto/subtle"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// waiting are clients whose login was verified a moment ago, and who are about to open a maildrop with it: their connection is there already, and signed in.
// Each is for one maildrop, so that each login is verified by the server. The zero value is ready.
type waiting struct {
	mu     sync.Mutex
	all    []*waitingWeb // the one that has waited longest first
	closed bool
}

type waitingWeb struct {
	*web
	timer *time.Timer
}

// Bounds of waiting.
const (
	waitMost    = 10 * time.Second
	waitingMost = 200
)

// put keeps a client for whoever opens a maildrop.
func (q *waiting) put(w *web) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.all) >= waitingMost {
		w.close()
		return
	}
	one := &waitingWeb{web: w}
	one.timer = time.AfterFunc(waitMost, func() {
		if q.drop(func(other *waitingWeb) bool { return other == one }) != nil {
			w.close()
		}
	})
	q.all = append(q.all, one)
}

// take returns the client of a login: nil, if none is waiting. The credential must be the very same.
func (q *waiting) take(l login) *web {
	one := q.drop(func(w *waitingWeb) bool {
		return w.login.address == l.address && w.login.own == l.own && w.login.service == l.service && same(w.login.credential, l.credential)
	})
	if one == nil {
		return nil
	}
	one.timer.Stop()
	return one.web
}

func (q *waiting) drop(is func(*waitingWeb) bool) *waitingWeb {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.all {
		if is(w) {
			q.all = append(q.all[:i:i], q.all[i+1:]...)
			return w
		}
	}
	return nil
}

// close ends all connections.
func (q *waiting) close() {
	q.mu.Lock()
	all := q.all
	q.all, q.closed = nil, true
	q.mu.Unlock()
	for _, w := range all {
		w.timer.Stop()
		w.web.close()
	}
}

// same says whether two credentials are one.
func same(a, b signin.Credential) bool {
	equal := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	return a.User == b.User && equal(a.Password, b.Password) && equal(a.Token, b.Token) && a.Keytab == b.Keytab
}
