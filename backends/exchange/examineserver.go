package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/probe"
	"github.com/dipylon/dipylon/backends/remote"
)

// server goes from the server's name to an end point that wants a login.
func (x *examination) server(ctx context.Context) bool {
	if x.store.settings.Protocol == protocolRPC {
		return x.rpcServer(ctx)
	}
	target := x.store.settings.endPoint(mailboxes, "")
	host, port := target.Hostname(), target.Port()
	if port == "" {
		port = "443"
	}
	address := net.JoinHostPort(host, port)
	if by, err := http.ProxyFromEnvironment(&http.Request{URL: target}); err == nil && by != nil {
		x.way.Skip("connection to "+address, "it goes by the proxy "+by.Host)
	} else if !x.network("name "+host, func(ctx context.Context) (probe.Found, error) { return probe.LookUp(ctx, host) }) ||
		!x.network("connection to "+address, func(ctx context.Context) (probe.Found, error) { return probe.Connect(ctx, address) }) ||
		!x.network("TLS with "+address, func(ctx context.Context) (probe.Found, error) { return x.handshake(ctx, host, address) }) {
		return false
	}
	return x.front(ctx, address)
}

// front asks for the end point of the protocol that is spoken: for that of EWS, too, where either will do and there is no MAPI over HTTP.
func (x *examination) front(ctx context.Context, address string) bool {
	set := &x.store.settings
	x.byEWS = set.Protocol == protocolEWS
	if !x.byEWS && !x.step("MAPI over HTTP at "+address, func(ctx context.Context) (probe.Found, error) {
		found, err := x.endPoint(ctx, set.endPoint(mailboxes, ""))
		if err == nil || set.Protocol != protocolAuto || !notThere(err) {
			return found, err
		}
		if _, failed := x.endPoint(ctx, set.endPoint(webServices, "")); failed != nil {
			return found, err
		}
		x.byEWS = true
		return probe.Found{Detail: "there is none, and EWS is used: " + err.Error()}, nil
	}) {
		return false
	}
	return !x.byEWS || x.step("EWS at "+address, func(ctx context.Context) (probe.Found, error) {
		found, err := x.endPoint(ctx, set.endPoint(webServices, ""))
		if err != nil && notThere(err) {
			err = probe.Because(ewsOff, err)
		}
		return found, err
	})
}

// notThere says of a failure that an end point is not there for who asks.
func notThere(err error) bool {
	d := diagnose(err)
	return d == mapiOff || d == mapiForbidden
}

func (x *examination) timeout() time.Duration { return min(30*time.Second, x.store.settings.timeout()) }

// network is a step that has no longer than a call of the store's.
func (x *examination) network(name string, something func(context.Context) (probe.Found, error)) bool {
	return x.step(name, func(ctx context.Context) (probe.Found, error) {
		ctx, cancel := context.WithTimeout(ctx, x.timeout())
		defer cancel()
		return something(ctx)
	})
}

// handshake looks at the server's certificate.
func (x *examination) handshake(ctx context.Context, host, address string) (probe.Found, error) {
	config := x.store.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	return probe.TLS(ctx, address, config, nil)
}

// endPoint asks for the end point without a credential, as [Store.Health] does: a server that is there refuses that, and says which methods it offers.
func (x *examination) endPoint(ctx context.Context, target *url.URL) (probe.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, x.store.settings.timeout())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return probe.Found{}, err
	}
	response, err := x.store.http.Do(request)
	if err != nil {
		return probe.Found{}, probe.Because(probe.TLSCause(err), remote.ConnectFailure(target.Host, `"url"`, withoutURL(err)))
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
	if cause, ok := statuses[response.StatusCode]; ok {
		return probe.Found{}, probe.Because(cause, backends.Fail(backends.Temporary, "%s says %s", target.Host, response.Status))
	}
	switch {
	case response.StatusCode/100 == 3:
		return probe.Found{}, probe.Because(redirected, backends.Fail(backends.Temporary, "%s leads to %.300q", target.Host, response.Header.Get("Location")))
	case response.StatusCode/100 == 5:
		return probe.Found{}, probe.Because(serverFails, backends.Fail(backends.Temporary, "%s says %s", target.Host, response.Status))
	case response.StatusCode != http.StatusUnauthorized:
		return probe.Found{Detail: "the server says " + response.Status}, nil
	}
	return x.methods(response)
}

// methods looks at whether the server offers what is wanted.
func (x *examination) methods(response *http.Response) (probe.Found, error) {
	var offered []string
	for _, field := range response.Header.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(field), " ")
		offered = append(offered, strings.ToLower(strings.TrimSuffix(scheme, ",")))
	}
	has := func(schemes ...string) bool {
		return slices.ContainsFunc(schemes, func(s string) bool { return slices.Contains(offered, s) })
	}
	x.bound = has("ntlm", "negotiate") && x.store.settings.Authentication != string(signin.Basic)
	wanted := map[string][]string{
		string(signin.Basic): {"basic"}, string(signin.NTLM): {"ntlm", "negotiate"}, string(signin.Kerberos): {"negotiate"}, string(signin.Bearer): {"bearer"}, string(signin.Auto): {"basic", "ntlm", "negotiate", "bearer"},
	}[x.store.settings.Authentication]
	if len(wanted) > 0 && !has(wanted...) {
		return probe.Found{}, probe.Because(methodNotOffered, backends.Fail(backends.Permanent, "the server offers %.200q, and not what authentication: %s needs", offered, x.store.settings.Authentication))
	}
	return probe.Found{Detail: "the server wants a login, by " + strings.Join(offered, ", ")}, nil
}

// whyRefused finds out whether a login was refused for its password or for its channel binding: Autodiscover takes the password without
// one (Extended Protection: None). It is asked once, and only where a binding was sent.
func (x *examination) whyRefused(ctx context.Context, err error) error {
	if !x.bound || !errors.Is(err, &backends.Failure{Kind: backends.BadCredentials}) && !errors.Is(err, errService) {
		return err
	}
	var kdc *kerberos.Error
	if errors.As(err, &kdc) {
		return err // the KDC has judged the password, and no binding
	}
	root := x.store.settings.endPoint(discovery, "")
	request, failed := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
	if failed != nil {
		return err
	}
	response, failed := x.store.http.Do(request)
	if failed != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		return err // it wants no login, and so does not tell
	}
	config := x.store.http.Transport.(*http.Transport).TLSClientConfig
	server, failed := signin.New(signin.Config{URL: root.String(), TLS: config, Method: signin.NTLM, Timeout: x.timeout(), Connections: 1, Unbound: true})
	if failed != nil {
		return err
	}
	login := server.Login(x.login.credential)
	defer login.CloseIdleConnections()
	if response, failed = login.RoundTrip(request.Clone(ctx)); failed != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode == http.StatusUnauthorized {
		return err
	}
	return probe.Because(bindingRefused, err)
}
