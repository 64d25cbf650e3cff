package memstore

import (
	"testing"

	"github.com/dipylon/dipylon/backends"
)

func TestMaySend(t *testing.T) {
	s := New()
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Configure(t.Context(), backends.Settings{Raw: []byte(`{"accounts": [
		{"user": "Anna", "password": "a", "address": "anna@sakes.example", "aliases": ["sales@sakes.example"],
			"send_as": ["Info@sakes.example"], "on_behalf": ["boss@sakes.example"]},
		{"user": "bert", "password": "b", "address": "bert@sakes.example"}
	]}`)}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		account, address string
		want             backends.SendRight
	}{
		{"anna", "anna@sakes.example", backends.SendAs},
		{"anna", "SALES@sakes.example", backends.SendAs},
		{"anna", "info@sakes.example", backends.SendAs},
		{"anna", "boss@sakes.example", backends.SendOnBehalf},
		{"anna", "bert@sakes.example", backends.SendNo},
		{"bert", "boss@sakes.example", backends.SendNo},
		{"carl", "anna@sakes.example", backends.SendNo},
		{"", "", backends.SendNo},
	} {
		got, err := s.MaySend(t.Context(), backends.MaySendQuery{Account: test.account, Address: test.address})
		if got != test.want || err != nil {
			t.Errorf("%s as %s: %v, %v", test.account, test.address, got, err)
		}
	}
}
