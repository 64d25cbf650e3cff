package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answerMost is how long a gateway has to begin an answer: as long as its listener gives it.
const answerMost = 45 * time.Second

// Client asks a running gateway.
type Client struct {
	http        *http.Client
	base, token string
}

// DialSocket makes a client of the socket in a state folder. Nobody is asked before the first call.
func DialSocket(file string) *Client {
	var dialer net.Dialer
	return &Client{base: "http://localhost", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", file)
		},
		ResponseHeaderTimeout: answerMost,
	}}}
}

// Dial makes a client of an admin listener, by its address (https://host:port, or http://127.0.0.1:port) and token. A token goes
// over TLS, or stays on this machine.
func Dial(address, token string, config *tls.Config) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	switch {
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is not the address of an admin listener: write https://host:port, or http://127.0.0.1:port", address)
	case u.Scheme == "http" && !isOwn(u.Host):
		return nil, fmt.Errorf("%q is another machine, and a token goes there by https alone", address)
	}
	return &Client{base: u.String(), token: token, http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, ResponseHeaderTimeout: answerMost, TLSHandshakeTimeout: answerMost},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the token is this server's alone
		},
	}}, nil
}

// Close ends the connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// StatusError is an answer other than 200.
type StatusError struct {
	Status int
	Text   string // what the gateway says
	// Told says that what was asked has answered: a 404 without it means that nothing is there to be asked.
	Told bool
}

func (e *StatusError) Error() string { return e.Text }

// Ask sends a request and gives a good answer, whose body the caller closes. Any other one is a [*StatusError].
func (c *Client) Ask(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // its text has an address that means nothing
		}
		return nil, fmt.Errorf("asking the gateway: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	var said failure
	told := decode(response, &said) == nil && said.Error != ""
	if !told {
		said.Error = "the gateway answers " + response.Status
	}
	return nil, &StatusError{response.StatusCode, said.Error, told}
}

// Get asks for something that is JSON.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.Do(ctx, http.MethodGet, path, nil, into)
}

// Do sends a request whose answer is JSON.
func (c *Client) Do(ctx context.Context, method, path string, body io.Reader, into any) error {
	response, err := c.Ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	return decode(response, into)
}

// decode reads an answer, and ends it.
func decode(response *http.Response, into any) error {
	err := json.NewDecoder(response.Body).Decode(into)
	if err != nil {
		err = fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return errors.Join(err, response.Body.Close())
}

// failure is an error as it is answered.
type failure struct {
	Error string `json:"error"`
}

// Answer writes an answer in JSON: what, or an error with its status.
func Answer(w http.ResponseWriter, status int, what any, err error) error {
	if err != nil {
		what = failure{err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(what)
}
