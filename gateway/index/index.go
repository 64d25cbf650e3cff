package index

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
)

// ImportKept is how long imported unique-ids wait for their messages.
const ImportKept = 90 * 24 * time.Hour

const (
	kindUIDL   = "uidl"
	kindImport = "import"
	kindSize   = "size" // and the rendering

	// batchesMost is how many batches of sizes a folder has before they are put together.
	batchesMost = 8
	// usedEvery is after how many days it is noted again that a folder is in use, and unusedMost
	// after how many its sizes are dropped.
	usedEvery, unusedMost = 30, 180
)

// Options are what an index is made of. Log and DB are needed.
type Options struct {
	Log zerolog.Logger
	DB  *state.DB
	Now func() time.Time // [time.Now]
}

// Index is the index of all folders.
type Index struct {
	log zerolog.Logger
	db  *state.DB
	now func() time.Time
}

// New makes an index.
func New(o Options) *Index {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Index{log: o.Log, db: o.DB, now: o.Now}
}

// today is a day, since 1970.
func (x *Index) today() int64 { return x.now().Unix() / 86400 }

// Folder is what is known of one folder. Its methods may be called from any goroutine. The zero
// value knows nothing at first, and keeps nothing on a disk.
type Folder struct {
	index    *Index
	key      folder.Key
	octets   []byte
	sizeKind string // of one form of rendering by one renderer
	sizeForm string // the same without the renderer

	mu      sync.Mutex
	uidls   map[string]string   // by id; empty: looked at
	taken   map[string]struct{} // unique-ids that some id has, or had
	sizes   map[uint64]int64    // by the id's hash
	learnt  map[uint64]int64    // of these, what is not written yet
	batches int                 // of sizes
	unused  bool                // so its row says
	waiting []pending
}

// Open reads what is known of a folder, and what was imported for it under the address of its
// account and its name; an empty importedAs: under none. Sizes are those under one form of
// rendering, which any text stands for, made by one version of the store's renderer; empty: the
// store renders nothing. Those of other versions are forgotten when this one's are written.
func (x *Index) Open(ctx context.Context, key, importedAs folder.Key, rendering, renderer string) (*Folder, error) {
	if importedAs == (folder.Key{}) {
		importedAs = key
	}
	f := &Folder{index: x, key: key, octets: key.Hash(), sizeKind: sizeKind(rendering, renderer), sizeForm: sizeKind(rendering, "")}
	rows, err := x.db.Query(ctx, `SELECT p.kind, p.entries, f.used FROM folder_parts AS p JOIN folders AS f ON f.key = p.folder
WHERE p.folder IN ($1, $5) AND p.kind IN ($2, $3, $4) ORDER BY p.kind, p.folder = $1, p.batch`, f.octets, kindUIDL, kindImport, f.sizeKind, importedAs.Hash())
	if err != nil {
		return nil, fmt.Errorf("the index: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		var octets []byte
		var used int64
		if err := rows.Scan(&kind, &octets, &used); err != nil {
			return nil, fmt.Errorf("the index: %w", err)
		}
		f.unused = x.today()-used > usedEvery
		if err := f.take(kind, octets); err != nil {
			return nil, fmt.Errorf("the index of %s: %w", key.Account, err)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("the index: %w", err)
	}
	return f, nil
}

// sizeKind is the kind of the sizes under one form of rendering by one version of a renderer.
func sizeKind(rendering, renderer string) string {
	kind := strings.TrimSuffix(kindSize+" "+rendering, " ")
	if renderer != "" {
		kind += rendererMark + renderer
	}
	return kind
}

// rendererMark parts the form of rendering from the renderer's version in a kind of sizes.
const rendererMark = " by "

// take adds a batch to what is known.
func (f *Folder) take(kind string, octets []byte) error {
	e := read(octets)
	switch kind {
	case kindUIDL:
		f.expect(len(octets) / leastUIDL)
		for e.more() {
			f.keep(e.text(), e.text())
		}
	case kindImport:
		for e.more() {
			f.waiting = append(f.waiting, e.pending())
		}
	default:
		if f.sizes == nil {
			f.sizes = make(map[uint64]int64, len(octets)/10)
		}
		f.batches++
		for e.more() {
			hash := e.hash()
			f.sizes[hash] = int64(e.number())
		}
	}
	return e.err
}

// leastUIDL is about how many octets an entry with a unique-id has at the least.
const leastUIDL = 50

// expect makes room, once: growing takes longer than filling.
func (f *Folder) expect(uidls int) {
	if f.uidls == nil {
		f.uidls, f.taken = make(map[string]string, uidls), make(map[string]struct{}, uidls)
	}
}

func (f *Folder) keep(id, uidl string) {
	f.expect(0)
	f.uidls[id] = uidl
	if uidl != "" {
		f.taken[uidl] = struct{}{}
	}
}

// HasUIDLs says whether UIDL and Taken can say anything.
func (f *Folder) HasUIDLs() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.uidls) > 0
}

// UIDL is the unique-id that a message was given, and whether there is one.
func (f *Folder) UIDL(id string) (uidl string, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	uidl = f.uidls[id]
	return uidl, uidl != ""
}

