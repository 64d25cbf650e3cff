package jmap

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/smtpclient"
)

func (s *Store) lmtp() smtpclient.LMTP {
	return smtpclient.LMTP{Address: s.settings.Delivery.LMTP, Hello: s.hostname, Timeout: s.settings.Timeout.duration()}
}

var errNoDelivery = backends.Fail(backends.Unsupported, "neither delivery.lmtp nor delivery.accounts is set")

// Resolve asks the LMTP server, or looks into the accounts of the settings.
func (s *Store) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	switch {
	case s.settings.Delivery.LMTP != "":
		return s.lmtp().Resolve(ctx, q)
	case len(s.settings.Delivery.Accounts) == 0:
		return nil, errNoDelivery
	}
	verdicts := make([]backends.Verdict, len(q.Recipients))
	for i, r := range q.Recipients {
		verdicts[i].Recipient = r
		if _, ok := s.accountOf(r); !ok {
			verdicts[i].Failure = backends.Fail(backends.NotFound, "%s is not among delivery.accounts", r)
		}
	}
	return verdicts, nil
}

// accountOf finds the credential of a recipient; a detail ("ada+lists") belongs to its user.
func (s *Store) accountOf(recipient string) (backends.Credential, bool) {
	at := strings.LastIndexByte(recipient, '@')
	if at < 1 {
		return backends.Credential{}, false
	}
	local, _, _ := strings.Cut(recipient[:at], "+")
	for address, password := range s.settings.Delivery.Accounts {
		if strings.EqualFold(address, local+recipient[at:]) {
			return backends.Credential{Kind: backends.CredentialPassword, User: address, Secret: []byte(password)}, true
		}
	}
	return backends.Credential{}, false
}

// Deliver hands a message to LMTP, or uploads and imports it for each recipient.
func (s *Store) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	end, err := s.inFlight.Begin(ctx, d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	switch {
	case s.settings.Delivery.LMTP != "" && len(s.settings.Delivery.Accounts) == 0:
		return s.lmtp().Deliver(ctx, d, "", content, nil)
	case s.settings.Delivery.LMTP != "":
		trace := keyField + ": " + d.Key + "\r\n"
		return s.lmtp().Deliver(ctx, d, trace, content, func(ctx context.Context, recipient string) (bool, error) {
			return s.delivered(ctx, recipient, d.Key)
		})
	case len(s.settings.Delivery.Accounts) == 0:
		return nil, errNoDelivery
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	return s.deliverByImport(ctx, d, content)
}

// keyField is the header field that carries a delivery's key where it can be looked for.
const keyField = "Dipylon-Delivery-Key"

// delivered looks for a delivery's key in a recipient's account.
func (s *Store) delivered(ctx context.Context, recipient, key string) (bool, error) {
	credential, ok := s.accountOf(recipient)
	if !ok {
		return false, nil
	}
	session, err := s.login(ctx, credential)
	if err != nil {
		return false, refusedForStore(err)
	}
	return s.exists(ctx, session, map[string]any{"header": []string{keyField, key}})
}

// keyword marks a delivery for a retry to find: it is made of the key, as keywords allow
// little (RFC 8621 §4.1.1).
func keyword(key string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(key) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			b.WriteRune(r)
		} else {
			b.WriteString("_x")
			b.WriteString(strings.ToLower(string("0123456789abcdef"[r>>4&15]) + string("0123456789abcdef"[r&15])))
		}
	}
	return "dipylon-" + b.String()
}

// deliverByImport uploads to each recipient's account at the same time, while the message is
// read, and imports it once it is known to be whole.
func (s *Store) deliverByImport(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	verdicts := make([]backends.Verdict, len(d.Recipients))
	first := make(map[string]int) // by account: two names of one get one copy
	var uploads []*upload
	of := make([]int, len(d.Recipients))
	for i, r := range d.Recipients {
		verdicts[i].Recipient = r
		of[i] = i
		credential, ok := s.accountOf(r)
		if !ok {
			verdicts[i].Failure = backends.Fail(backends.NotFound, "%s is not among delivery.accounts", r)
			continue
		}
		if earlier, twice := first[credential.User]; twice {
			of[i] = earlier
			continue
		}
		first[credential.User] = i
		uploads = append(uploads, s.begin(ctx, credential, i))
	}
	err := feed(io.MultiReader(strings.NewReader("Return-Path: <"+d.ReversePath+">\r\n"), content), uploads)
	for _, u := range uploads {
		<-u.done
		if err == nil {
			verdicts[u.index].Failure = s.finish(ctx, u, d)
		}
	}
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "read the message: %w", err)
	}
	for i := range verdicts {
		verdicts[i].Failure = verdicts[of[i]].Failure
	}
	return verdicts, nil
}

