package queue

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
)

// changeMost bounds what a change is asked with, in octets.
const changeMost = 64 << 10

// partTime is how long a part of a content may take to be read by whoever has asked for it.
const partTime = 30 * time.Second

// Handler answers for a queue by HTTP. What it answers is JSON, but for contents; errors are {"error": text}
// with 400 (what was asked is wrong), 404, or 503.
//
//	GET  /queue/messages?after=&most=&id=&key=&destination=&recipient=&sender=&state=   a [Page]
//	GET  /queue/messages/{name}           a [Message]
//	GET  /queue/messages/{id}/content     its octets
//	GET  /queue/stats?most=               a list of [Statistic]
//	POST /queue/change                    a [Change] for a [Step]
//
// It asks for no login: whoever can reach it may do all of this.
func Handler(log zerolog.Logger, q Queue) http.Handler {
	h := handler{log, q}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /queue/messages", h.list)
	mux.HandleFunc("GET /queue/messages/{name}", h.show)
	mux.HandleFunc("GET /queue/messages/{id}/content", h.content)
	mux.HandleFunc("GET /queue/stats", h.stats)
	mux.HandleFunc("POST /queue/change", h.change)
	return mux
}

type handler struct {
	log   zerolog.Logger
	queue Queue
}

func (h handler) list(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	page, err := h.queue.List(r.Context(), Filter{
		ID: v.Get("id"), Key: v.Get("key"), Destination: v.Get("destination"), Recipient: v.Get("recipient"),
		Sender: v.Get("sender"), States: v["state"],
	}, v.Get("after"), number(v.Get("most"), PageMost))
	h.answer(w, page, err)
}

func (h handler) show(w http.ResponseWriter, r *http.Request) {
	m, err := h.queue.Show(r.Context(), r.PathValue("name"))
	h.answer(w, m, err)
}

func (h handler) stats(w http.ResponseWriter, r *http.Request) {
	stats, err := h.queue.Stats(r.Context(), number(r.URL.Query().Get("most"), StatsMost))
	h.answer(w, stats, err)
}

func (h handler) change(w http.ResponseWriter, r *http.Request) {
	var c Change
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, changeMost))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		h.answer(w, nil, &ArgumentError{"the change cannot be read: " + err.Error()})
		return
	}
	step, err := h.queue.Change(r.Context(), c)
	h.answer(w, step, err)
}

// content sends the octets of a message. If they cannot be read to their end the connection ends without one.
func (h handler) content(w http.ResponseWriter, r *http.Request) {
	content, err := h.queue.Open(r.Context(), r.PathValue("id"))
	if err != nil {
		h.answer(w, nil, err)
		return
	}
	defer content.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	if _, err := io.Copy(paced{w, http.NewResponseController(w)}, struct{ io.Reader }{content}); err != nil {
		h.log.Warn().Err(err).Str("message", r.PathValue("id")).Msg("a message in transit could not be handed to an administrator")
		panic(http.ErrAbortHandler)
	}
}

// paced gives each part of an answer its own time.
type paced struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (p paced) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(partTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

// number is a number of a query; otherwise: a usual one.
func number(text string, usual int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return usual
}

func (h handler) answer(w http.ResponseWriter, what any, err error) {
	if err := admin.Answer(w, statusOf(err), what, err); err != nil {
		h.log.Debug().Err(err).Msg("an administrator does not read the answer")
	}
}

func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if _, wrong := errors.AsType[*ArgumentError](err); wrong {
		return http.StatusBadRequest
	}
	if errors.Is(err, ErrNotFound) {
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}
