package mapihttp

import (
	"fmt"
	"net/http"
	"slices"
)

// Bounds of the cookies of a session.
const (
	cookiesMost     = 20
	cookieBytesMost = 8 << 10
)

// cookies are those of a session context, MS-OXCMAPIHTTP §2.2.3.2.3: the newest value of each name, whatever its path.
type cookies []*http.Cookie

// take keeps what the server has set.
func (c *cookies) take(set []*http.Cookie) error {
	for _, one := range set {
		at := slices.IndexFunc(*c, func(other *http.Cookie) bool { return other.Name == one.Name })
		kept := &http.Cookie{Name: one.Name, Value: one.Value, Quoted: one.Quoted}
		switch {
		case at >= 0 && one.MaxAge < 0:
			*c = slices.Delete(*c, at, at+1)
		case at >= 0:
			(*c)[at] = kept
		case one.MaxAge >= 0:
			*c = append(*c, kept)
		}
	}
	size := 0
	for _, one := range *c {
		size += len(one.Name) + len(one.Value)
	}
	if len(*c) > cookiesMost || size > cookieBytesMost {
		return fmt.Errorf("the server has set %d cookies of %d octets", len(*c), size)
	}
	return nil
}

func (c cookies) send(r *http.Request) {
	for _, one := range c {
		r.AddCookie(one)
	}
}
