package jmap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// answerMost bounds one API response: the largest is a page of a list.
const answerMost = 16 << 20

// call is one method call of a request (RFC 8620 §3.2). Its id is its place in the request.
type call struct {
	method    string
	arguments map[string]any
	into      any // what the response's arguments are read into
}

// request sends method calls in one request. Their responses are read, as they come, into the
// calls' into; the error is the first that one of them had. A request has no call after one that
// changes something.
func (s *session) request(ctx context.Context, calls ...call) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.store.settings.Timeout))
	defer cancel()
	return again(ctx, func() (bool, error) {
		err := s.requestOnce(ctx, calls)
		if errors.Is(err, errNoAnswer) && changesNothing(calls) && ctx.Err() == nil {
			err = s.requestOnce(ctx, calls) // a connection was lost: it is opened again once
		}
		return isMethodError(err, "accountNotFound"), err
	})
}

// again tries until it is not said to be away, some times and with a pause that grows.
//
// QUIRK: Cyrus says of an account into which it delivers that it does not exist, for a moment.
// Nothing has been done then, so whatever it was can be done again.
func again(ctx context.Context, try func() (away bool, err error)) error {
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		away, err := try()
		if !away || pause > 200*time.Millisecond {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *session) requestOnce(ctx context.Context, calls []call) error {
	r, err := s.resource(ctx)
	if err != nil {
		return err
	}
	what := calls[len(calls)-1].method
	body, err := s.encode(r, calls)
	if err != nil {
		return err
	}
	target, err := r.expand(r.APIURL, nil)
	if err != nil {
		return err
	}
	free, err := s.store.slots.take(ctx, "request "+s.account, r.Capabilities.Core.ConcurrentRequests)
	if err != nil {
		return err
	}
	defer free()
	response, err := s.store.do(ctx, s.credential, exchange{
		what: what, method: http.MethodPost, target: target, kind: "application/json", size: int64(len(body)), again: changesNothing(calls),
		content: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) },
	})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	state, err := readResponse(io.LimitReader(response.Body, answerMost), calls)
	s.heard(state)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return unanswered(what, cause)
	}
	return err
}

// encode makes a request of the calls, all of them for the session's account.
func (s *session) encode(r *resource, calls []call) ([]byte, error) {
	using := []string{coreCapability, mailCapability}
	methods := make([]any, len(calls))
	for i, c := range calls {
		if (strings.HasPrefix(c.method, "EmailSubmission/") || strings.HasPrefix(c.method, "Identity/")) && len(using) == 2 {
			using = append(using, submissionCapability)
		}
		c.arguments["accountId"] = s.account
		methods[i] = []any{c.method, c.arguments, strconv.Itoa(i)}
	}
	body, err := json.Marshal(map[string]any{"using": using, "methodCalls": methods})
	limits := r.Capabilities.Core
	switch {
	case err != nil:
		return nil, backends.Fail(backends.Temporary, "encode a request: %w", err)
	case int64(len(calls)) > limits.CallsInRequest:
		return nil, backends.Fail(backends.Unsupported, "the server takes %d method calls in a request, and %d are needed", limits.CallsInRequest, len(calls))
	case int64(len(body)) > limits.SizeRequest:
		return nil, backends.Fail(backends.Unsupported, "%w: the server takes %d octets, and %d are needed", errRequestTooLarge, limits.SizeRequest, len(body))
	}
	return body, nil
}

// errRequestTooLarge marks a request that was not sent, as it is larger than the server takes.
var errRequestTooLarge = errors.New("the request is too large")

func changesNothing(calls []call) bool {
	return !slices.ContainsFunc(calls, func(c call) bool {
		return !strings.HasSuffix(c.method, "/get") && !strings.HasSuffix(c.method, "/query")
	})
}

// reference makes a back-reference to an earlier call of the request (RFC 8620 §3.7).
func reference(call int, name, path string) map[string]any {
	return map[string]any{"resultOf": strconv.Itoa(call), "name": name, "path": path}
}

// readResponse reads a response object (RFC 8620 §3.4), one method response at a time. The error
// is the first that a method had, or what is wrong with the response itself.
func readResponse(body io.Reader, calls []call) (sessionState string, err error) {
	in := json.NewDecoder(body)
	answers := &answers{calls: calls, answered: make([]bool, len(calls))}
	err = members(in, func(name string) error {
		switch name {
		case "methodResponses":
			return elements(in, func() error { return answers.read(in) })
		case "sessionState":
			return in.Decode(&sessionState)
		}
		return in.Decode(new(json.RawMessage))
	})
	if err != nil {
		return sessionState, unanswered(calls[len(calls)-1].method+": the response cannot be read", err)
	}
	return sessionState, answers.err()
}

