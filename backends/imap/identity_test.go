package imap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// TestFolderID: one mailbox has one id by each of its names, and two mailboxes have two.
func TestFolderID(t *testing.T) {
	t.Parallel()
	dot := on("LIST \"\" \"\"", "* LIST (\\Noselect) \".\" \"\"\nTAG OK\n")
	for name, tt := range map[string]struct {
		settings map[string]any
		on       []fakeimap.Rule
		names    []string
		want     []string
	}{
		"the inbox":                     {nil, nil, []string{"", "INBOX", "Inbox"}, []string{"INBOX", "INBOX", "INBOX"}},
		"the store's own folder":        {map[string]any{"folder": "Archive"}, nil, []string{"", "Archive"}, []string{"Archive", "Archive"}},
		"the server's delimiter":        {nil, []fakeimap.Rule{dot}, []string{"Lists/Go", "Lists.Go"}, []string{"Lists.Go", "Lists.Go"}},
		"case matters to the server":    {nil, []fakeimap.Rule{on("LIST \"\" foo", "* LIST () \"/\" foo\nTAG OK\n"), on("LIST \"\" Foo", "* LIST () \"/\" Foo\nTAG OK\n")}, []string{"foo", "Foo"}, []string{"foo", "Foo"}},
		"case does not matter":          {nil, []fakeimap.Rule{on("LIST \"\"", "* LIST () \"/\" Foo\nTAG OK\n")}, []string{"foo", "Foo", "FOO"}, []string{"Foo", "Foo", "Foo"}},
		"the server lists both":         {nil, []fakeimap.Rule{on("LIST \"\"", "* LIST () \"/\" Foo\n* LIST () \"/\" foo\nTAG OK\n")}, []string{"foo", "Foo", "FOO"}, []string{"foo", "Foo", "FOO"}},
		"the server lists another":      {nil, []fakeimap.Rule{on("LIST \"\"", "* LIST () \"/\" Other\nTAG OK\n")}, []string{"foo"}, []string{"foo"}},
		"no ASCII, and not to be shown": {nil, nil, []string{"Gelöscht\u200b"}, []string{`Gel\u00f6scht\u200b`}},
		"kelvin is no k":                {nil, nil, []string{"\u212A", "k"}, []string{`\u212a`, "k"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, &fakeimap.Server{On: tt.on})
			s := storeOf(t, f, tt.settings)
			for i, folder := range tt.names {
				d, err := s.Open(t.Context(), backends.OpenRequest{Credential: password, Folder: folder})
				if err != nil {
					t.Fatal(err)
				}
				if got := d.Opened().FolderID; got != tt.want[i] {
					t.Errorf("%q is the folder %q, not %q", folder, got, tt.want[i])
				}
				_ = d.Close()
			}
		})
	}
}

// TestAccountID: where the server does not get to see the domain, one mailbox has one account,
// whatever domain stands in the name, and takes over what its names had.
func TestAccountID(t *testing.T) {
	t.Parallel()
	local := map[string]any{"username": "local"}
	for name, tt := range map[string]struct {
		settings map[string]any
		user     string
		want     backends.Account
	}{
		"an address": {nil, "Ada@peer.example", backends.Account{ID: "ada@peer.example", Address: "ada@peer.example", Addresses: []string{"ada@peer.example"}}},
		"local, first domain": {local, "Ada@peer.example", backends.Account{
			ID: "ada", Address: "ada@peer.example",
			Addresses: []string{"ada@peer.example", "ada@second.example"}, FormerIDs: []string{"ada@peer.example", "ada@second.example"},
		}},
		"local, second domain": {local, "ada@second.example", backends.Account{
			ID: "ada", Address: "ada@peer.example",
			Addresses: []string{"ada@peer.example", "ada@second.example"}, FormerIDs: []string{"ada@peer.example", "ada@second.example"},
		}},
		"local, no domain": {local, "ada", backends.Account{
			ID: "ada", Address: "ada@peer.example",
			Addresses: []string{"ada@peer.example", "ada@second.example"}, FormerIDs: []string{"ada@peer.example", "ada@second.example"},
		}},
		"kelvin is no k": {nil, "\u212Aate@peer.example", backends.Account{
			ID: "\u212Aate@peer.example", Address: "\u212Aate@peer.example", Addresses: []string{"\u212Aate@peer.example"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, &fakeimap.Server{})
			s := storeOf(t, f, tt.settings, "peer.example", "second.example")
			got, err := s.Login(t.Context(), backends.Credential{Kind: backends.CredentialPassword, User: tt.user, Secret: []byte("secret")})
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != tt.want.ID || got.Address != tt.want.Address || !slices.Equal(got.Addresses, tt.want.Addresses) || !slices.Equal(got.FormerIDs, tt.want.FormerIDs) {
				t.Errorf("%q is %+v, not %+v", tt.user, got, tt.want)
			}
		})
	}
}

// TestNoValidity: a mailbox whose UIDVALIDITY is 0, or not told, is served.
func TestNoValidity(t *testing.T) {
	t.Parallel()
	for name, validity := range map[string]string{"zero": "0", "none": "-"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := twoMessages()
			server.Validity = validity
			s, log := loggedStore(t, fakeimap.Start(t, server), nil)
			for range 2 { // sessions: it is said once
				d := openInbox(t, s)
				entries := list(t, d)
				if len(entries) != 2 {
					t.Fatalf("%d messages", len(entries))
				}
				if _, err := fetch(t, d, entries[0].ID); err != nil {
					t.Error(err)
				}
				_ = d.Close()
			}
			if n := strings.Count(log.String(), "tells no UIDVALIDITY"); n != 1 {
				t.Errorf("it is said %d times:\n%s", n, log)
			}
		})
	}
}
