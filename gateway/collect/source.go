package collect

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/pop3client"
)

// item is a message at a source.
type item struct {
	number int
	// id is the source's unique-id; empty: it has none that is worth anything, and the content is what tells it from others.
	id   string
	size int64
	// place stands in for an id that there is none of, until the content is known: the size, and which one of this size it is.
	place string
}

// name is what the ledger has a message by that could not be read: its id, or its place.
func (i item) name() string {
	if i.id == "" {
		return i.place
	}
	return i.id
}

// placeMark begins what stands in for an id: no server's has a blank.
const placeMark = "~ "

// place notes the places of messages that have no ids.
func place(items []item) {
	before := make(map[int64]int)
	for n := range items {
		if i := &items[n]; i.id == "" {
			before[i.size]++
			i.place = fmt.Sprintf("%s%d/%d", placeMark, i.size, before[i.size])
		}
	}
}

// source is a session with a server elsewhere. It belongs to one goroutine.
type source interface {
	// list gives what there is.
	list(ctx context.Context) ([]item, error)
	// fetch writes a message to w, whole or with an error.
	fetch(ctx context.Context, i item, most int64, w io.Writer) error
	// header writes the header alone. errNoHeader: the source cannot.
	header(ctx context.Context, i item, w io.Writer) error
	// lasting says that an id is never another message's, so that nothing else need be compared before it is removed.
	lasting() bool
	// remove has a message removed, at once or by finish.
	remove(ctx context.Context, i item) error
	// finish ends the session, and gives those of which the source says that they are gone.
	finish(ctx context.Context) (removed []string, err error)
	// close ends it without a word. What finish has not confirmed may be there still.
	close()
}

// errNoHeader says that a source cannot give a header by itself.
var errNoHeader = errors.New("the source gives no header by itself")

// errNoRemoval says that a server has no UIDPLUS (RFC 4315): others' removals would go with the account's.
var errNoRemoval = errors.New("the IMAP server cannot remove single messages: write leave: for-ever, or collect the account by POP3; what was collected does not come again")

// listMost bounds what a source may list.
const listMost = 200_000

// pop3Source is a POP3 session.
type pop3Source struct {
	client *pop3client.Client
	noTop  bool
	marked []string // in this session
}

// openPOP3 connects and logs in.
func openPOP3(ctx context.Context, a *Account) (source, error) {
	client, err := pop3client.Dial(ctx, a.Address, a.Secure)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", a.Address, err)
	}
	login, err := a.Credential(ctx)
	if err == nil {
		if err = client.Login(ctx, login); err != nil {
			err = refusedLogin(err)
			if login.Token != "" && a.Refused != nil && kindOf(err) == kindLogin {
				a.Refused(login.Token)
			}
		}
	}
	if err != nil {
		_ = client.Close() // nothing was done on it
		return nil, err
	}
	return &pop3Source{client: client}, nil
}

func (s *pop3Source) list(ctx context.Context) ([]item, error) {
	list, err := s.client.List(ctx, listMost)
	if err != nil {
		return nil, err
	}
	twice := make(map[string]int, len(list))
	for _, m := range list {
		twice[m.UID]++
	}
	// Some servers number the messages of each session, and say the same of another message then.
	numbers := !slices.ContainsFunc(list, func(m pop3client.Message) bool { return m.UID != strconv.Itoa(m.Number) })
	items := make([]item, len(list))
	for i, m := range list {
		items[i] = item{number: m.Number, size: m.Size}
		if twice[m.UID] == 1 && !numbers {
			items[i].id = m.UID
		}
	}
	return items, nil
}

func (s *pop3Source) fetch(ctx context.Context, i item, most int64, w io.Writer) error {
	_, err := s.client.Retrieve(ctx, i.number, most, w)
	return err
}

func (s *pop3Source) header(ctx context.Context, i item, w io.Writer) error {
	if s.noTop {
		return errNoHeader
	}
	_, err := s.client.Top(ctx, i.number, 0, headerMost, w)
	if refused := (*pop3client.ReplyError)(nil); errors.As(err, &refused) {
		s.noTop = true
		return errNoHeader
	}
	return err
}

