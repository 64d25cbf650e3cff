package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/autodiscover"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/remote"
)

// web is somebody who has signed in to EWS.
type web struct {
	store  *Store
	login  login
	signed *signin.Login
	client *ews.Client
	// as is whose folders are named: "" for the user's own, and for those of whom the service account impersonates.
	as string
}

// web makes a client of EWS. Nothing is asked yet.
func (s *Store) web(l login) (*web, error) {
	w := &web{store: s, login: l, signed: l.server.Again()}
	switch {
	case l.service && l.foreign():
		return w, w.impersonate(l.address)
	case l.foreign():
		w.as = l.address
	}
	return w, w.impersonate("")
}

func (w *web) impersonate(address string) (err error) {
	s := w.store
	w.client, err = ews.New(ews.Config{
		URL: s.settings.endPoint(webServices, "").String(), Transport: w.signed, Timeout: s.settings.timeout(), Impersonate: address, Anchor: w.login.address,
		Agent: "Dipylon/" + remote.Version(),
	})
	return err
}

func (w *web) whose() login { return w.login }
func (w *web) close()       { w.signed.CloseIdleConnections() }

// folders reads folders that are named by what they are for, which is what proves the login. A service account that may not impersonate
// may have been given access to the mailbox.
func (w *web) folders(ctx context.Context, names ...string) (folders []ews.Folder, failures []*backends.Failure, err error) {
	ask := func() error {
		return w.store.guarded(ctx, w.login, func() error {
			ids := make([]ews.FolderID, len(names))
			for i, name := range names {
				ids[i] = ews.Known(name, w.as)
			}
			folders, failures, err = w.client.GetFolder(ctx, ids...)
			return err
		})
	}
	if err = ask(); w.as == "" && w.login.service && ews.Refused(err, ews.ImpersonateDenied) {
		w.as = w.login.address
		if err = w.impersonate(""); err == nil {
			err = ask()
		}
	}
	return folders, failures, notOpen(w.login, err)
}

// identify asks who the owner of the mailbox is. One whom neither Autodiscover nor the address book knows is known by the address.
func (w *web) identify(ctx context.Context) (backends.Account, error) {
	p, err := w.person(ctx, w.login.address)
	if p.dn == "" && err == nil {
		address := fold.Lower(w.login.address)
		return backends.Account{ID: address, Address: address, Addresses: []string{address}}, nil
	}
	return p.account, err
}

// person asks who has an address, once. One without a mailbox has no distinguished name. Where there is none to be had, the address stands for it.
func (w *web) person(ctx context.Context, address string) (p person, err error) {
	s := w.store
	if p, known := s.webPeople.find(address); known {
		return p, nil
	}
	who, err := w.discover(ctx, address)
	if err != nil {
		return p, err
	}
	a := backends.Account{Address: fold.Lower(address), DisplayName: who.DisplayName}
	if strings.Contains(who.Address, "@") {
		a.Address = fold.Lower(who.Address)
	}
	a.Addresses = []string{a.Address}
	found, err := w.client.ResolveNames(ctx, address)
	if err != nil {
		return p, err
	}
	there := who.LegacyDN != ""
	for _, p := range found {
		proxies := append([]string{"SMTP:" + p.Address}, p.Proxies...)
		if !slices.ContainsFunc(proxies, func(one string) bool { return fold.Equal(one, "smtp:"+a.Address) || fold.Equal(one, "smtp:"+address) }) {
			continue // it is another whom the name could mean
		}
		there = true
		for _, one := range proxies {
			kind, proxy, _ := strings.Cut(one, ":")
			if proxy = fold.Lower(proxy); fold.Equal(kind, "smtp") && strings.Contains(proxy, "@") && !slices.Contains(a.Addresses, proxy) {
				a.Addresses = append(a.Addresses, proxy)
			}
		}
		if a.DisplayName == "" {
			a.DisplayName = p.Name
		}
	}
	if !there {
		return p, nil
	}
	if who.LegacyDN == "" {
		who.LegacyDN = a.Address
	}
	a.ID = accountID(who.LegacyDN)
	p = person{dn: who.LegacyDN, account: a}
	s.webPeople.remember(address, p)
	return p, nil
}

// personOf asks who has an address, or a distinguished name.
func (w *web) personOf(ctx context.Context, name string) (person, error) {
	if !isDN(name) {
		return w.person(ctx, name)
	}
	found, err := w.client.ResolveNames(ctx, name)
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Address, "@") {
		return person{}, err
	}
	p, err := w.person(ctx, fold.Lower(found[0].Address))
	if err != nil || !fold.Equal(p.dn, name) { // it is another whom the name could mean
		return person{}, err
	}
	return p, nil
}

