package jmap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/remote"
)

var errNoDelivery = backends.Fail(backends.Unsupported, "none of delivery.lmtp, delivery.smtp and delivery.accounts is set")

// Resolve asks the LMTP or SMTP server, or looks into the accounts of the settings.
func (s *Store) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	verdicts, err := s.resolve(ctx, q)
	if err != nil || !q.Accounts {
		return verdicts, err
	}
	for i := range verdicts {
		if verdicts[i].Failure == nil {
			verdicts[i].Account, err = s.idOf(ctx, q.Recipients[i].Address)
			verdicts[i].Failure = backends.AsFailure(err)
		}
	}
	return verdicts, nil
}

func (s *Store) resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	switch {
	case s.settings.Delivery.Given():
		return s.hop().Resolve(ctx, q)
	case len(s.settings.Delivery.Accounts) == 0:
		return nil, errNoDelivery
	}
	verdicts := make([]backends.Verdict, len(q.Recipients))
	for i, r := range backends.Addresses(q.Recipients) {
		verdicts[i].Recipient = r
		if _, ok := s.accountOf(r); !ok {
			verdicts[i].Failure = errNoAccount(r)
		}
	}
	return verdicts, nil
}

// idOf asks the server for a recipient's account id. Empty: the settings have no password for it.
func (s *Store) idOf(ctx context.Context, recipient string) (string, error) {
	credential, ok := s.accountOf(recipient)
	if !ok {
		return "", nil
	}
	session, err := s.login(ctx, credential)
	if err != nil {
		return "", refusedForStore(err)
	}
	return session.account, nil
}

func errNoAccount(recipient string) *backends.Failure {
	return backends.Fail(backends.NotFound, "%.300q is not among delivery.accounts", recipient)
}

// accountOf finds the credential of a recipient; a detail ("ada+lists") belongs to its user.
func (s *Store) accountOf(recipient string) (backends.Credential, bool) {
	address := fold.Lower(remote.MailboxOf(recipient))
	password, ok := s.settings.Delivery.Accounts[address]
	return backends.Credential{Kind: backends.CredentialPassword, User: address, Secret: []byte(password)}, ok
}

// Deliver hands a message to that server, or uploads and imports it for each recipient.
func (s *Store) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	end, err := s.inFlight.Begin(ctx, d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	accounts := len(s.settings.Delivery.Accounts) > 0
	switch {
	case s.settings.Delivery.Given() && !accounts:
		return s.hop().Deliver(ctx, d, "", content, nil)
	case s.settings.Delivery.Given():
		return s.hop().Deliver(ctx, d, keyLine(d), content, func(ctx context.Context, recipient string) (bool, error) {
			return s.delivered(ctx, recipient, d)
		})
	case !accounts:
		return nil, errNoDelivery
	}
	return s.deliverByImport(ctx, d, content)
}

// keyField is the header field that carries a delivery's key to where it can be looked for: how
// a retry finds out that the first attempt had succeeded (I2). It is not a keyword, of which
// Cyrus keeps no more than 128 different ones in a mailbox.
const keyField = "Dipylon-Delivery-Key"

func keyLine(d backends.Delivery) string { return keyField + ": " + d.Key + "\r\n" }

// delivered looks for a delivery's key in a recipient's account.
func (s *Store) delivered(ctx context.Context, recipient string, d backends.Delivery) (bool, error) {
	credential, ok := s.accountOf(recipient)
	if !ok {
		return false, nil
	}
	session, err := s.login(ctx, credential)
	if err != nil {
		return false, refusedForStore(err)
	}
	found, err := session.withKey(ctx, d)
	return len(found) > 0, err
}

// refusedForStore: the gateway's own password for a recipient being wrong is no reason to
// refuse the recipient's mail for good.
func refusedForStore(err error) *backends.Failure {
	if f := backends.AsFailure(err); f.Kind != backends.BadCredentials {
		return f
	}
	return backends.Fail(backends.Temporary, "the password in delivery.accounts: %w", err)
}