// upload is one recipient's copy on its way.
type upload struct {
	index   int
	pipe    *io.PipeWriter
	done    chan struct{} // closed when blob, session and err are there
	session *session
	blob    string
	err     error
}

func (s *Store) begin(ctx context.Context, c backends.Credential, index int) *upload {
	reader, writer := io.Pipe()
	u := &upload{index: index, pipe: writer, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		if u.session, u.err = s.login(ctx, c); u.err == nil {
			u.blob, u.err = s.upload(ctx, u.session, reader)
		}
		_ = reader.CloseWithError(errUploadOver) // whoever feeds goes on without it
	}()
	return u
}

var errUploadOver = backends.Fail(backends.Temporary, "the upload is over")

// feed copies the content to all uploads, at the pace of the slowest.
func feed(content io.Reader, uploads []*upload) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := content.Read(buffer)
		for _, u := range uploads {
			_, _ = u.pipe.Write(buffer[:n]) // its own error is told by the upload
		}
		if err == nil {
			continue
		}
		for _, u := range uploads {
			_ = u.pipe.CloseWithError(err) // io.EOF ends it well, all else breaks it off
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
}

// upload sends a blob (RFC 8620 §6.1).
func (s *Store) upload(ctx context.Context, session *session, content io.Reader) (string, error) {
	target := expand(session.UploadURL, map[string]string{"accountId": session.mailAccount()})
	response, err := s.do(ctx, session.credential, http.MethodPost, target, "message/rfc822", content)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var got struct {
		BlobID string `json:"blobId"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&got); err != nil || got.BlobID == "" {
		return "", backends.Fail(backends.Temporary, "the answer to an upload cannot be read: %v", err)
	}
	return got.BlobID, nil
}

// finish imports an uploaded message into the inbox (RFC 8621 §4.8), unless an earlier attempt did.
func (s *Store) finish(ctx context.Context, u *upload, d backends.Delivery) *backends.Failure {
	if u.err != nil {
		return refusedForStore(u.err)
	}
	m := &maildrop{store: s, session: u.session, ctx: ctx}
	if err := m.find(ctx, ""); err != nil {
		return backends.AsFailure(err)
	}
	if d.Retry {
		there, err := s.exists(ctx, u.session, map[string]any{"hasKeyword": keyword(d.Key)})
		if err != nil || there {
			return backends.AsFailure(err)
		}
	}
	_, err := s.importBlob(ctx, u.session, u.blob, m.box.ID, keyword(d.Key))
	return backends.AsFailure(err)
}

// refusedForStore: the gateway's own password for a recipient being wrong is no reason to
// refuse the recipient's mail for good.
func refusedForStore(err error) *backends.Failure {
	if f := backends.AsFailure(err); f.Kind != backends.BadCredentials {
		return f
	}
	return backends.Fail(backends.Temporary, "the password in delivery.accounts: %w", err)
}

// exists says whether the account has a message that a filter finds (RFC 8621 §4.4.1).
func (s *Store) exists(ctx context.Context, session *session, filter map[string]any) (bool, error) {
	results, err := s.request(ctx, session, call{"Email/query", map[string]any{
		"accountId": session.mailAccount(), "filter": filter, "limit": 1,
	}})
	if err != nil {
		return false, err
	}
	var got struct {
		IDs []string `json:"ids"`
	}
	err = results[0].into(&got)
	return len(got.IDs) > 0, err
}

// importBlob makes a message of a blob, and returns its id.
func (s *Store) importBlob(ctx context.Context, session *session, blob, box string, keywords ...string) (string, error) {
	set := map[string]bool{}
	for _, k := range keywords {
		set[k] = true
	}
	results, err := s.request(ctx, session, call{"Email/import", map[string]any{
		"accountId": session.mailAccount(),
		"emails":    map[string]any{"m": map[string]any{"blobId": blob, "mailboxIds": map[string]bool{box: true}, "keywords": set}},
	}})
	if err != nil {
		return "", err
	}
	var got struct {
		Created    map[string]email    `json:"created"`
		NotCreated map[string]setError `json:"notCreated"`
	}
	if err := results[0].into(&got); err != nil {
		return "", err
	}
	if refused, ok := got.NotCreated["m"]; ok {
		return "", refused.failure("import")
	}
	return got.Created["m"].ID, nil
}

// Send imports the message and submits it (RFC 8621 §7). It is filed in the mailbox with the
// role sent, where there is one.
func (s *Store) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if !s.settings.Submission {
		return nil, backends.Fail(backends.Unsupported, "submission is not set")
	}
	session, err := s.login(ctx, c)
	if err != nil {
		return nil, err
	}
	blob, err := s.upload(ctx, session, content)
	if err != nil {
		return nil, err
	}
	box, identity, err := s.sender(ctx, session)
	if err != nil {
		return nil, err
	}
	id, err := s.importBlob(ctx, session, blob, box, "$seen")
	if err != nil {
		return nil, err
	}
	return s.submit(ctx, session, id, identity, d)
}

// sender finds where what is sent is filed, and the identity that sends.
func (s *Store) sender(ctx context.Context, session *session) (box, identity string, err error) {
	account := session.mailAccount()
	results, err := s.request(ctx, session,
		call{"Mailbox/get", map[string]any{"accountId": account, "ids": nil, "properties": []string{"id", "role"}}},
		call{"Identity/get", map[string]any{"accountId": account, "ids": nil}},
	)
	if err != nil {
		return "", "", err
	}
	var boxes struct {
		List []mailbox `json:"list"`
	}
	var identities struct {
		List []struct {
			ID string `json:"id"`
		} `json:"list"`
	}
	if err := results[0].into(&boxes); err != nil {
		return "", "", err
	}
	if err := results[1].into(&identities); err != nil {
		return "", "", err
	}
	for _, role := range []string{"inbox", "sent"} { // the latter wins
		if at := slices.IndexFunc(boxes.List, func(b mailbox) bool { return b.Role == role }); at >= 0 {
			box = boxes.List[at].ID
		}
	}
	if box == "" || len(identities.List) == 0 {
		return "", "", backends.Fail(backends.Permanent, "the account has no mailbox or no identity to send with")
	}
	return box, identities.List[0].ID, nil
}

func (s *Store) submit(ctx context.Context, session *session, id, identity string, d backends.Delivery) ([]backends.Verdict, error) {
	recipients := make([]any, len(d.Recipients))
	verdicts := make([]backends.Verdict, len(d.Recipients))
	for i, r := range d.Recipients {
		recipients[i] = map[string]any{"email": r}
		verdicts[i].Recipient = r
	}
	results, err := s.request(ctx, session, call{"EmailSubmission/set", map[string]any{
		"accountId": session.mailAccount(),
		"create": map[string]any{"s": map[string]any{
			"emailId": id, "identityId": identity,
			"envelope": map[string]any{"mailFrom": map[string]any{"email": d.ReversePath}, "rcptTo": recipients},
		}},
	}})
	if err != nil {
		return everybody(verdicts, backends.Fail(backends.Uncertain, "submit: %w", err)), nil
	}
	var got struct {
		NotCreated map[string]setError `json:"notCreated"`
	}
	if err := results[0].into(&got); err != nil {
		return nil, err
	}
	refused, ok := got.NotCreated["s"]
	if !ok {
		return verdicts, nil
	}
	// The submission as a whole was not made: nobody has it. It does not stay in Sent.
	_, _ = s.request(ctx, session, call{"Email/set", map[string]any{"accountId": session.mailAccount(), "destroy": []string{id}}})
	everybody(verdicts, backends.Fail(backends.Temporary, "submit: other recipients were refused: %s", refused.Description))
	if refused.Type != "invalidRecipients" {
		return everybody(verdicts, refused.failure("submit")), nil
	}
	for i, v := range verdicts {
		if slices.ContainsFunc(refused.InvalidRecipients, func(r string) bool { return strings.EqualFold(r, v.Recipient) }) {
			verdicts[i].Failure = backends.Fail(backends.NotFound, "submit: %s", refused.Description)
		}
	}
	return verdicts, nil
}

func everybody(verdicts []backends.Verdict, f *backends.Failure) []backends.Verdict {
	for i := range verdicts {
		verdicts[i].Failure = f
	}
	return verdicts
}
