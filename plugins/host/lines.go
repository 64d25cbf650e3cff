package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/plugins/proto/convert"
)

// Bounds of what a plugin may put into the gateway's log.
const (
	lineMost     = 8 << 10     // octets of one line; the rest of a longer one is dropped
	messageMost  = 4 << 10     // octets of its text
	fieldsMost   = 24          // fields of a JSON line
	fieldMost    = 1 << 10     // octets of one field
	fieldKeyMost = 40          // octets of a field's name
	linesBurst   = 1000        // lines at once
	linesPerSec  = 200         // lines a second in the long run
	traceGap     = time.Second // between two lines of a stack trace
	droppedGap   = time.Minute // between two lines that say that lines were dropped
)

// lines takes up what a plugin writes to its outputs: it is split into lines, bounded in
// length and in rate, and written to the gateway's log. Nothing in it is trusted: it may be
// JSON of any shape, or no text at all. What exceeds the rate is counted and not looked at.
type lines struct {
	log zerolog.Logger
	now func() time.Time

	mu       sync.Mutex
	crashing time.Time // until when plain lines count as a stack trace
	tokens   float64
	refilled time.Time
	dropped  int
	told     time.Time   // when it was last told that lines were dropped
	notice   *time.Timer // tells it of a plugin that writes no more
	ended    bool
	last     recent
}

func newLines(log zerolog.Logger) *lines {
	return &lines{log: log, now: time.Now, tokens: linesBurst}
}

// stream is one output of the plugin. Lines of two outputs are not mixed up.
func (l *lines) stream() *lineStream { return &lineStream{to: l} }

type lineStream struct {
	to      *lines
	partial []byte
	cut     bool // the rest of a long line is being dropped
}

// Write never fails.
func (s *lineStream) Write(p []byte) (int, error) {
	n := len(p)
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	s.to.refill()
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			break
		}
		if s.to.tokens < 1 {
			p = s.skip(p)
			break
		}
		s.add(p[:end])
		s.end()
		p = p[end+1:]
	}
	s.add(p)
	return n, nil
}

// skip drops all the lines that end in p, and returns the rest.
func (s *lineStream) skip(p []byte) []byte {
	last := bytes.LastIndexByte(p, '\n') + 1
	s.to.drop(bytes.Count(p[:last], newline))
	s.to.last.add(s.partial)
	s.to.last.add(p[:last])
	s.partial, s.cut = s.partial[:0], false
	return p[last:]
}

var newline = []byte{'\n'}

func (s *lineStream) add(piece []byte) {
	room := lineMost - len(s.partial)
	if len(piece) > room {
		piece, s.cut = piece[:room], true
	}
	s.partial = append(s.partial, piece...)
}

// flush logs the line that is under way, without its end.
func (s *lineStream) flush() {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	s.to.refill()
	s.end()
}

// end takes up the line that is under way. s.to.mu is held.
func (s *lineStream) end() {
	if len(s.partial) > 0 {
		s.to.last.add(s.partial)
		s.to.last.add(newline)
		s.to.line(s.partial, s.cut)
	}
	s.partial, s.cut = s.partial[:0], false
}

// line takes up one line. l.mu is held.
func (l *lines) line(line []byte, cut bool) {
	if l.tokens < 1 {
		l.drop(1)
		return
	}
	l.tokens--
	l.tellDropped()
	entry, ok := parseLine(line)
	if !ok {
		entry = l.plain(string(line))
	}
	event := l.log.WithLevel(entry.level)
	if cut {
		event.Bool("truncated", true)
	}
	if len(entry.fields) > 0 {
		event.Dict("fields", entry.dict())
	}
	event.Msg(entry.message)
}

// drop counts lines that are not logged. l.mu is held.
func (l *lines) drop(n int) {
	l.dropped += n
	if l.dropped > 0 && l.notice == nil && !l.ended {
		l.notice = time.AfterFunc(droppedGap, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.notice = nil
			l.tellDropped()
		})
	}
}

// tellDropped says how many lines were dropped since it last did, once in a while. l.mu is held.
func (l *lines) tellDropped() {
	if now := l.now(); l.dropped > 0 && (l.ended || l.told.IsZero() || now.Sub(l.told) >= droppedGap) {
		l.log.Warn().Int("lines", l.dropped).Msg("the plugin writes too much: lines were dropped")
		l.dropped, l.told = 0, now
	}
}

// end is called when the plugin has ended.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.notice != nil {
		l.notice.Stop()
	}
	l.tellDropped()
}

// refill adds to the bucket what time has brought. l.mu is held.
func (l *lines) refill() {
	now := l.now()
	if !l.refilled.IsZero() {
		l.tokens = min(linesBurst, l.tokens+now.Sub(l.refilled).Seconds()*linesPerSec)
	}
	l.refilled = now
}

// tail is the last that the plugin said, for the one who has to explain its end.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.words()
}

// logLine is one line as understood.
type logLine struct {
	level   zerolog.Level
	message string
	fields  map[string]json.RawMessage
}

// parseLine reads a line in the form that serve.Logger writes: a JSON object with @message and
// @level. Without a text in @message it is not one.
func parseLine(line []byte) (logLine, bool) {
	if len(line) == 0 || line[0] != '{' {
		return logLine{}, false
	}
	var fields map[string]json.RawMessage
	var message, level string
	if json.Unmarshal(line, &fields) != nil || json.Unmarshal(fields["@message"], &message) != nil {
		return logLine{}, false
	}
	if json.Unmarshal(fields["@level"], &level) != nil {
		level = ""
	}
	for _, own := range []string{"@message", "@level", "@timestamp", "@module"} {
		delete(fields, own)
	}
	return logLine{level: levelOf(level), message: convert.Line(message, messageMost), fields: fields}, true
}

// levelOf: what ends the plugin is an error of the gateway's, not its end.
func levelOf(name string) zerolog.Level {
	switch strings.ToLower(name) {
	case "trace":
		return zerolog.TraceLevel
	case "debug":
		return zerolog.DebugLevel
	case "warn", "warning":
		return zerolog.WarnLevel
	case "error", "fatal", "panic", "critical":
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
}

// plain takes a line of some other form. What follows the first line of a crash belongs to it.
func (l *lines) plain(line string) logLine {
	starts := strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") ||
		strings.HasPrefix(line, "Traceback (most recent call last)")
	level := zerolog.InfoLevel
	if now := l.now(); starts || now.Before(l.crashing) {
		l.crashing = now.Add(traceGap)
		level = zerolog.ErrorLevel
	}
	return logLine{level: level, message: convert.Line(line, messageMost)}
}

// dict bounds the fields and makes their names and texts printable. They stand in a field of
// their own, where none of them can pass for one of the gateway's.
func (e logLine) dict() *zerolog.Event {
	d := zerolog.Dict()
	for i, key := range slices.Sorted(maps.Keys(e.fields)) {
		if i == fieldsMost {
			break
		}
		name := convert.Line(key, fieldKeyMost)
		var value any
		if json.Unmarshal(e.fields[key], &value) != nil {
			continue
		}
		switch v := value.(type) {
		case string:
			d.Str(name, convert.Line(v, fieldMost))
		case float64:
			d.Float64(name, v)
		case bool:
			d.Bool(name, v)
		case nil:
		default:
			d.Str(name, convert.Line(fmt.Sprint(v), fieldMost))
		}
	}
	return d
}