// keyProperty asks for all fields of that name (RFC 8621 §4.1.3).
const keyProperty = "header:" + keyField + ":all"

// withKeyMost is how many messages of one key are looked at.
const withKeyMost = 64

// withKey finds the messages of the account that have a delivery's key (RFC 8621 §4.4.1). A
// message that came in before the gateway took it, by a day of clocks that disagree, has another.
func (s *session) withKey(ctx context.Context, d backends.Delivery) ([]email, error) {
	filter := map[string]any{"header": []string{keyField, d.Key}}
	if !d.Received.IsZero() {
		filter["after"] = d.Received.Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	}
	var query struct {
		IDs []string `json:"ids"`
	}
	var found emailList
	got := emails(reference(0, "Email/query", "/ids"), &found)
	got.arguments["properties"] = append(slices.Clone(emailProperties), keyProperty)
	err := s.request(ctx, call{"Email/query", map[string]any{"filter": filter, "limit": withKeyMost}, &query}, got)
	if err != nil {
		return nil, err
	}
	// The filter finds what contains the key, too: "k1" in "k10". A server that does not obey it gives
	// any messages, and the one that is looked for may be missing among them.
	others := 0
	ours := slices.DeleteFunc(found.List, func(e email) bool {
		if !slices.ContainsFunc(e.keys, func(k string) bool { return strings.Contains(k, d.Key) }) {
			others++
		}
		return !slices.Contains(e.keys, d.Key)
	})
	if len(ours) == 0 && others > 0 {
		return nil, methodError{Type: "unsupportedFilter", Description: fmt.Sprintf("the server gives %d messages without the field that was asked for", others)}
	}
	return ours, nil
}

// deliverByImport keeps the message until it is known to be whole, and gives it to the
// recipients' accounts at the same time.
func (s *Store) deliverByImport(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	trace := "Return-Path: <" + d.From + ">\r\n" + keyLine(d) // final delivery: RFC 5321 §4.4
	kept, err := s.keep(trace, content)
	if err != nil {
		return nil, err
	}
	defer kept.discard()
	verdicts := make([]backends.Verdict, len(d.Recipients))
	first := make(map[string]int) // by account: two names of one get one copy
	var under sync.WaitGroup
	for i, r := range backends.Addresses(d.Recipients) {
		verdicts[i].Recipient = r
		credential, ok := s.accountOf(r)
		if !ok {
			verdicts[i].Failure = errNoAccount(r)
			continue
		}
		if _, twice := first[credential.User]; twice {
			continue
		}
		first[credential.User] = i
		free, err := s.slots.take(ctx, "deliveries", int64(s.settings.Requests))
		if err != nil {
			verdicts[i].Failure = backends.AsFailure(err)
			continue
		}
		under.Go(func() {
			defer free()
			verdicts[i].Failure = backends.AsFailure(s.deliverTo(ctx, credential, d, kept))
		})
	}
	under.Wait()
	for i, r := range backends.Addresses(d.Recipients) {
		if credential, ok := s.accountOf(r); ok {
			verdicts[i].Failure = verdicts[first[credential.User]].Failure
		}
	}
	return verdicts, nil
}

// deliverTo gives one account its copy, unless it has one.
func (s *Store) deliverTo(ctx context.Context, c backends.Credential, d backends.Delivery, kept *message) error {
	session, err := s.login(ctx, c)
	if err != nil {
		return refusedForStore(err)
	}
	if d.Retry {
		if found, err := session.withKey(ctx, d); err != nil || len(found) > 0 {
			return err
		}
	}
	var boxes []mailbox
	if err := session.request(ctx, mailboxes(&boxes)); err != nil {
		return err
	}
	inbox, err := find(boxes, "")
	if err != nil {
		return err
	}
	blob, err := session.upload(ctx, kept)
	if err != nil {
		return err
	}
	if _, err = session.importBlob(ctx, d, kept, blob, inbox); isMethodError(err, "alreadyExists") {
		return nil // the key is in it, so it is this delivery that is there
	} else if err != nil {
		return uncertain(err)
	}
	return nil
}

