package autodiscover

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// poxAnswer is an answer in plain XML, MS-OXDSCLI §2.2.4.
type poxAnswer struct {
	found               Found
	action              string // settings, redirectAddr, redirectUrl
	redirectAddr, toURL string
	errorCode, message  string
	internal, external  struct{ store, book, ews string }
}

// pox asks for plain XML.
func (s *search) pox(ctx context.Context, where, address string) (*Found, error) {
	u, err := s.enter(where, address)
	if err != nil {
		return nil, err
	}
	body, from, err := s.send(ctx, u, address, request{
		method: http.MethodPost, kind: "text/xml; charset=utf-8",
		fields: map[string]string{"X-MapiHttpCapability": "1", "X-AnchorMailbox": address}, // MS-OXDSCLI §2.2.2
		body:   Request(address),
	})
	if err != nil {
		return nil, err
	}
	a, err := readPOX(body)
	if err != nil {
		return nil, backends.Fail(backends.Unsupported, "%s: %w: %w", from.Host, errNotHere, err)
	}
	a.found.From = from.String()
	switch {
	case a.errorCode != "":
		return nil, poxError(from, a)
	case strings.EqualFold(a.action, "redirectUrl") || a.toURL != "":
		if err := s.follow(from.Host); err != nil {
			return nil, err
		}
		return s.pox(ctx, a.toURL, address)
	case strings.EqualFold(a.action, "redirectAddr") || a.redirectAddr != "":
		if err := s.follow(from.Host); err != nil {
			return nil, err
		}
		return s.byAddress(ctx, a.redirectAddr)
	}
	return s.settle(&a.found, [][3]string{
		{a.internal.store, a.internal.book, a.internal.ews}, {a.external.store, a.external.book, a.external.ews},
	}, from)
}

// Request is the document that asks for the settings of an address, MS-OXDSCLI §2.2.3.
func Request(address string) string {
	return `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>` +
		"<EMailAddress>" + escape(address) + "</EMailAddress>" +
		"<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"
}

// User is whose mailbox it is, MS-OXDSCLI §2.2.4.1.1.2. What the server does not tell is empty.
type User struct{ Address, DisplayName, LegacyDN string }

// ReadUser reads of the answer to a [Request] whose mailbox it is.
func ReadUser(document []byte) (User, error) {
	a, err := readPOX(document)
	if err != nil {
		return User{}, err
	}
	return User{Address: a.found.Address, DisplayName: a.found.DisplayName, LegacyDN: a.found.LegacyDN}, nil
}

// poxError is the failure of an answer that is an error, MS-OXDSCLI §2.2.4.1.1.1.
func poxError(from *url.URL, a *poxAnswer) error {
	kind := backends.Temporary
	switch a.errorCode {
	case "404", "500": // the address is not known
		kind = backends.NotFound
	case "600", "601": // the request, or the schema that is wanted
		return backends.Fail(backends.Unsupported, "%s: %w: error %.20s: %.200q", from.Host, errNotHere, a.errorCode, a.message)
	}
	return backends.Fail(kind, "%s: error %.20s: %.200q", from.Host, a.errorCode, a.message)
}

// readPOX reads an answer.
func readPOX(document []byte) (*poxAnswer, error) {
	a := &poxAnswer{}
	root := false
	err := walk(document, func(e element) {
		root = root || e.is("Autodiscover")
		mapi := strings.EqualFold(e.typ, "mapiHttp")
		for _, field := range []struct {
			at   bool
			into *string
		}{
			{e.is("Error", "ErrorCode"), &a.errorCode},
			{e.is("Error", "Message"), &a.message},
			{e.is("User", "AutoDiscoverSMTPAddress"), &a.found.Address},
			{e.is("User", "DisplayName"), &a.found.DisplayName},
			{e.is("User", "LegacyDN"), &a.found.LegacyDN},
			{e.is("Account", "Action"), &a.action},
			{e.is("Account", "RedirectAddr"), &a.redirectAddr},
			{e.is("Account", "RedirectUrl"), &a.toURL},
			{e.is("Protocol", "ServerDN"), &a.found.ServerDN},
			{mapi && e.is("MailStore", "InternalUrl"), &a.internal.store},
			{mapi && e.is("MailStore", "ExternalUrl"), &a.external.store},
			{mapi && e.is("AddressBook", "InternalUrl"), &a.internal.book},
			{mapi && e.is("AddressBook", "ExternalUrl"), &a.external.book},
			{e.is("Account", "Protocol", "EwsUrl"), &a.internal.ews},
			{e.is("Account", "Protocol", "ASUrl"), &a.external.ews},
		} {
			if field.at && *field.into == "" {
				*field.into = e.text
			}
		}
	})
	if err == nil && !root {
		err = errXML
	}
	return a, err
}

// settle takes the URLs, of which a set is for the inside and another for the outside: of each the first one that a password may go to.
func (s *search) settle(f *Found, sets [][3]string, from *url.URL) (*Found, error) {
	var refused error
	for i, into := range []*string{&f.MailStore, &f.AddressBook, &f.EWS} {
		for _, set := range sets {
			if set[i] == "" || *into != "" {
				continue
			}
			u, err := url.Parse(set[i])
			if err == nil {
				err = s.allowed(u)
			}
			if err != nil {
				refused = err
				continue
			}
			*into = u.String()
		}
	}
	if f.Root() == "" && refused != nil {
		return nil, refused
	}
	if f.Root() == "" {
		return nil, backends.Fail(backends.Unsupported, "%s: %w: the answer has neither MAPI over HTTP nor EWS", from.Host, errNotHere)
	}
	return f, nil
}
