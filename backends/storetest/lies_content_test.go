package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
)

var contentLies = []lie{
	{
		name: "what is 8-bit becomes a question mark", tell: keeping(func(data []byte) []byte {
			for i, c := range data {
				if c > 0x7f {
					data[i] = '?'
				}
			}
			return data
		}),
		fails: []string{"receiver/content-8-bit", "receiver/content-every-octet", "receiver/content-8-bit-header"},
	},
	{
		name: "NUL goes", tell: keeping(replacing("\x00", "")),
		fails: []string{"receiver/content-nul"},
	},
	{
		name: "control characters go",
		tell: keeping(func(data []byte) []byte {
			return bytes.Map(func(r rune) rune {
				if r == '\x01' {
					return -1
				}
				return r
			}, data)
		}),
		fails: []string{"receiver/content-every-octet"},
	},
	{
		name: "dots stay stuffed", tell: keeping(replacing("\r\n.", "\r\n..")),
		fails: []string{"maildrop/whole", "receiver/content-dots"},
	},
	{
		name: "From becomes >From", tell: keeping(replacing("\r\nFrom ", "\r\n>From ")),
		fails: []string{"receiver/content-from-lines"},
	},
	{
		name: "lines are folded at 998", tell: keeping(folded(998)),
		fails: []string{"receiver/content-line-of-10000", "receiver/content-line-of-200000"},
	},
	{
		name: "lines are folded at 990", tell: keeping(folded(990)),
		fails: []string{"receiver/content-line-of-998", "receiver/content-line-of-10000", "receiver/content-line-of-200000"},
	},
	{
		name: "a very long line is an outage",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				if err == nil && len(folded(100_000)(data)) != len(data) {
					err = errors.New("token too long")
				}
				return deliver(ctx, d, io.MultiReader(bytes.NewReader(data), failingWith(err)))
			}
		}),
		fails: []string{"receiver/content-line-of-200000"},
	},
	{
		name: "spaces at the end of a line go", tell: keeping(replacing(" \r\n", "\r\n")),
		fails: []string{"receiver/content-trailing-spaces", "receiver/content-from-lines"},
	},
	{
		name: "empty lines at the end go",
		tell: keeping(onBody(func(body []byte) []byte {
			for bytes.HasSuffix(body, []byte("\r\n\r\n")) {
				body = body[:len(body)-2]
			}
			return body
		})),
		fails: []string{"receiver/content-body-of-empty-lines"},
	},
	{
		name: "an empty body becomes a line",
		tell: keeping(onBody(func(body []byte) []byte {
			if len(body) == 0 {
				return []byte("\r\n")
			}
			return body
		})),
		fails: []string{"receiver/content-empty-body"},
	},
	{
		name: "a message without a body loses its last field",
		tell: keeping(func(data []byte) []byte {
			if !bytes.Contains(data, []byte("\r\n\r\n")) {
				return data[:bytes.LastIndex(data[:len(data)-2], []byte("\r\n"))+2]
			}
			return data
		}),
		fails: []string{"receiver/content-no-body"},
	},
	{
		name: "short bodies are plain", tell: keeping(replacing("\r\n\r\nHello.\r\n", "\r\n\r\nhello.\r\n")),
		fails: []string{"receiver/content-plain", "maildrop/whole"},
	},
	{
		name: "the header is unfolded", tell: keeping(replacing("\r\n folded", " folded")),
		fails: []string{"receiver/content-long-header"},
	},
	{
		name: "a field twice is one too many",
		tell: keeping(func(data []byte) []byte {
			return bytes.Replace(data, []byte("X-Storetest: again\r\nX-Storetest: again\r\n"), []byte("X-Storetest: again\r\n"), 1)
		}),
		fails: []string{"receiver/content-many-fields"},
	},
	{
		name: "fields are made pretty", tell: keeping(replacing("X-EMPTY:\r\n", "X-Empty: \r\n")),
		fails: []string{"receiver/content-odd-fields"},
	},
	{
		name: "parts are taken apart and put together", tell: keeping(replacing("--storetest\r\n\r\n", "--storetest\r\nContent-Type: text/plain\r\n\r\n")),
		fails: []string{"receiver/content-multipart"},
	},
	{
		name: "MIME is repaired", tell: keeping(replacing(`boundary="`+"\r\n", `boundary=""`+"\r\n")),
		fails: []string{"receiver/content-mime-that-is-broken"},
	},
	{
		name: "no more than 10000 lines", tell: keeping(func(data []byte) []byte {
			if n := bytes.Count(data, []byte("x\r\n")); n > 10000 {
				return data[:len(data)-3*(n-10000)]
			}
			return data
		}),
		fails: []string{"receiver/content-many-lines"},
	},
	{
		name: "a footer",
		tell: keeping(func(data []byte) []byte {
			if bytes.Contains(data, []byte("multipart/mixed; boundary=storetest")) {
				return append(data, "checked for viruses\r\n"...)
			}
			return data
		}),
		fails: []string{"receiver/content-multipart"},
	},
	{
		name: "a mark in front that is no header",
		tell: keeping(func(data []byte) []byte {
			if bytes.Contains(data, []byte("\r\n\r\nHello.\r\n")) {
				return append([]byte("[external mail]\r\n"), data...)
			}
			return data
		}),
		fails: []string{"receiver/content-plain", "maildrop/whole"},
	},
	{
		name: "one Read is the whole",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				buffer := make([]byte, 4<<20)
				n, err := content.Read(buffer)
				if err == nil && n == 1 {
					return deliver(ctx, d, bytes.NewReader(buffer[:n]))
				}
				return deliver(ctx, d, io.MultiReader(bytes.NewReader(buffer[:n]), again(content, err)))
			}
		}),
		fails: []string{"receiver/reader-octet-by-octet"},
	},
	{
		name: "octets that come with the end are lost",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				return deliver(ctx, d, lossy{content})
			}
		}),
		fails: []string{"receiver/reader-with-the-end-in-the-last-read"},
	},
	{
		name: "a short read is the end",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				return deliver(ctx, d, &impatient{r: content})
			}
		}),
		fails: []string{"receiver/reader-in-halves"},
		may:   []string{"receiver/reader-with-the-end-in-the-last-read"}, // as the buffers happen to be
	},
}
