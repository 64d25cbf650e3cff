//go:build linux

package harness

import (
	"bufio"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Entry is a line of the gateway's log.
type Entry struct {
	Text   string         // the line
	Fields map[string]any // nil where the line is no JSON object
}

// Field is a field as text; empty where it is not there or no text.
func (e Entry) Field(name string) string {
	s, _ := e.Fields[name].(string)
	return s
}

// Log collects a process's log. It may be read while it grows.
type Log struct {
	mu      sync.Mutex
	entries []Entry
	grown   chan struct{} // closed and made anew with each line
	ended   bool
}

func newLog() *Log { return &Log{grown: make(chan struct{})} }

// collect reads lines until the process has closed its end.
func (l *Log) collect(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			l.add(strings.TrimSuffix(line, "\n"))
		}
		if err != nil {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.grown)
}

func (l *Log) add(line string) {
	entry := Entry{Text: line}
	if json.Unmarshal([]byte(line), &entry.Fields) != nil {
		entry.Fields = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	close(l.grown)
	l.grown = make(chan struct{})
}

// Len is the number of lines so far: a place from which to look on.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// Since are the lines from that place on.
func (l *Log) Since(place int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[place:len(l.entries):len(l.entries)]
}

// Has says whether a line holds this text.
func (l *Log) Has(text string) bool {
	return slices.ContainsFunc(l.Since(0), func(e Entry) bool { return strings.Contains(e.Text, text) })
}

// find waits for a line that is wanted, from a place on. It says no when the log has ended or
// the time is up.
func (l *Log) find(place int, within time.Duration, wanted func(Entry) bool) (Entry, bool) {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		entries, grown, ended := l.entries, l.grown, l.ended
		l.mu.Unlock()
		for ; place < len(entries); place++ {
			if wanted(entries[place]) {
				return entries[place], true
			}
		}
		if ended {
			return Entry{}, false
		}
		select {
		case <-grown:
		case <-timeout.C:
			return Entry{}, false
		}
	}
}

// Wait waits for a line that holds all of these texts, from a place on, and ends the test when
// none comes.
func (l *Log) Wait(t *testing.T, place int, texts ...string) Entry {
	t.Helper()
	entry, ok := l.find(place, patience, func(e Entry) bool {
		for _, text := range texts {
			if !strings.Contains(e.Text, text) {
				return false
			}
		}
		return true
	})
	if !ok {
		t.Fatalf("the log has no line with %q", texts)
	}
	return entry
}

// tail is the end of the log as text.
func (l *Log) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := max(0, len(l.entries)-lines)
	var b strings.Builder
	for _, e := range l.entries[from:] {
		b.WriteString(e.Text)
		b.WriteByte('\n')
	}
	return b.String()
}