// Taken says whether some message has, or had, this unique-id by UIDL.
func (f *Folder) Taken(uidl string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, taken := f.taken[uidl]
	return taken
}

// Pin gives messages unique-ids for ever. It returns when they are on the disk.
func (f *Folder) Pin(ctx context.Context, uidls map[string]string) error {
	if len(uidls) == 0 {
		return nil
	}
	b := newBatch()
	for id, uidl := range uidls {
		b.text(id)
		b.text(uidl)
	}
	if err := f.index.append(ctx, f.key, f.octets, kindUIDL, b); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, uidl := range uidls {
		f.keep(id, uidl)
	}
	return nil
}

// HasSizes says whether Size can say anything.
func (f *Folder) HasSizes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sizes) > 0
}

// Size is the exact size of a message that was rendered before.
func (f *Folder) Size(id string) (octets int64, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	octets, known = f.sizes[hashOf(id)]
	return octets, known
}

// Learn keeps an exact size until the next Flush, and says how many it has kept.
func (f *Folder) Learn(id string, octets int64) (waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hash := hashOf(id)
	if known, is := f.sizes[hash]; is && known == octets {
		return len(f.learnt)
	}
	if f.sizes == nil {
		f.sizes = make(map[uint64]int64)
	}
	if f.learnt == nil {
		f.learnt = make(map[uint64]int64)
	}
	f.sizes[hash], f.learnt[hash] = octets, octets
	return len(f.learnt)
}

// Flush writes the sizes that were learnt. Once a folder has many batches they become one, with
// the sizes of those messages that are there: ids yields them all.
func (f *Folder) Flush(ctx context.Context, ids func(yield func(id string) bool)) error {
	f.mu.Lock()
	learnt, batches := f.learnt, f.batches
	unused := f.unused
	f.learnt, f.unused = nil, false
	f.mu.Unlock()
	if len(learnt) == 0 {
		if unused {
			return f.index.append(ctx, f.key, f.octets, f.sizeKind, nil)
		}
		return nil
	}
	if batches == 0 {
		if err := f.forgetOtherRenderers(ctx); err != nil {
			return err
		}
	}
	together := batches >= batchesMost && ids != nil
	if together {
		learnt = f.present(ids)
	}
	b := newBatch()
	for hash, octets := range learnt {
		b.hash(hash)
		b.number(uint64(octets))
	}
	var err error
	if together {
		batches, err = 0, f.index.replace(ctx, f.key, f.octets, f.sizeKind, b)
	} else {
		err = f.index.append(ctx, f.key, f.octets, f.sizeKind, b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = batches + 1
	return err
}

// forgetOtherRenderers removes the sizes under this form of rendering that another version of the
// store's renderer has made.
func (f *Folder) forgetOtherRenderers(ctx context.Context) error {
	return f.index.write(ctx, func(tx *state.Tx) error {
		made := f.sizeForm + rendererMark
		_, err := tx.Exec(`DELETE FROM folder_parts WHERE folder = $1 AND kind <> $2 AND (kind = $3 OR SUBSTR(kind, 1, $4) = $5)`,
			f.octets, f.sizeKind, f.sizeForm, len(made), made)
		return err
	})
}

// present are the sizes of the messages that are there.
func (f *Folder) present(ids func(yield func(id string) bool)) map[uint64]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	sizes := make(map[uint64]int64)
	for id := range ids {
		hash := hashOf(id)
		if octets, known := f.sizes[hash]; known {
			sizes[hash] = octets
		}
	}
	return sizes
}

// append adds a batch to a folder.
func (x *Index) append(ctx context.Context, key folder.Key, octets []byte, kind string, b batch) error {
	return x.write(ctx, func(tx *state.Tx) error { return x.put(tx, key, octets, kind, b) })
}

// replace puts a batch in place of all of its kind.
func (x *Index) replace(ctx context.Context, key folder.Key, octets []byte, kind string, b batch) error {
	return x.write(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec("DELETE FROM folder_parts WHERE folder = $1 AND kind = $2", octets, kind); err != nil {
			return err
		}
		return x.put(tx, key, octets, kind, b)
	})
}

func (x *Index) write(ctx context.Context, f func(*state.Tx) error) error {
	if x == nil {
		return nil // of a zero Folder
	}
	if err := x.db.Write(ctx, f); err != nil {
		return fmt.Errorf("the index: %w", err)
	}
	return nil
}

// put writes a batch, and the folder's row, which says when it was used last.
func (x *Index) put(tx *state.Tx, key folder.Key, octets []byte, kind string, b batch) error {
	_, err := tx.Exec(`INSERT INTO folders (key, store, account, folder, used) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key) DO UPDATE SET used = excluded.used`, octets, key.Store, key.Account, key.Folder, x.today())
	if err != nil || len(b) <= 1 {
		return err
	}
	_, err = tx.Exec(`INSERT INTO folder_parts (folder, kind, batch, made, entries)
VALUES ($1, $2, (SELECT COALESCE(MAX(batch), 0) + 1 FROM folder_parts WHERE folder = $1 AND kind = $2), $3, $4)`, octets, kind, x.now().Unix(), []byte(b))
	return err
}
