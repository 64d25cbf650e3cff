package imap

import "time"

// patience bounds how long a server may be silent while an answer is expected. The library has
// time-outs of its own, of minutes and of none, and no setting for them.
type patience struct {
	limit    time.Duration // 0: none
	expected int           // answers that are to come in time
	slow     int           // commands under way that may take long
	given    time.Time     // the library's own deadline
}

// deadline is by when something has to come.
func (p *patience) deadline() time.Time {
	if p.limit == 0 || p.expected == 0 || p.slow > 0 {
		return p.given
	}
	if last := time.Now().Add(p.limit); p.given.IsZero() || last.Before(p.given) {
		return last
	}
	return p.given
}

// SetReadDeadline is called by the library.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patience.given = t
	return w.Conn.SetReadDeadline(w.patience.deadline())
}

// wait is called before each read: the server has its time again.
func (w *wire) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.patience.expected > 0 {
		_ = w.Conn.SetReadDeadline(w.patience.deadline())
	}
}

// expect bounds the server's silences until done.
func (w *wire) expect() (done func()) { return w.adjust(1, 0) }

// allow lifts that bound until done: a command is under way that a server may take long for.
func (w *wire) allow() (done func()) { return w.adjust(0, 1) }

// adjust changes until done how many commands the bound is for, and how many lift it.
func (w *wire) adjust(expected, slow int) (done func()) {
	change := func(expected, slow int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.patience.expected += expected
		w.patience.slow += slow
		_ = w.Conn.SetReadDeadline(w.patience.deadline()) // one that is closed needs none
	}
	change(expected, slow)
	return func() { change(-expected, -slow) }
}
