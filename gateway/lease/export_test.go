package lease

import "github.com/dipylon/dipylon/gateway/maildrop"

// CloseForTest ends locks that the test's end closes, too.
func CloseForTest(l Locks) {
	leases := l.(*locks)
	leases.Close()
	leases.quit, leases.ended = make(chan struct{}), make(chan struct{})
	close(leases.ended)
}

// Freeze ends the renewing, as a node does that hangs.
func Freeze(l Locks) {
	leases := l.(*locks)
	close(leases.quit)
	<-leases.ended
	leases.quit = make(chan struct{})
}

// Forget is what is left when the answer to a taking is lost: the lease, in the database alone.
func Forget(l Locks, lock maildrop.Lock) {
	delete(l.(*locks).held, string(lock.(*lease).key))
	lock.(*lease).own.Release()
}
