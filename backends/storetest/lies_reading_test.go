package storetest_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
)

// givingForms is a store that describes forms of messages, and gives them as it likes.
func givingForms(describe func(*backends.Reading), give func(backends.Rendering) (field string, err error)) func(*liar) {
	return func(l *liar) {
		describing(func(d *backends.Description) { describe(&d.Reading) })(l)
		fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			field, err := give(r.Rendering)
			if err != nil {
				return nil, err
			}
			c, err := d.Maildrop.Fetch(ctx, r)
			if err != nil || field == "" {
				return c, err
			}
			return &liarContent{Content: c, change: func(b []byte) []byte { return append([]byte(field), b...) }}, nil
		})(l)
	}
}

var readingLies = []lie{
	{
		name:  "folders are not described",
		tell:  describing(func(d *backends.Description) { d.Reading.Folders = false }),
		fails: []string{"maildrop/folders-described"},
	},
	{
		name: "an encoding is described that there is not",
		tell: givingForms(func(r *backends.Reading) { r.Encodings = []backends.Encoding{backends.EncodingUUENCODE} }, func(r backends.Rendering) (string, error) {
			if r.Encoding == backends.EncodingUUENCODE {
				return "", backends.Fail(backends.Unsupported, "no")
			}
			return "", nil
		}),
		fails: []string{"maildrop/encodings-described"},
	},
	{
		name: "an encoding is not described",
		tell: givingForms(func(*backends.Reading) {}, func(r backends.Rendering) (string, error) {
			if r.Encoding == backends.EncodingUUENCODE {
				return "X-Encoding: uuencode\r\n", nil
			}
			return "", nil
		}),
		fails: []string{"maildrop/encodings-described"},
	},
	{
		name: "a form of the body is another one each time",
		tell: func(l *liar) {
			var n atomic.Int64
			givingForms(func(r *backends.Reading) { r.Bodies = []backends.BodyForm{backends.BodyHTML} }, func(r backends.Rendering) (string, error) {
				if r.Body == backends.BodyHTML {
					return fmt.Sprintf("X-Boundary: %d\r\n", n.Add(1)), nil
				}
				return "", nil
			})(l)
		},
		fails: []string{"maildrop/bodies-described"},
	},
	{
		name: "a form of the body that is not described is an outage",
		tell: givingForms(func(*backends.Reading) {}, func(r backends.Rendering) (string, error) {
			if r.Body == backends.BodyTextEnriched {
				return "", backends.Fail(backends.Temporary, "down")
			}
			return "", nil
		}),
		fails: []string{"maildrop/bodies-described"},
	},
}
