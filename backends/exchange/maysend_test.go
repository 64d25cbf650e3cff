package exchange_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestMaySend: as oneself, on behalf of whose delegate one is, and not as others, whatever the address book is asked by.
func TestMaySend(t *testing.T) {
	for _, protocol := range []string{"mapi", "rpc", "ews"} {
		t.Run(protocol, func(t *testing.T) {
			s := start(t, with(takes, "protocol", protocol))
			if protocol == "rpc" {
				s, _ = startRPC(t, takes)
			}
			s.boxes[chris].Delegates = []string{"/o=Sakes/cn=nobody", strings.ToUpper(s.boxes[george].DN)}
			store := s.store(t)
			account, err := store.Login(t.Context(), credential("george-secret"))
			if err != nil {
				t.Fatal(err)
			}
			onBehalf := backends.SendOnBehalf
			if protocol == "ews" { // which does not tell
				onBehalf = backends.SendNo
			}
			for _, test := range []struct {
				account, address string
				want             backends.SendRight
			}{
				{account.ID, george, backends.SendAs},
				{account.ID, "George+list@Sakes.Example", backends.SendAs},
				{account.ID, chris, onBehalf},
				{account.ID, connector, backends.SendNo},
				{account.ID, "nobody@sakes.example", backends.SendNo},
				{account.ID, "*\x00@sakes.example", backends.SendNo},
				{"/o=sakes/cn=another", chris, backends.SendNo},
				{"", chris, backends.SendNo},
			} {
				right, err := store.MaySend(t.Context(), backends.MaySendQuery{Account: test.account, Address: test.address})
				if err != nil || right != test.want {
					t.Errorf("%q as %q: %v, %v", test.account, test.address, right, err)
				}
			}
			s.boxes[service].SetPassword("another")
			if _, err := store.MaySend(t.Context(), backends.MaySendQuery{Account: account.ID, Address: "pat@sakes.example"}); backends.KindOf(err) != backends.Temporary {
				t.Errorf("with a service account that is refused: %v", err)
			}
		})
	}
	store := start(t, sends).store(t)
	if _, err := store.MaySend(t.Context(), backends.MaySendQuery{Account: "x", Address: george}); backends.KindOf(err) != backends.Unsupported {
		t.Errorf("without a service account: %v", err)
	}
}
