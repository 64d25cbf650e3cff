package edge

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// LookEvery is how often the files of certificates are looked at.
const LookEvery = 2 * time.Second

// Watcher makes certificates follow their files.
//
// It reads the files instead of waiting to be told of changes: that works whatever the file
// system (network and container mounts tell nobody), through however many symbolic links a
// renewal turns, and without a look at time stamps, which do not tell two writes of one moment
// apart. A few small files every few seconds cost nothing that could be measured.
type Watcher struct {
	Log zerolog.Logger

	mu    sync.Mutex
	pairs []*Pair
}

// Watch says which certificates to look after from now on.
func (w *Watcher) Watch(pairs []*Pair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pairs = pairs
}

// Run looks at the files now and then, until the context ends.
func (w *Watcher) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.Look()
		case <-ctx.Done():
			return
		}
	}
}

// Look looks at the files once.
func (w *Watcher) Look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pairs {
		p.look(w.Log)
	}
}

// look takes over what the files hold, where that is new and can be used. Two files are seldom
// written at the same moment, so what does not fit together is told of when it is still so at
// the next look, and then once.
func (p *Pair) look(log zerolog.Logger) {
	content, cert, err := p.read()
	again := content == p.seen
	p.seen = content
	switch {
	case content == p.used:
		p.refused = digest{}
	case err == nil:
		p.cert.Store(cert)
		p.used, p.refused = content, digest{}
		log.Info().Str("certificate", p.files.Certificate).Strs("names", cert.Leaf.DNSNames).
			Time("expires", cert.Leaf.NotAfter).Msg("the certificate is a new one")
	case again && content != p.refused:
		p.refused = content
		log.Error().Err(err).Str("certificate", p.files.Certificate).
			Msg("the certificate's files cannot be used: the old one stays")
	}
}
