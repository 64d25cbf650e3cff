package host

import "slices"

// An open maildrop ends by itself when its process dies, or when its stream does. Most maildrops are
// idle, and no goroutine of theirs would notice; a context for each, and for each who waits, would be
// a good part of what an idle one costs. So a generation has a list of the maildrops whose end somebody
// waits for.

// watcher is somebody who waits for the end of a maildrop.
type watcher struct{ f func() }

// afterLoss is [backends.Opened]'s AfterLoss: the plugin has died, or has ended this session's stream
// by itself, as one that breaks the rules has it ended: no request can be answered any more.
func (m *maildrop) afterLoss(f func()) (stop func() bool) {
	w := &watcher{f}
	m.mu.Lock()
	m.watchers = append(m.watchers, w)
	m.mu.Unlock()
	if !m.g.awaitsLoss(m) || m.lost.Load() {
		m.tellLoss()
	}
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		before := len(m.watchers)
		m.watchers = slices.DeleteFunc(m.watchers, func(other *watcher) bool { return other == w })
		return len(m.watchers) < before
	}
}

// tellLoss calls those who wait, each once. Whoever closes the maildrop need not be told of its end.
func (m *maildrop) tellLoss() {
	m.mu.Lock()
	watchers, leaving := m.watchers, m.leaving
	m.watchers = nil
	m.mu.Unlock()
	m.g.forgetLoss(m)
	if leaving {
		return
	}
	for _, w := range watchers {
		go w.f()
	}
}

// awaitsLoss has a maildrop told of the process's end; false: it has ended.
func (g *generation) awaitsLoss(m *maildrop) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.life.Err() != nil {
		return false
	}
	if g.watched == nil {
		g.watched = make(map[*maildrop]struct{})
	}
	g.watched[m] = struct{}{}
	return true
}

func (g *generation) forgetLoss(m *maildrop) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watched, m)
}

// tellLosses is called once life has ended.
func (g *generation) tellLosses() {
	g.mu.Lock()
	watched := g.watched
	g.watched = nil
	g.mu.Unlock()
	for m := range watched {
		m.tellLoss()
	}
}

// alive says why what the session has handed out cannot be used any more.
func (m *maildrop) alive() error {
	switch {
	case m.g.life.Err() != nil:
		return m.g.death()
	case m.lost.Load():
		return m.end()
	}
	return nil
}
