//go:build linux

package jmap_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/jmap"
)

// outbox makes of a fake server one that sends: it imports messages, submits them, and keeps its
// submissions.
type outbox struct {
	*fake
	refuse  func(to []string) map[string]any // a SetError, nil: it is taken
	forgets bool                             // submissions, as soon as they are made
	pending bool                             // what is kept is not done with
	deaf    bool                             // to the questions about submissions
	drops   int                              // answers to submissions that never arrive, once they were made
	twice   bool                             // the same message can be imported again (RFC 8621 §4.8)
	loose   bool                             // a filter is not obeyed: all that there is is found
	fails   map[string]string                // what becomes of recipients later, by address: an SMTP reply
	listed  int                              // submissions that one answer lists at the most

	blob        string              // what was uploaded last
	drafts      map[string]*message // by id
	submissions []map[string]any
	sent        map[string]int // copies by recipient
	boxes       []any
}

type message struct {
	content  string
	keywords map[string]bool
	boxes    map[string]bool
}

func startOutbox(t *testing.T) *outbox {
	t.Helper()
	o := &outbox{fake: startFake(t), drafts: make(map[string]*message), sent: make(map[string]int), refuse: func([]string) map[string]any { return nil }}
	o.boxes = []any{
		map[string]any{"id": "in", "name": "Inbox", "role": "inbox"},
		map[string]any{"id": "drafts", "name": "Drafts", "role": "drafts"},
		map[string]any{"id": "out", "name": "Sent", "role": "sent"},
	}
	o.paths["upload"] = func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		o.mu.Lock()
		o.blob = string(content)
		o.mu.Unlock()
		fmt.Fprintf(w, `{"blobId": "B1", "size": %d}`, len(content))
	}
	for name, method := range map[string]func(map[string]any) any{
		"Mailbox/get":           func(map[string]any) any { return map[string]any{"list": o.boxes} },
		"Email/import":          o.importing,
		"Email/query":           o.withKey,
		"Email/get":             o.describe,
		"Email/set":             o.change,
		"EmailSubmission/set":   o.submit,
		"EmailSubmission/query": o.find,
		"EmailSubmission/get":   o.show,
	} {
		o.methods[name] = func(arguments map[string]any) (any, bool) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.deaf && (name == "EmailSubmission/query" || name == "EmailSubmission/get") {
				return map[string]any{"type": "unknownMethod"}, false
			}
			return method(arguments), true
		}
	}
	return o
}

func (o *outbox) importing(arguments map[string]any) any {
	m := arguments["emails"].(map[string]any)["m"].(map[string]any)
	for id, other := range o.drafts {
		if other.content == o.blob && !o.twice {
			return map[string]any{"notCreated": map[string]any{"m": map[string]any{"type": "alreadyExists", "existingId": id}}}
		}
	}
	id := fmt.Sprintf("E%d", len(o.drafts)+1)
	o.drafts[id] = &message{o.blob, truths(m["keywords"]), truths(m["mailboxIds"])}
	return map[string]any{"created": map[string]any{"m": map[string]any{"id": id}}}
}

func truths(from any) map[string]bool {
	set := make(map[string]bool)
	for name := range from.(map[string]any) {
		set[name] = true
	}
	return set
}

// withKey finds what contains the text, as RFC 8621 §4.4.1 has it.
func (o *outbox) withKey(arguments map[string]any) any {
	header := arguments["filter"].(map[string]any)["header"].([]any)
	ids := []any{}
	for id, m := range o.drafts {
		if o.loose {
			ids = append(ids, id)
		} else if value, ok := field(m.content, header[0].(string)); ok && strings.Contains(value, header[1].(string)) {
			ids = append(ids, id)
		}
	}
	return map[string]any{"ids": ids, "total": len(ids)}
}

func field(content, name string) (value string, ok bool) {
	_, value, ok = strings.Cut("\n"+content, "\n"+name+":")
	value, _, _ = strings.Cut(value, "\r\n")
	return value, ok
}

func (o *outbox) describe(arguments map[string]any) any {
	list := []any{}
	for _, id := range arguments["ids"].([]any) {
		m := o.drafts[id.(string)]
		keys := []string{}
		if value, ok := field(m.content, "Dipylon-Delivery-Key"); ok {
			keys = append(keys, value)
		}
		list = append(list, map[string]any{"id": id, "keywords": m.keywords, "mailboxIds": m.boxes, "header:Dipylon-Delivery-Key:all": keys})
	}
	return map[string]any{"list": list}
}

