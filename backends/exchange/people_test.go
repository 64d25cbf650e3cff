package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
)

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
