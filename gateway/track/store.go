package track

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// Event is an event of a message's life: fields that most of the log's events have (gateway/events/README.md), and
// the whole line.
type Event struct {
	At   time.Time `json:"-"` // when it was logged
	Node string    `json:"-"` // by which gateway
	// Line is the event as the log has it, a JSON object.
	Line json.RawMessage `json:"-"`

	Event       string    `json:"event"`
	Protocol    string    `json:"protocol"`
	Remote      string    `json:"remote"`
	Transaction string    `json:"transaction"`
	Key         string    `json:"key"`
	MessageID   string    `json:"message_id"`
	From        string    `json:"from"`
	Recipient   string    `json:"recipient"`
	Recipients  int       `json:"recipients"`
	Store       string    `json:"store"`
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	Outcome     string    `json:"outcome"`
	Action      string    `json:"action"`
	Code        int       `json:"code"`
	Enhanced    string    `json:"enhanced"`
	Reply       string    `json:"reply"`
	Server      string    `json:"server"`
	Diagnostic  string    `json:"diagnostic"`
	Cause       string    `json:"cause"`
	Folder      string    `json:"folder"`
	StoredAs    string    `json:"stored_as"`
	FallBack    string    `json:"fall_back"`
	Report      string    `json:"report"`
	Next        time.Time `json:"next"`
	Octets      int64     `json:"octets"`
}

func parse(line []byte) (e Event, err error) {
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("an event cannot be read: %w", err)
	}
	e.Line = line
	return e, nil
}

// names are what the event is looked for by.
func (e *Event) names() []string {
	return []string{e.Transaction, e.Key, e.MessageID, e.From, e.Recipient}
}

// fold makes one of the spellings of a name.
func fold(name string) string { return strings.ToLower(name) }

func hash(name string) uint32 {
	sum := sha256.Sum256([]byte(fold(name)))
	return binary.BigEndian.Uint32(sum[:])
}

// record is an event that is to be kept.
type record struct {
	at    int64 // when it was logged, in microseconds since 1970
	line  []byte
	names []string // that it is looked for by
}

// pack is what the database keeps of a batch of events: hashes of their names, and their lines.
func pack(all []record, w *flate.Writer) (names, events []byte, err error) {
	var hashes []uint32
	var deflated bytes.Buffer
	var stamp []byte
	w.Reset(&deflated)
	for _, r := range all {
		for _, name := range r.names {
			if name != "" {
				hashes = append(hashes, hash(name))
			}
		}
		stamp = append(strconv.AppendInt(stamp[:0], r.at, 10), ' ')
		for _, part := range [][]byte{stamp, r.line, newline} {
			if _, err := w.Write(part); err != nil {
				return nil, nil, err
			}
		}
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	names = make([]byte, 0, 4*len(hashes))
	for _, h := range hashes {
		names = binary.BigEndian.AppendUint32(names, h)
	}
	err = w.Close()
	return names, deflated.Bytes(), err
}

var newline = []byte("\n")

// batchMost bounds a batch that is unpacked, in octets.
const batchMost = batch * (lineMost + 32)

// unpack calls f with the events of a batch. One that cannot be read costs only itself, and what is behind damage.
func unpack(events []byte, node string, f func(Event)) {
	lines := bufio.NewScanner(io.LimitReader(flate.NewReader(bytes.NewReader(events)), batchMost))
	lines.Buffer(nil, lineMost+64)
	for lines.Scan() {
		at, line, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		when, err := strconv.ParseInt(string(at), 10, 64)
		if err != nil {
			continue
		}
		if e, err := parse(bytes.Clone(line)); err == nil {
			e.At, e.Node = time.UnixMicro(when), node
			f(e)
		}
	}
}

// hasAny says whether packed names have one of some hashes.
func hasAny(names []byte, wanted []uint32) bool {
	for _, w := range wanted {
		n := sort.Search(len(names)/4, func(i int) bool { return binary.BigEndian.Uint32(names[4*i:]) >= w })
		if n < len(names)/4 && binary.BigEndian.Uint32(names[4*n:]) == w {
			return true
		}
	}
	return false
}

// insert writes a batch. With a shared database it does not wait for the disk.
func insert(ctx context.Context, db *state.DB, node string, all []record, w *flate.Writer) error {
	names, events, err := pack(all, w)
	if err != nil {
		return err
	}
	first, last := all[0].at, all[len(all)-1].at
	statements := func(exec func(query string, args ...any) error) error {
		if err := exec("INSERT INTO track (first, node, last, names) VALUES ($1, $2, $3, $4)", first, node, last, names); err != nil {
			return err
		}
		return exec("INSERT INTO track_events (first, node, events) VALUES ($1, $2, $3)", first, node, events)
	}
	if quick := db.Quick(); quick != nil {
		tx, err := quick.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it may have been committed
		if err := statements(func(query string, args ...any) error {
			_, err := tx.ExecContext(ctx, query, args...)
			return err
		}); err != nil {
			return err
		}
		return tx.Commit()
	}
	return db.Write(ctx, func(tx *state.Tx) error {
		return statements(func(query string, args ...any) error {
			_, err := tx.Exec(query, args...)
			return err
		})
	})
}

// Tasks forget what is older than keep says.
func Tasks(db *state.DB, keep func() time.Duration) []state.Task {
	return []state.Task{{Name: "events of messages long ago", Do: func(ctx context.Context, most int) (rows int64, err error) {
		before := time.Now().Add(-keep()).UnixMicro()
		err = db.Write(ctx, func(tx *state.Tx) error {
			if _, err := tx.Exec(`DELETE FROM track_events WHERE (first, node) IN (
SELECT first, node FROM track WHERE first < $1 AND last < $1 ORDER BY first, node LIMIT $2)`, before, most); err != nil {
				return err
			}
			// Not the same query again: with PostgreSQL another gateway may have deleted what that had found, and then
			// it would find others, whose events nothing would ever lead to.
			rows, err = tx.Exec(`DELETE FROM track WHERE (first, node) IN (
SELECT first, node FROM track WHERE first < $1 AND last < $1 AND NOT EXISTS (
	SELECT 1 FROM track_events WHERE track_events.first = track.first AND track_events.node = track.node)
ORDER BY first, node LIMIT $2)`, before, most)
			return err
		})
		return rows, err
	}}}
}
