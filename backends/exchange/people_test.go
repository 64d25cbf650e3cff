package exchange

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// TestDistinguishedNameElsewhere: a distinguished name leads to nobody who has no address within the store's domains, such as a contact; and to that
// address of who has several.
func TestDistinguishedNameElsewhere(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		want      string
	}{
		{[]string{"pete@far.example"}, ""},
		{[]string{"pete@sub.sakes.example"}, ""},
		{[]string{"pete@far.example", "pete@Sakes.example"}, "pete@Sakes.example"},
	} {
		const dn = "/o=sakes/cn=pete"
		s := &Store{domains: []string{"sakes.example"}, http: new(http.Client)}
		s.settings.URL = "https://127.0.0.1:9" // nobody is asked
		s.directory.remember(dn, person{dn: dn, account: backends.Account{ID: dn, Address: c.addresses[0], Addresses: c.addresses}})
		to := mime.Encapsulate(mapi.AddressEX, dn, "sakes.example")
		verdicts, err := s.resolve(t.Context(), backends.To(to))
		if err != nil || (verdicts[0].Failure == nil) != (c.want != "") {
			t.Errorf("%v: %+v, %v", c.addresses, verdicts, err)
		}
		if got, _ := s.mailboxOf(to); got != c.want {
			t.Errorf("%v: the mailbox is %q", c.addresses, got)
		}
	}
}

// TestHasDN: an entry of the address book is who is asked for only if it has that distinguished name, or had it, and an address.
func TestHasDN(t *testing.T) {
	const dn = "/o=Sakes/cn=george"
	for _, c := range []struct {
		own, address, proxy string
		want                bool
	}{
		{"/O=SAKES/cn=George", "george@sakes.example", "", true},
		{"/o=New/cn=george", "george@sakes.example", "x500:/o=sakes/cn=george", true},
		{"/o=Sakes/cn=george2", "george2@sakes.example", "SMTP:" + dn, false},
		{dn, "", "X500:" + dn, false},
	} {
		entry := []mapi.Value{mapi.String(c.own), mapi.String(c.address), mapi.String("George"), mapi.Multiple[mapi.String]{mapi.String(c.proxy)}}
		if hasDN(entry, dn) != c.want {
			t.Errorf("%+v", c)
		}
	}
	if isDN("/ann@sakes.example") || !isDN("/O=Sakes/cn=a@b") {
		t.Error("an address is a distinguished name, or one is none")
	}
	if hasDN([]mapi.Value{mapi.ErrorCode(0), mapi.ErrorCode(0), nil, nil}, dn) {
		t.Error("nothing is somebody")
	}
}

// TestPeopleRefresh: a login asks the address book again about whom it has told of long ago.
func TestPeopleRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p people
		p.remember("George@sakes.example", person{dn: "/cn=george"})
		time.Sleep(peopleFresh)
		p.refresh("george@sakes.example", "nobody@sakes.example")
		if one, known := p.find("GEORGE@sakes.example"); !known || one.dn != "/cn=george" {
			t.Error("somebody is forgotten too early")
		}
		time.Sleep(time.Second)
		p.refresh("george@sakes.example")
		if _, known := p.find("george@sakes.example"); known {
			t.Error("names and addresses of long ago count still")
		}
	})
}