// members reads an object; each is called before a member's value.
func members(in *json.Decoder, each func(name string) error) error {
	if err := delimiter(in, '{'); err != nil {
		return err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return err
		}
		if err := each(name.(string)); err != nil { // a member's name is always a text
			return err
		}
	}
	return delimiter(in, '}')
}

// elements reads an array; each is called before an element.
func elements(in *json.Decoder, each func() error) error {
	if err := delimiter(in, '['); err != nil {
		return err
	}
	for in.More() {
		if err := each(); err != nil {
			return err
		}
	}
	return delimiter(in, ']')
}

func delimiter(in *json.Decoder, want json.Delim) error {
	token, err := in.Token()
	if err == nil && token != want {
		return errors.New("expected " + want.String())
	}
	return err
}

// answers are the method responses as they come.
type answers struct {
	calls    []call
	answered []bool
	failed   error
}

// read reads one method response: name, arguments, id of the call. The id comes last, and the
// responses in the order of the calls: the arguments belong to the first call not answered yet,
// if that has this name, or else to a call that the server has made by itself (RFC 8620 §5.4).
func (a *answers) read(in *json.Decoder) error {
	var name, id string
	if err := delimiter(in, '['); err != nil {
		return err
	}
	if err := in.Decode(&name); err != nil {
		return err
	}
	next := 0
	for next < len(a.answered) && a.answered[next] {
		next++
	}
	var refused methodError
	var into any = new(json.RawMessage)
	mine := next < len(a.calls) && (name == "error" || name == a.calls[next].method)
	if mine && name == "error" {
		into = &refused
	} else if mine {
		into = a.calls[next].into
	}
	if err := in.Decode(into); err != nil {
		return err
	}
	if err := in.Decode(&id); err != nil {
		return err
	}
	if mine && id != strconv.Itoa(next) {
		return errors.New("the answers are not in the order of the calls")
	}
	if mine {
		a.answered[next] = true
	}
	if mine && name == "error" && a.failed == nil {
		a.failed = refused.failure(a.calls[next].method)
	}
	return delimiter(in, ']')
}

func (a *answers) err() error {
	for i, answered := range a.answered {
		if !answered && a.failed == nil {
			return unanswered(a.calls[i].method, errors.New("the response has no answer to it"))
		}
	}
	return a.failed
}

// methodError is an error of a method (RFC 8620 §3.6.2) or of one object (§5.3, RFC 8621 §4.8, §7.5).
type methodError struct {
	Type              string   `json:"type"`
	Description       string   `json:"description"`
	InvalidRecipients []string `json:"invalidRecipients"`
	ExistingID        string   `json:"existingId"`
	MaxRecipients     int64    `json:"maxRecipients"`
	MaxSize           int64    `json:"maxSize"`
	Properties        []string `json:"properties"`
}

func (e methodError) Error() string {
	return strings.TrimSpace(e.Type + " " + e.Description)
}

// isMethodError says whether an error is a method's of this type.
func isMethodError(err error, kind string) bool {
	var e methodError
	return errors.As(err, &e) && e.Type == kind
}

var kindsOfError = map[string]backends.Kind{
	"notFound":  backends.NotFound,
	"overQuota": backends.OverQuota, "tooLarge": backends.TooLarge, "rateLimit": backends.Throttled,
	"forbidden": backends.Permanent, "accountReadOnly": backends.Permanent, "invalidEmail": backends.Permanent,
	"forbiddenFrom": backends.Permanent, "forbiddenMailFrom": backends.Permanent, "forbiddenToSend": backends.Permanent,
	"noRecipients": backends.Permanent, "tooManyRecipients": backends.Permanent, "invalidRecipients": backends.Permanent,
	"unknownMethod": backends.Unsupported, "accountNotSupportedByMethod": backends.Unsupported,
	"serverPartialFail": backends.Uncertain, // RFC 8620 §3.6.2: some of it was done, and it is not known what
}

func (e methodError) failure(what string) *backends.Failure {
	kind, ok := kindsOfError[e.Type]
	if !ok {
		kind = backends.Temporary
	}
	return backends.Fail(kind, "%s: %w", what, e)
}