// upload sends a message as a blob (RFC 8620 §6.1).
func (s *session) upload(ctx context.Context, kept *message) (blob string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := s.resource(ctx)
	if err != nil {
		return "", err
	}
	limits := r.Capabilities.Core
	if kept.size() > limits.SizeUpload {
		return "", backends.Fail(backends.TooLarge, "the message has %d octets, and the server takes %d", kept.size(), limits.SizeUpload)
	}
	target, err := r.expand(r.UploadURL, map[string]string{"accountId": s.account})
	if err != nil {
		return "", err
	}
	free, err := s.store.slots.take(ctx, "upload "+s.account, limits.ConcurrentUpload)
	if err != nil {
		return "", err
	}
	defer free()
	watch := newWatch(time.Duration(s.store.settings.Timeout), cancel)
	e := exchange{
		what: "upload", method: http.MethodPost, target: target, kind: "message/rfc822", size: kept.size(), again: true,
		content: func() io.ReadCloser { return outgoing{kept.reader(), watch} },
	}
	err = again(ctx, func() (bool, error) {
		blob, err = s.uploadOnce(ctx, e, watch)
		return errors.Is(err, errMissing), err
	})
	return blob, err
}

func (s *session) uploadOnce(ctx context.Context, e exchange, watch *watch) (blob string, err error) {
	response, err := s.store.do(ctx, s.credential, e)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	watch.start()
	defer watch.stop()
	var got struct {
		BlobID string `json:"blobId"`
		Size   int64  `json:"size"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&got)
	if err == nil && (got.BlobID == "" || got.Size != e.size) {
		err = errors.New("it is not about what was uploaded")
	}
	if err != nil {
		return "", backends.Fail(backends.Temporary, "upload: the answer cannot be read: %w", err)
	}
	return got.BlobID, nil
}

// importBlob makes a message of an uploaded blob (RFC 8621 §4.8), and returns its id.
//
// QUIRK: Where an import and an upload of the same account would wait for each other's locks, Cyrus
// fails: the import with serverFail, or the upload without a word, and then the blob is not found.
// Nothing is created (RFC 8620 §3.6.2, §5.3), so it is asked for again. A server that has failed is not
// believed: the message is looked for before, by its key, and one that is there after all is no failure.
// What a server does not find yet, it refuses as one that already exists, if it does.
func (s *session) importBlob(ctx context.Context, d backends.Delivery, kept *message, blob, box string, keywords ...string) (id string, err error) {
	err = again(ctx, func() (bool, error) {
		id, err = s.importOnce(ctx, blob, box, keywords)
		var refused methodError
		switch {
		case !errors.As(err, &refused):
			return false, err
		case refused.Type == "serverFail":
			there, failed := s.withKey(ctx, d)
			if len(there) > 0 {
				id = there[0].ID
				return false, nil
			}
			return failed == nil, err
		case refused.blobMissing():
			newer, failed := s.upload(ctx, kept)
			blob = newer
			return failed == nil, err
		}
		return false, err
	})
	return id, err
}

func (s *session) importOnce(ctx context.Context, blob, box string, keywords []string) (string, error) {
	set := make(map[string]bool)
	for _, k := range keywords {
		set[k] = true
	}
	var got struct {
		Created    map[string]email       `json:"created"`
		NotCreated map[string]methodError `json:"notCreated"`
	}
	err := s.request(ctx, call{"Email/import", map[string]any{"emails": map[string]any{"m": map[string]any{
		"blobId": blob, "mailboxIds": map[string]bool{box: true}, "keywords": set,
		"receivedAt": time.Now().UTC().Format(time.RFC3339),
	}}}, &got})
	if err != nil {
		return "", err
	}
	if refused, ok := got.NotCreated["m"]; ok {
		return refused.ExistingID, refused.importing()
	}
	if got.Created["m"].ID == "" {
		return "", unanswered("import", errors.New("the response says nothing of the message"))
	}
	return got.Created["m"].ID, nil
}