// headerMost bounds a header that is compared.
const headerMost = 4 << 20

func (s *pop3Source) lasting() bool { return false } // some servers number the messages of each session

func (s *pop3Source) remove(ctx context.Context, i item) error {
	if err := s.client.Delete(ctx, i.number); err != nil {
		return err
	}
	s.marked = append(s.marked, i.id)
	return nil
}

func (s *pop3Source) finish(ctx context.Context) ([]string, error) {
	if err := s.client.Quit(ctx); err != nil && len(s.marked) > 0 { // otherwise nothing depends on it
		return nil, err
	}
	return s.marked, nil
}

func (s *pop3Source) close() { _ = s.client.Close() } // it may be closed already

// Opened is a folder of a mail store that is collected from, and what ends it.
type Opened struct {
	Maildrop backends.Maildrop
	Close    func()
}

// dropSource is a session with a mail store: IMAP.
type dropSource struct {
	opened Opened
	marked []item
	failed error // of a removal
}

func (s *dropSource) list(ctx context.Context) (items []item, err error) {
	for entry, err := range s.opened.Maildrop.List(ctx) {
		if err != nil {
			return nil, err
		}
		if len(items) >= listMost {
			return nil, fmt.Errorf("the server lists more than %d messages", listMost)
		}
		items = append(items, item{number: len(items) + 1, id: idText(entry.ID), size: entry.Size})
	}
	return items, nil
}

// idText is a store's id as the ledger has it: printable ids as they are.
func idText(id backends.MessageID) string {
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || strings.HasPrefix(string(id), "hex:") {
			return fmt.Sprintf("hex:%x", string(id))
		}
	}
	return string(id)
}

// idOf undoes idText.
func idOf(i item) backends.MessageID {
	if text, is := strings.CutPrefix(i.id, "hex:"); is {
		if octets, err := hex.DecodeString(text); err == nil {
			return backends.MessageID(octets)
		}
	}
	return backends.MessageID(i.id)
}

func (s *dropSource) fetch(ctx context.Context, i item, most int64, w io.Writer) error {
	content, err := s.opened.Maildrop.Fetch(ctx, backends.FetchRequest{ID: idOf(i)})
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // its end is what counts
	n, err := io.Copy(w, io.LimitReader(content, most+1))
	if err == nil && n > most {
		err = pop3client.ErrTooLarge
	}
	return err
}

func (s *dropSource) header(context.Context, item, io.Writer) error { return errNoHeader }
func (s *dropSource) lasting() bool                                 { return true }

func (s *dropSource) remove(_ context.Context, i item) error {
	s.marked = append(s.marked, i)
	return nil
}

// removalsAtOnce is how many messages a store is asked to remove in one call.
const removalsAtOnce = 100

func (s *dropSource) finish(ctx context.Context) (removed []string, err error) {
	for some := range slices.Chunk(s.marked, removalsAtOnce) {
		ids := make([]backends.MessageID, len(some))
		for n, i := range some {
			ids[n] = idOf(i)
		}
		removals, err := s.opened.Maildrop.Remove(ctx, ids, backends.DisposalRemove)
		if err == nil && len(removals) != len(ids) {
			err = errors.New("the store does not say of each message whether it is removed")
		}
		if backends.KindOf(err) == backends.Unsupported { // the backend's advice is for stores
			err = errNoRemoval
		}
		if err != nil {
			return removed, err
		}
		for n, r := range removals {
			if r.ID == ids[n] && r.Failure == nil {
				removed = append(removed, some[n].id)
			} else if r.Failure != nil {
				s.failed = r.Failure
			}
		}
	}
	if s.failed != nil {
		return removed, s.failed
	}
	return removed, nil
}

func (s *dropSource) close() { s.opened.Close() }

// headerOf is the header of a message that was read, up to its empty line.
func headerOf(start []byte) []byte {
	for rest := start; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if len(bytes.TrimRight(line, "\r")) == 0 {
			return start[:len(start)-len(rest)]
		}
		rest = after
	}
	return start
}
