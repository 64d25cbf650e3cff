package track

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/state"
)

// Told is a message as programs are told of it.
type Told struct {
	Events []ToldEvent `json:"events"`
}

// ToldEvent is an event as the log has it, and when and by which gateway it was logged.
type ToldEvent struct {
	At   time.Time       `json:"at"`
	Node string          `json:"node"`
	Line json.RawMessage `json:"line"`
}

// Tell is a message for programs.
func (m Message) Tell() Told {
	t := Told{Events: make([]ToldEvent, len(m.Events))}
	for i, e := range m.Events {
		t.Events[i] = ToldEvent{e.At, e.Node, e.Line}
	}
	return t
}

// message is the reverse of Tell.
func (t Told) message() (m Message, err error) {
	for _, e := range t.Events {
		event, err := parse(e.Line)
		if err != nil {
			return m, err
		}
		event.At, event.Node = e.At, e.Node
		m.Events = append(m.Events, event)
	}
	return m, nil
}

// answer is a [Result] on its way.
type answer struct {
	Messages []Told `json:"messages"`
	More     bool   `json:"more"`
}

// Handler answers GET /track?name=&since=&until= with {"messages": [{"events": [{"at", "node", "line"}]}], "more"}; the times
// are those of RFC 3339. Errors are {"error": text} with 400 or 503.
func Handler(log zerolog.Logger, db *state.DB) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		var told answer
		q, err := queryOf(r.URL.Query())
		if err != nil {
			status = http.StatusBadRequest
		} else if told, err = tell(r.Context(), db, q); err != nil {
			status = http.StatusServiceUnavailable
		}
		if err := admin.Answer(w, status, told, err); err != nil {
			log.Debug().Err(err).Msg("an administrator does not read the answer")
		}
	})
}

func queryOf(v url.Values) (q Query, err error) {
	if q.Name = v.Get("name"); q.Name == "" {
		return q, errors.New("name says what is looked for, and is not there")
	}
	for key, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := v.Get(key); text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil {
				return q, errors.New(key + " is no time, as 2026-11-28T09:30:00Z")
			}
		}
	}
	return q, nil
}

func tell(ctx context.Context, db *state.DB, q Query) (told answer, err error) {
	r, err := Find(ctx, db, q)
	told = answer{make([]Told, len(r.Messages)), r.More}
	for i, m := range r.Messages {
		told.Messages[i] = m.Tell()
	}
	return told, err
}

// Ask has a running gateway look for messages.
func Ask(ctx context.Context, c *admin.Client, q Query) (r Result, err error) {
	v := url.Values{"name": {q.Name}}
	for key, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(key, t.Format(time.RFC3339Nano))
		}
	}
	var told answer
	if err := c.Get(ctx, "/track?"+v.Encode(), &told); err != nil {
		return r, err
	}
	r.More = told.More
	for _, t := range told.Messages {
		m, err := t.message()
		if err != nil {
			return r, err
		}
		r.Messages = append(r.Messages, m)
	}
	return r, nil
}
