package host

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// formContent is a message that says in which form it was asked for.
func formContent(form backends.Rendering) backends.Content {
	text := formText(form)
	return &textContent{Reader: strings.NewReader(text), size: int64(len(text))}
}

func formText(form backends.Rendering) string {
	return fmt.Sprintf("X-Form: %s %s %q %t\r\n\r\n", form.Encoding, form.Body, form.Charset, form.RichText)
}

type textContent struct {
	io.Reader
	size int64
}

func (c *textContent) Size() int64  { return c.size }
func (c *textContent) Close() error { return nil }

// TestRendering: whatever is asked of a message, the form in which it is asked reaches the backend.
func TestRendering(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	ids := idsOf("form:1", "form:2")
	for _, form := range []backends.Rendering{
		{},
		{Encoding: backends.EncodingUUENCODE},
		{Body: backends.BodyTextEnriched, Charset: "KOI8-R"},
		{Encoding: backends.EncodingUUENCODE, Body: backends.BodyText, Charset: "ISO-8859-15", RichText: true},
	} {
		want := formText(form)
		for _, top := range []bool{false, true} {
			content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: ids[0], Top: top, Rendering: form})
			if err != nil {
				t.Fatal(err)
			}
			isForm(t, content, want)
			contents, err := drop.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: ids, Top: top, Rendering: form})
			if err != nil {
				t.Fatal(err)
			}
			for range ids {
				content, err := contents.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				isForm(t, content, want)
			}
			if err := contents.Close(); err != nil {
				t.Error(err)
			}
		}
		all, err := measure(t.Context(), drop, backends.MeasureRequest{IDs: ids, Sizes: true, Top: true, Rendering: form})
		if err != nil || len(all) != len(ids) {
			t.Fatal(len(all), err)
		}
		for _, m := range all {
			if m.Size != int64(len(want)) || string(m.Top) != want {
				t.Errorf("%d octets are measured, and the top is %q; wanted %q", m.Size, m.Top, want)
			}
		}
	}
}

func isForm(t *testing.T, content backends.Content, want string) {
	t.Helper()
	got, err := io.ReadAll(content)
	if err != nil || string(got) != want {
		t.Errorf("got %q (%v), wanted %q", got, err, want)
	}
	if err := content.Close(); err != nil {
		t.Error(err)
	}
}
