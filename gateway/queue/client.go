package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// answerMost is how long a gateway has to begin an answer: as long as its listener gives it.
const answerMost = 45 * time.Second

// Client is the queue of a running gateway. It implements [Queue].
type Client struct{ http *http.Client }

// Dial makes a client of a gateway's socket. Nobody is asked before the first call.
func Dial(socket string) *Client {
	var dialer net.Dialer
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: answerMost,
	}}}
}

// Close ends the connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Ping says why the gateway does not answer; nil: it does.
func (c *Client) Ping(ctx context.Context) error {
	response, err := c.ask(ctx, http.MethodGet, "/livez", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// List implements [Queue].
func (c *Client) List(ctx context.Context, f Filter, after string, most int) (page Page, err error) {
	v := url.Values{"after": {after}, "most": {strconv.Itoa(most)}, "state": f.States}
	for name, value := range map[string]string{"id": f.ID, "key": f.Key, "destination": f.Destination, "recipient": f.Recipient, "sender": f.Sender} {
		v.Set(name, value)
	}
	err = c.get(ctx, "/queue/messages?"+v.Encode(), &page)
	return page, err
}

// Show implements [Queue].
func (c *Client) Show(ctx context.Context, name string) (m Message, err error) {
	if name == "" {
		return m, ErrNotFound
	}
	err = c.get(ctx, "/queue/messages/"+url.PathEscape(name), &m)
	return m, err
}

// Stats implements [Queue].
func (c *Client) Stats(ctx context.Context, most int) (stats []Statistic, err error) {
	err = c.get(ctx, "/queue/stats?most="+strconv.Itoa(most), &stats)
	return stats, err
}

// Change implements [Queue].
func (c *Client) Change(ctx context.Context, change Change) (step Step, err error) {
	body, err := json.Marshal(change)
	if err != nil {
		return step, err
	}
	response, err := c.ask(ctx, http.MethodPost, "/queue/change", bytes.NewReader(body))
	if err != nil {
		return step, err
	}
	return step, decode(response, &step)
}

// Open implements [Queue].
func (c *Client) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	response, err := c.ask(ctx, http.MethodGet, "/queue/messages/"+url.PathEscape(id)+"/content", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	response, err := c.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return decode(response, into)
}

// ask sends a request; the answer is a good one.
func (c *Client) ask(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return nil, err
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
	if err := decode(response, &said); err != nil || said.Error == "" {
		said.Error = "the gateway answers " + response.Status
	}
	switch response.StatusCode {
	case http.StatusNotFound:
		return nil, ErrNotFound
	case http.StatusBadRequest:
		return nil, &ArgumentError{said.Error}
	}
	return nil, errors.New(said.Error)
}

// decode reads an answer, and ends it.
func decode(response *http.Response, into any) error {
	err := json.NewDecoder(response.Body).Decode(into)
	if err != nil {
		err = fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return errors.Join(err, response.Body.Close())
}
