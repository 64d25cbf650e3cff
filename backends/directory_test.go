package backends

import (
	"fmt"
	"strings"
	"testing"
)

func TestDirectoryEntry(t *testing.T) {
	var many []string
	for i := range MembersMost + 1 {
		many = append(many, fmt.Sprintf("m%d@x.example", i))
	}
	for _, test := range []struct {
		name  string
		entry DirectoryEntry
		ok    bool
	}{
		{"nothing", DirectoryEntry{}, true},
		{"an address", DirectoryEntry{Address: `"a b"@x.example`}, true},
		{"an address in UTF-8", DirectoryEntry{Address: "jörg@x.example"}, true},
		{"all", DirectoryEntry{"l@x.example", []string{"a@x.example", "b@y.example"}, Preferences{RichTextAsSent, FormatUUENCODE, "ISO-8859-15"}}, true},
		{"as many members as there may be", DirectoryEntry{Members: many[1:]}, true},
		{"too many members", DirectoryEntry{Members: many}, false},
		{"no address", DirectoryEntry{Address: "a"}, false},
		{"an address without a domain", DirectoryEntry{Address: "a@"}, false},
		{"an address without a local part", DirectoryEntry{Address: "@x.example"}, false},
		{"an address with a line end", DirectoryEntry{Address: "a@x.example\r\nRCPT TO:<b@x.example>"}, false},
		{"an address that is too long", DirectoryEntry{Address: strings.Repeat("a", 320) + "@x.example"}, false},
		{"a member that is none", DirectoryEntry{Members: []string{""}}, false},
		{"a member twice", DirectoryEntry{Members: []string{"a@x.example", "a@x.example"}}, false},
		{"its own member", DirectoryEntry{Address: "l@x.example", Members: []string{"l@x.example"}}, false},
		{"rich text of another sort", DirectoryEntry{Preferences: Preferences{RichText: 4}}, false},
		{"another format", DirectoryEntry{Preferences: Preferences{Format: 3}}, false},
		{"a charset with a blank", DirectoryEntry{Preferences: Preferences{Charset: "utf 8"}}, false},
		{"a charset that is too long", DirectoryEntry{Preferences: Preferences{Charset: strings.Repeat("u", 41)}}, false},
	} {
		if err := test.entry.Check(); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