const discoveredMost = 1 << 20 // octets of a reply

// discover asks Autodiscover of the same server for the distinguished name of the mailbox's owner, which is what identifies the account on both
// roads. A server without Autodiscover, or that does not tell, has none; one that cannot be asked now is a failure, as the account must not be another
// one for as long as that lasts.
func (w *web) discover(ctx context.Context, whom string) (u autodiscover.User, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.store.settings.timeout())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.store.settings.endPoint(discovery, "").String(), strings.NewReader(autodiscover.Request(whom)))
	if err != nil {
		return u, backends.Fail(backends.Temporary, "Autodiscover: %w", err)
	}
	request.Header.Set("Content-Type", "text/xml; charset=utf-8")
	request.Header.Set("X-AnchorMailbox", whom)
	request.Header["Idempotency-Key"] = nil // it may be sent again
	response, err := w.signed.RoundTrip(request)
	if err != nil {
		if f := (*backends.Failure)(nil); errors.As(err, &f) {
			return u, f
		}
		return u, backends.Fail(backends.Temporary, "Autodiscover: %w", err)
	}
	defer response.Body.Close()
	octets, err := io.ReadAll(io.LimitReader(response.Body, discoveredMost))
	switch {
	case response.StatusCode == http.StatusNotFound:
		return u, nil
	case response.StatusCode != http.StatusOK || err != nil:
		return u, backends.Fail(backends.Temporary, "Autodiscover: %s %w", response.Status, errOr(err, "it does not tell")).
			After(remote.RetryAfter(response.Header.Get("Retry-After")))
	}
	if u, err = autodiscover.ReadUser(octets); err != nil {
		return u, backends.Fail(backends.Temporary, "Autodiscover: %w", err)
	}
	return autodiscover.User{Address: printable(u.Address), DisplayName: printable(u.DisplayName), LegacyDN: printable(u.LegacyDN)}, nil
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// printable is a text of the server without what cannot be one line.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text))
}

// loginByEWS verifies a credential by asking for the Inbox with it. The connection waits for the maildrop that may follow.
func (s *Store) loginByEWS(ctx context.Context, l login) (backends.Account, error) {
	w, err := s.web(l)
	if err != nil {
		return backends.Account{}, err
	}
	m, err := w.reach(ctx, "")
	if err != nil {
		w.close()
		return backends.Account{}, err
	}
	s.webWaiting.put(w)
	return m.account, nil
}

// webTimes bounds what is done again.
const (
	againMost  = 2 // tries of one message
	webListing = 1000
	webBatch   = 50 // messages of one GetItem
	webChanges = 100
)

// folderIdentity is the id of a folder on both roads: the LongTermID in its entry id, MS-OXCDATA §2.2.4.1.
func folderIdentity(f ews.Folder) (string, error) {
	const size, at = 46, 4 + 16 + 2
	switch {
	case len(f.EntryID) == size:
		return fmt.Sprintf("%x", f.EntryID[at:at+16+6]), nil
	case len(f.SourceKey) > 0 && len(f.SourceKey) <= sourceKeyMost:
		return fmt.Sprintf("%x", f.SourceKey), nil
	}
	return "", backends.Fail(backends.Temporary, "the server does not tell what identifies the folder %.100q (PidTagEntryId)", f.Name)
}

// messageIdentity is the id of a message on both roads: the LongTermID in its entry id, MS-OXCDATA §2.2.4.2. It is not PidTagSourceKey, which is
// another one for what was brought by synchronisation. A server that tells no such entry id is taken at that.
func messageIdentity(i ews.Item) (backends.MessageID, error) {
	const size, at = 70, 4 + 16 + 2 + 16 + 6 + 2
	switch {
	case len(i.EntryID) == size:
		return backends.MessageID(fmt.Sprintf("%x", i.EntryID[at:at+16+6])), nil
	case len(i.SourceKey) > 0 && len(i.SourceKey) <= sourceKeyMost:
		return backends.MessageID(fmt.Sprintf("%x", i.SourceKey)), nil
	}
	return "", backends.Fail(backends.Temporary, "the server lists a message without what identifies it (PidTagEntryId)")
}

// sourceKeyMost is how long a source key may be, MS-OXCFXICS §2.2.1.2.5.
const sourceKeyMost = 254
