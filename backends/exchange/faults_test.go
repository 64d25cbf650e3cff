package exchange_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
)

// bill is mail that no writer would make so: it comes back by its skeleton alone.
const bill = "from:  George <george@sakes.example>\r\nTo: chris@sakes.example\r\nX-Odd:a\r\nSubject: A bill\r\n" +
	"Date: Sun, 22 Nov 2026 22:08:49 +0100\r\nMessage-ID: <1@sakes.example>\r\nMIME-Version: 1.0\r\nContent-Type: TEXT/plain\r\n\r\nPay.\r\n"

func numbered(n int) string { return strings.Replace(bill, "A bill", fmt.Sprintf("Bill %d.", n), 1) }

// filled is a store whose first mailbox has so many bills.
func filled(t *testing.T, n int, settings map[string]any) (*site, *exchange.Store) {
	t.Helper()
	s := start(t, settings)
	for i := range n {
		if err := s.put(george, []byte(numbered(i))); err != nil {
			t.Fatal(err)
		}
	}
	return s, s.store(t)
}

func credential(password string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte(password)}
}

func open(t *testing.T, store *exchange.Store, folder string) backends.Maildrop {
	t.Helper()
	m, err := store.Open(t.Context(), backends.OpenRequest{Credential: credential("george-secret"), Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func list(t *testing.T, m backends.Maildrop) (ids []backends.MessageID, all []backends.Entry) {
	t.Helper()
	for e, err := range m.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		ids, all = append(ids, e.ID), append(all, e)
	}
	return ids, all
}

func fetch(t *testing.T, m backends.Maildrop, id backends.MessageID) string {
	t.Helper()
	c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	octets, err := io.ReadAll(c)
	if err != nil || int64(len(octets)) != c.Size() {
		t.Errorf("%d octets of %d, %v", len(octets), c.Size(), err)
	}
	return string(octets)
}

// TestRoundTrips counts what a client waits for from its login to its first message. Each of two connections takes two
// more (TCP, TLS 1.3), and the Unbind goes beside the Connect.
func TestRoundTrips(t *testing.T) {
	s, store := filled(t, 1, nil)
	if err := store.Health(t.Context()); err != nil { // as at the gateway's start
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		most int
	}{
		{"cold: Bind, ResolveNames, Unbind, Connect, logon, list, message", 7},
		{"warm: Connect, logon, list, message", 4},
	} {
		before := s.Requests()
		m := open(t, store, "")
		ids, _ := list(t, m)
		if got := fetch(t, m, ids[0]); got != numbered(0) {
			t.Errorf("not as it came: %q", got)
		}
		if n := s.Requests() - before; n > test.most {
			t.Errorf("%s: %d requests", test.name, n)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if contexts, _ := s.Left(); contexts != 0 {
		t.Errorf("%d session contexts are left", contexts)
	}
}

// TestTogether reads many messages with few requests, whatever room the server has for replies.
func TestTogether(t *testing.T) {
	// Each further session context is connected, logged on, and has the folder opened. One in which a read was given up is ended and made anew.
	const further, opening, anew = 2, 3, 3
	for _, test := range []struct{ room, most int }{{32 << 10, 10 + further*opening + (1+further)*anew}, {2000, 1000}} {
		t.Run(fmt.Sprint(test.room), func(t *testing.T) {
			s, store := filled(t, 40, nil)
			s.Room(test.room)
			m := open(t, store, "")
			ids, _ := list(t, m)
			if len(ids) != 40 {
				t.Fatal(len(ids))
			}
			before := s.Requests()
			for round := range 2 { // what is left of the first is given up
				all, err := m.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: ids})
				if err != nil {
					t.Fatal(err)
				}
				for i := range []int{3, 40}[round] {
					c, err := all.Next(t.Context())
					if err != nil {
						t.Fatal(i, err)
					}
					if got, err := io.ReadAll(c); err != nil || string(got) != numbered(i) {
						t.Errorf("%d: %q, %v", i, got, err)
					}
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				}
				if err := all.Close(); err != nil {
					t.Error(err)
				}
			}
			if n := s.Requests() - before; n > test.most {
				t.Errorf("%d requests", n)
			}
			list(t, m) // the objects are released with it
			if contexts, objects := s.Left(); contexts > 1+further || objects > 3*contexts {
				t.Errorf("%d objects are open in %d session contexts", objects, contexts)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // one that was being made ends when it is made
				if contexts, objects := s.Left(); contexts == 0 && objects == 0 {
					break
				} else if time.Now().After(deadline) {
					t.Fatalf("%d objects are open in %d session contexts after the end", objects, contexts)
				}
			}
		})
	}
}

// TestLost goes on when the server has forgotten the session context: in a list, before a message, and within several.
func TestLost(t *testing.T) {
	s, store := filled(t, 40, nil)
	s.Room(1200) // pages of a list, and parts of messages
	m := open(t, store, "")
	var ids []backends.MessageID
	for e, err := range m.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, e.ID); len(ids) == 1 {
			s.Forget()
		}
	}
	if len(ids) != 40 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 40 {
		t.Fatalf("%d messages", len(ids))
	}
	s.Forget()
	all, err := m.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: ids[:20]})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for i := range 20 {
		c, err := all.Next(t.Context())
		if err != nil {
			t.Fatal(i, err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != numbered(i) {
			t.Errorf("%d: %q, %v", i, got, err)
		}
		_ = c.Close()
		s.Forget()
	}
	if removals, err := m.Remove(t.Context(), ids[:1], backends.DisposalRemove); err != nil || removals[0].Failure != nil {
		t.Error(removals, err)
	}
}

// TestPasswordIsNotRepeated: one that is not right any more is sent once by a session, since a directory locks the account of
// whoever tries it again and again.
func TestPasswordIsNotRepeated(t *testing.T) {
	s, store := filled(t, 1, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	s.boxes[george].SetPassword("another")
	before := s.Requests()
	for range 3 {
		if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[0]}); backends.KindOf(err) != backends.BadCredentials {
			t.Error(err)
		}
	}
	_ = m.Close()
	if n := s.Requests() - before; n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

// TestRemoval has each disposal, and no receipt of any.
func TestRemoval(t *testing.T) {
	for _, test := range []struct {
		removal  string
		disposal backends.Disposal
		folder   string // "": it is gone for good
		deleted  bool
	}{
		{"soft", backends.DisposalRemove, "Inbox", true},
		{"hard", backends.DisposalRemove, "", false},
		{"hard", backends.DisposalTrash, "Deleted Items", false},
	} {
		t.Run(fmt.Sprint(test.removal, " ", test.disposal), func(t *testing.T) {
			s, store := filled(t, 2, map[string]any{"removal": test.removal})
			m := open(t, store, "")
			ids, _ := list(t, m)
			for range 2 { // what is gone counts as removed
				removals, err := m.Remove(t.Context(), ids[:1], test.disposal)
				if err != nil || len(removals) != 1 || removals[0].Failure != nil {
					t.Error(removals, err)
				}
			}
			if err := m.(backends.Marker).MarkSeen(t.Context(), ids); err != nil {
				t.Error(err)
			}
			left := s.boxes[george].Messages()
			if test.folder == "" && len(left) != 1 || test.folder != "" && (len(left) != 2 || left[0].Folder != test.folder || left[0].Deleted != test.deleted) {
				t.Errorf("%+v", left)
			}
			for _, one := range left {
				if one.Receipt {
					t.Errorf("a receipt was sent of %d", one.ID)
				}
			}
			if _, all := list(t, m); len(all) != 1 || !all[0].Seen {
				t.Errorf("%+v", all)
			}
			if test.disposal == backends.DisposalTrash { // within Deleted Items there is nowhere to move to
				trash := open(t, store, "deleted items")
				ids, _ := list(t, trash)
				if removals, err := trash.Remove(t.Context(), ids, backends.DisposalTrash); err != nil || len(removals) != 1 || removals[0].Failure != nil {
					t.Error(removals, err)
				}
				if left := s.boxes[george].Messages(); len(left) != 1 {
					t.Errorf("%+v", left)
				}
			}
		})
	}
}

// TestFolders has one identity for each folder, whatever it is called.
func TestFolders(t *testing.T) {
	_, store := filled(t, 1, nil)
	inbox := open(t, store, "").Opened().FolderID
	ids := map[string]bool{inbox: true}
	if again := open(t, store, "inbox").Opened().FolderID; again != inbox {
		t.Error(again, inbox)
	}
	for _, path := range []string{"Archive", "Archive/2026", "Deleted Items"} {
		ids[open(t, store, path).Opened().FolderID] = true
	}
	if !ids[open(t, store, "archive/2026").Opened().FolderID] || len(ids) != 4 {
		t.Error(ids)
	}
}

// TestReplicas has the same ids where the server must be asked what they stand for.
func TestReplicas(t *testing.T) {
	s, store := filled(t, 2, nil)
	usual := open(t, store, "")
	ids, _ := list(t, usual)
	s.boxes[george].OtherReplica = true
	m := open(t, store, "")
	if m.Opened().FolderID != usual.Opened().FolderID {
		t.Error(m.Opened(), usual.Opened())
	}
	if again, _ := list(t, m); !slices.Equal(again, ids) {
		t.Error(again, ids)
	}
	s.Forget()
	for i, id := range ids {
		if got := fetch(t, m, id); got != numbered(i) {
			t.Errorf("%q", got)
		}
	}
	other := "ff" + string(ids[0][2:])
	if removals, err := m.Remove(t.Context(), []backends.MessageID{backends.MessageID(other)}, backends.DisposalRemove); err != nil || removals[0].Failure != nil {
		t.Error(removals, err)
	}
	if again, _ := list(t, m); len(again) != 2 {
		t.Error(again)
	}
}

// TestFailures has what a login and a session may meet.
func TestFailures(t *testing.T) {
	s, store := filled(t, 1, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	s.Busy(1)
	if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[0]}); backends.KindOf(err) != backends.Throttled {
		t.Error(err)
	}
	s.Busy(1)
	if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.Throttled {
		t.Error(err)
	}
	fetch(t, m, ids[0])
	if _, err := store.Open(t.Context(), backends.OpenRequest{Credential: credential("wrong")}); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
	s.boxes[george].DeliverAt(s.boxes[george].Messages()[0].Received, "broken", []byte("no stream"))
	ids, _ = list(t, m)
	if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[1]}); backends.KindOf(err) != backends.Poison {
		t.Error(err)
	}
	fetch(t, m, ids[0])
	if err := store.Health(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Fetch(ctx, backends.FetchRequest{ID: ids[0]}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	fetch(t, m, ids[0])
}

// TestFrontEnds has front ends that answer in the place of Exchange.
func TestFrontEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		offers string
		login  backends.Kind
		health backends.Kind
	}{
		{"Basic is switched off", http.StatusUnauthorized, "Negotiate", backends.Permanent, 0},
		{"a wrong password", http.StatusUnauthorized, `Basic realm="x"`, backends.BadCredentials, 0},
		{"no MAPI over HTTP for the account", http.StatusForbidden, "", backends.Permanent, 0},
		{"no MAPI over HTTP", http.StatusNotFound, "", backends.Unsupported, 0},
		{"throttled", http.StatusTooManyRequests, "", backends.Throttled, 0},
		{"out of service", http.StatusServiceUnavailable, "", backends.Throttled, backends.Temporary},
		{"broken", http.StatusBadGateway, "", backends.Temporary, backends.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if test.offers != "" {
					w.Header().Set("WWW-Authenticate", test.offers)
				}
				w.WriteHeader(test.status)
			}))
			t.Cleanup(web.Close)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			store := exchange.New()
			t.Cleanup(func() { _ = store.Close() })
			if err := store.Configure(t.Context(), backends.Settings{Raw: fmt.Appendf(nil, `{"url": %q, "ca": %q, "authentication": "basic"}`, web.URL, ca)}); err != nil {
				t.Fatal(err)
			}
			_, err := store.Login(t.Context(), credential("x"))
			if backends.KindOf(err) != test.login || strings.Contains(err.Error(), "george") {
				t.Errorf("login: %v", err)
			}
			if err := store.Health(t.Context()); backends.KindOf(err) != test.health {
				t.Errorf("health: %v", err)
			}
		})
	}
}
