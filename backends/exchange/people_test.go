package exchange

import (
	"testing"
	"testing/synctest"
	"time"
)

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
