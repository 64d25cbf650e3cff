package folder

// CloseForTest ends locks that the test's end closes, too.
func CloseForTest(l Locks) {
	leases := l.(*leases)
	leases.Close()
	leases.quit, leases.ended = make(chan struct{}), make(chan struct{})
	close(leases.ended)
}

// Freeze ends the renewing, as a node does that hangs.
func Freeze(l Locks) {
	leases := l.(*leases)
	close(leases.quit)
	<-leases.ended
	leases.quit = make(chan struct{})
}

// Forget is what is left when the answer to a taking is lost: the lease, in the database alone.
func Forget(l Locks, lock Lock) {
	delete(l.(*leases).held, string(lock.(*lease).key))
	lock.(*lease).own.Release()
}
