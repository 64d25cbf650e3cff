//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestWinmail has a message with a winmail.dat come in by SMTP, for mailboxes of all policies: LIST and RETR agree, twice,
// across a restart, and after a reload has changed the policy; unique-ids stay (I6, I7).
func TestWinmail(t *testing.T) {
	t.Parallel()
	store := harness.MaildirStore("mail", harness.Domain)
	winmail := func(user, policy string) harness.Mapping {
		return harness.Mapping{"address": user + "@" + harness.Domain, "policy": harness.Mapping{"winmail": policy}}
	}
	store["mailboxes"] = []harness.Mapping{winmail("erika", "read"), winmail("eva", "deliver")}
	g := harness.Start(t, harness.Options{Stores: []harness.Mapping{store}})
	erika, eva, max := g.AddUser(t, "erika"), g.AddUser(t, "eva"), g.AddUser(t, "max")
	content, err := os.ReadFile("../../backends/mapi/mime/testdata/messages/24-winmail-dat.sent.eml")
	if err != nil {
		t.Fatal(err)
	}
	s := mx(t, g)
	if _, err := s.Send(envelope(erika, eva, max), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
	isOpened := func(message []byte) bool {
		opened := bytes.Contains(message, []byte("multipart/alternative")) && bytes.Contains(message, []byte(`name="a-rather-long-file-name`)) || bytes.Contains(message, []byte("Content-Type: application/pdf"))
		if opened == bytes.Contains(message, []byte("application/ms-tnef")) {
			t.Errorf("it is neither opened nor as it came:\n%s", message)
		}
		return opened
	}
	// whole reads the one message, and makes sure that what is told of it holds.
	whole := func(user harness.User) (message []byte, uidl string) {
		t.Helper()
		p := login(t, g, user)
		sizes, err := p.List()
		if err != nil {
			t.Fatal(err)
		}
		ids, err := p.UIDL()
		if err != nil {
			t.Fatal(err)
		}
		if message, err = p.Retr(1); err != nil || int64(len(message)) != sizes[1] || len(sizes) != 1 {
			t.Errorf("%s: %d octets came, and LIST has %v (%v)", user.Address, len(message), sizes, err)
		}
		lines := bytes.SplitAfter(message[bytes.Index(message, []byte("\r\n\r\n"))+4:], []byte("\r\n"))
		top, err := p.Top(1, 12)
		if err != nil || !bytes.Equal(top, message[:bytes.Index(message, []byte("\r\n\r\n"))+4+len(bytes.Join(lines[:12], nil))]) {
			t.Errorf("%s: the top is %q (%v), of %q", user.Address, top, err, message)
		}
		if err := p.Quit(); err != nil {
			t.Error(err)
		}
		return message, ids[1]
	}
	stored := func(user string) []byte {
		files, err := filepath.Glob(filepath.Join(g.Dir, "mail", "*", user, "*", "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s has the files %q, %v", user, files, err)
		}
		octets, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return octets
	}
	opened, uidl := whole(erika)
	if again, _ := whole(erika); !isOpened(opened) || !bytes.Equal(again, opened) {
		t.Error("erika has other octets the second time")
	}
	if evas, _ := whole(eva); !isOpened(evas) || !isOpened(stored("eva")) || isOpened(stored("erika")) {
		t.Error("eva's message is not opened where it is stored, or erika's is")
	}
	if as, _ := whole(max); isOpened(as) || !bytes.HasSuffix(as, content) {
		t.Errorf("max's message is not as it came:\n%s", as)
	}

	g.Stop(t)
	g.Run(t)
	if again, same := whole(erika); !bytes.Equal(again, opened) || same != uidl {
		t.Errorf("after a restart erika has other octets, or the unique-id %s in the place of %s", same, uidl)
	}
	g.Configure(t, func(o *harness.Options) {
		o.Stores[0]["mailboxes"] = []harness.Mapping{winmail("max", "read")}
	})
	g.Reload(t)
	if as, same := whole(erika); !bytes.HasSuffix(as, content) || same != uidl {
		t.Errorf("after the reload erika has the unique-id %s in the place of %s, and\n%s", same, uidl, as)
	}
	if maxs, _ := whole(max); !isOpened(maxs) {
		t.Error("after the reload max's message is as it came")
	}
}
