package host

import (
	"bytes"
	"io"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

func TestBasics(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Messages: []string{"size:60000", "size:0", "size:5"}}))
	account, err := s.Login(t.Context(), ann)
	if err != nil || account.ID != "id-ann" {
		t.Fatalf("Login: %v, %v", account, err)
	}
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
	if err != nil {
		t.Fatal(err)
	}
	for entry, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: entry.ID})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(content)
		if err != nil || !bytes.Equal(got, wholePattern(int(entry.Size))) || content.Size() != entry.Size {
			t.Fatalf("%s: %d octets, %v", entry.ID, len(got), err)
		}
		if err := content.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := drop.Close(); err != nil {
		t.Fatal(err)
	}
}
