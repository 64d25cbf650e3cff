package autodiscover

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// settings are what is asked for, MS-OXWSADISC §3.1.4.
var settings = []string{"UserDisplayName", "UserDN", "AutoDiscoverSMTPAddress", "InternalMailboxServerDN", "InternalEwsUrl", "ExternalEwsUrl"}

// soap asks for settings of a user. It knows nothing of MAPI over HTTP.
func (s *search) soap(ctx context.Context, where, address string) (*Found, error) {
	u, err := s.enter(where, address)
	if err != nil {
		return nil, err
	}
	body, from, err := s.send(ctx, u, address, request{
		method: http.MethodPost, kind: "text/xml; charset=utf-8", body: soapRequest(u.String(), address),
		fields: map[string]string{
			"SOAPAction":      `"http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings"`,
			"X-AnchorMailbox": address,
		},
	})
	if err != nil {
		return nil, err
	}
	a, err := readSOAP(body)
	if err != nil {
		return nil, backends.Fail(backends.Unsupported, "%s: %w: %w", from.Host, errNotHere, err)
	}
	switch a.code {
	case "NoError":
		f := &Found{
			Address: a.values["AutoDiscoverSMTPAddress"], DisplayName: a.values["UserDisplayName"], LegacyDN: a.values["UserDN"],
			ServerDN: a.values["InternalMailboxServerDN"], From: from.String(),
		}
		return s.settle(f, [][3]string{{"", "", a.values["InternalEwsUrl"]}, {"", "", a.values["ExternalEwsUrl"]}}, from)
	case "RedirectAddress", "RedirectUrl":
		if err := s.follow(from.Host); err != nil {
			return nil, err
		}
		if a.code == "RedirectUrl" {
			return s.soap(ctx, a.target, address)
		}
		return s.byAddress(ctx, a.target)
	}
	return nil, soapError(from, a)
}

func soapError(from *url.URL, a *soapAnswer) error {
	kind := backends.Temporary
	switch a.code {
	case "InvalidUser", "InvalidDomain":
		kind = backends.NotFound
	case "ServerBusy":
		kind = backends.Throttled
	case "NotFederated", "InvalidRequest", "InvalidSetting", "SettingIsNotAvailable":
		return backends.Fail(backends.Unsupported, "%s: %w: %.100q: %.200q", from.Host, errNotHere, a.code, a.message)
	}
	return backends.Fail(kind, "%s: %.100q: %.200q", from.Host, a.code, a.message)
}

func soapRequest(to, address string) string {
	var wanted strings.Builder
	for _, name := range settings {
		wanted.WriteString("<a:Setting>" + name + "</a:Setting>")
	}
	return `<?xml version="1.0" encoding="utf-8"?>` +
		`<soap:Envelope xmlns:a="http://schemas.microsoft.com/exchange/2010/Autodiscover" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">` +
		`<soap:Header><a:RequestedServerVersion>Exchange2013</a:RequestedServerVersion>` +
		`<wsa:Action>http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings</wsa:Action><wsa:To>` + escape(to) + `</wsa:To></soap:Header>` +
		`<soap:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users><a:User><a:Mailbox>` + escape(address) + `</a:Mailbox></a:User></a:Users>` +
		`<a:RequestedSettings>` + wanted.String() + `</a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></soap:Body></soap:Envelope>`
}

// soapAnswer is what is said of the one user that was asked about.
type soapAnswer struct {
	code, message, target string
	values                map[string]string
}

// readSOAP reads an answer. An error of the user's counts for more than the one around it.
func readSOAP(document []byte) (*soapAnswer, error) {
	a := &soapAnswer{values: make(map[string]string)}
	var name string
	told := false
	err := walk(document, func(e element) {
		switch {
		case e.is("UserResponse", "ErrorCode"):
			a.code, told = e.text, true
		case e.is("Response", "ErrorCode"):
			if a.code == "" || a.code == "NoError" && e.text != "NoError" {
				a.code, told = e.text, true
			}
		case e.is("ErrorMessage"):
			a.message = e.text
		case e.is("RedirectTarget"):
			a.target = e.text
		case e.is("UserSetting", "Name"):
			name = e.text
		case e.is("UserSetting", "Value"):
			if len(a.values) < 100 {
				a.values[name] = e.text
			}
		}
	})
	if err == nil && !told {
		err = errXML
	}
	return a, err
}
