package serve

import (
	"bytes"
	"encoding/json"
	"io"
	"os"

	"github.com/rs/zerolog"
)

// stderr is the process's own standard error: go-plugin puts another file into os.Stderr.
var stderr = os.Stderr

// Logger writes to the process's standard error, one JSON object a line, with the field names
// that the gateway takes up: @level, @message and @timestamp. The gateway decides what becomes
// of the levels, adds the store's name, and cuts lines of more than 8 KiB.
func Logger() zerolog.Logger {
	return zerolog.New(&lineWriter{w: stderr}).With().Timestamp().Logger()
}

// lineWriter gives zerolog's lines the field names of the plugin log. zerolog has its names in
// package variables, which are not this package's to change.
type lineWriter struct{ w io.Writer }

var lineNames = map[string]string{
	zerolog.LevelFieldName:     "@level",
	zerolog.MessageFieldName:   "@message",
	zerolog.TimestampFieldName: "@timestamp",
}

func (l *lineWriter) Write(p []byte) (int, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(p, &fields) != nil {
		return l.w.Write(p)
	}
	for from, to := range lineNames {
		if v, ok := fields[from]; ok {
			delete(fields, from)
			fields[to] = v
		}
	}
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(fields); err != nil {
		return l.w.Write(p)
	}
	if _, err := l.w.Write(line.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
