package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/dipylon/dipylon/gateway/admin"
)

// Client is the queue of a running gateway. It implements [Queue].
type Client struct{ admin *admin.Client }

// NewClient makes a client of what asks a gateway.
func NewClient(asks *admin.Client) *Client { return &Client{asks} }

// Ping says why the gateway does not answer; nil: it does.
func (c *Client) Ping(ctx context.Context) error {
	response, err := c.admin.Ask(ctx, http.MethodGet, "/livez", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Close ends the connections.
func (c *Client) Close() error { return c.admin.Close() }

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
	err = said(c.admin.Do(ctx, http.MethodPost, "/queue/change", bytes.NewReader(body), &step))
	return step, err
}

// Open implements [Queue].
func (c *Client) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	response, err := c.admin.Ask(ctx, http.MethodGet, "/queue/messages/"+url.PathEscape(id)+"/content", nil)
	if err != nil {
		return nil, said(err)
	}
	return response.Body, nil
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return said(c.admin.Get(ctx, path, into))
}

// said is an error of the gateway's in this package's terms.
func said(err error) error {
	answered, is := errors.AsType[*admin.StatusError](err)
	switch {
	case is && answered.Status == http.StatusNotFound && answered.Told:
		return ErrNotFound
	case is && answered.Status == http.StatusBadRequest:
		return &ArgumentError{answered.Text}
	}
	return err
}