func (o *outbox) change(arguments map[string]any) any {
	destroy, _ := arguments["destroy"].([]any)
	for _, id := range destroy {
		delete(o.drafts, id.(string))
	}
	update, _ := arguments["update"].(map[string]any)
	for id, patch := range update {
		o.patch(id, patch.(map[string]any))
	}
	return map[string]any{}
}

func (o *outbox) patch(id string, patch map[string]any) {
	if boxes, ok := patch["mailboxIds"]; ok {
		o.drafts[id].boxes = truths(boxes)
	}
	delete(o.drafts[id].keywords, "$draft")
}

func (o *outbox) submit(arguments map[string]any) any {
	s := arguments["create"].(map[string]any)["s"].(map[string]any)
	email := s["emailId"].(string)
	var to []string
	for _, r := range s["envelope"].(map[string]any)["rcptTo"].([]any) {
		to = append(to, r.(map[string]any)["email"].(string))
	}
	if o.drafts[email] == nil {
		return map[string]any{"notCreated": map[string]any{"s": map[string]any{"type": "emailNotFound"}}}
	}
	if refusal := o.refuse(to); refusal != nil {
		return map[string]any{"notCreated": map[string]any{"s": refusal}}
	}
	for _, r := range to {
		o.sent[r]++
	}
	status := "final"
	if o.pending {
		status = "pending"
	}
	id := fmt.Sprintf("S%d", len(o.submissions)+1)
	if !o.forgets {
		o.submissions = append(o.submissions, map[string]any{"id": id, "emailId": email, "envelope": s["envelope"], "undoStatus": status})
	}
	if after, ok := arguments["onSuccessUpdateEmail"].(map[string]any); ok {
		o.patch(email, after["#s"].(map[string]any))
	}
	if _, ok := arguments["onSuccessDestroyEmail"]; ok {
		delete(o.drafts, email)
	}
	if o.drops > 0 {
		o.drops--
		return "lost" // an answer that cannot be read
	}
	return map[string]any{"created": map[string]any{"s": map[string]any{"id": id}}}
}

func (o *outbox) find(arguments map[string]any) any {
	ids := []any{}
	for _, s := range o.submissions {
		if slices.Contains(arguments["filter"].(map[string]any)["emailIds"].([]any), s["emailId"]) {
			ids = append(ids, s["id"])
		}
	}
	if o.listed > 0 && len(ids) > o.listed {
		return map[string]any{"ids": ids[:o.listed], "limit": o.listed}
	}
	return map[string]any{"ids": ids}
}

func (o *outbox) show(arguments map[string]any) any {
	list := []any{}
	for _, s := range o.submissions {
		if slices.Contains(arguments["ids"].([]any), s["id"]) {
			status := make(map[string]any)
			for who, reply := range o.fails {
				status[who] = map[string]any{"delivered": "no", "smtpReply": reply}
			}
			s["deliveryStatus"] = status
			list = append(list, s)
		}
	}
	return map[string]any{"list": list}
}

// copies tells how many each recipient was sent: "ada 1, bob 0".
func (o *outbox) copies(to ...string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, r := range to {
		name, _, _ := strings.Cut(r, "@")
		all = append(all, fmt.Sprintf("%s %d", name, o.sent[r]))
	}
	return strings.Join(all, ", ")
}

// kept tells what is in the account: the keywords and mailboxes of each message.
func (o *outbox) kept() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, m := range o.drafts {
		for box := range m.boxes {
			state := "sent"
			if m.keywords["$draft"] {
				state = "draft"
			}
			all = append(all, state+" in "+box)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// send sends and tells the kinds of the verdicts: "ok, temporary".
func (o *outbox) send(t *testing.T, s *jmap.Store, d backends.Delivery) string {
	t.Helper()
	d.From = user
	verdicts, err := s.Send(t.Context(), ada(), d, strings.NewReader(letter("x")))
	if err != nil {
		return "as a whole " + backends.KindOf(err).String()
	}
	var all []string
	for i, v := range verdicts {
		if v.Recipient != d.Recipients[i].Address {
			t.Errorf("verdict %d is on %s", i, v.Recipient)
		}
		kind := "ok"
		if v.Failure != nil {
			kind = v.Failure.Kind.String()
		}
		all = append(all, kind)
	}
	return strings.Join(all, ", ")
}

// defers refuses a submission that has this recipient, as Cyrus does for one who is deferred.
func defers(who *string) func([]string) map[string]any {
	return func(to []string) map[string]any {
		if slices.Contains(to, *who) {
			return map[string]any{"type": "smtpProtocolError", "description": "451 4.2.1 not now"}
		}
		return nil
	}
}
