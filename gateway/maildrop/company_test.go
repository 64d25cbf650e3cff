package maildrop

import "testing"

// TestCompany: whoever was under way at any time since a message was asked for has accompanied it, and
// who has left before that has not.
func TestCompany(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after []func(*company)
		accompanied   bool
	}{
		"none":                   {},
		"under way all the time": {before: []func(*company){(*company).join}, accompanied: true},
		"left before":            {before: []func(*company){(*company).join, (*company).leave}},
		"left meanwhile":         {before: []func(*company){(*company).join}, after: []func(*company){(*company).leave}, accompanied: true},
		"came and left":          {after: []func(*company){(*company).join, (*company).leave}, accompanied: true},
		"came":                   {after: []func(*company){(*company).join}, accompanied: true},
	} {
		t.Run(name, func(t *testing.T) {
			var c company
			for _, f := range tt.before {
				f(&c)
			}
			then := c.now()
			for _, f := range tt.after {
				f(&c)
			}
			if got := c.since(then); got != tt.accompanied {
				t.Errorf("accompanied: %v, want %v", got, tt.accompanied)
			}
		})
	}
}
