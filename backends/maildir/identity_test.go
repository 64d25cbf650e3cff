package maildir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestFolderID: a folder has one id by each of its names, and two folders have two.
func TestFolderID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	box := filepath.Join(w.root, "sakes.example", "anna")
	for _, name := range []string{"", ".Foo", ".foo", ".Lists.Go", ".&AMQ-", ".Ö"} {
		for _, part := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(box, name, part), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "shared")
	if err := os.MkdirAll(filepath.Join(elsewhere, "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{".Alias": ".Foo", ".Self": ".", ".Out": elsewhere} {
		if err := os.Symlink(to, filepath.Join(box, link)); err != nil {
			t.Fatal(err)
		}
	}
	if where, err := filepath.EvalSymlinks(elsewhere); err != nil {
		t.Fatal(err)
	} else {
		elsewhere = where
	}
	for name, want := range map[string]string{
		"": "INBOX", "INBOX": "INBOX", "inbox": "INBOX", "Self": "INBOX",
		"Foo": ".Foo", "foo": ".foo", "Alias": ".Foo", "Lists/Go": ".Lists.Go",
		"Ä": ".&AMQ-", "&AMQ-": ".&AMQ-", "Ö": `.\u00d6`, "Out": elsewhere,
	} {
		d, err := w.Open(t.Context(), backends.OpenRequest{
			Credential: backends.Credential{Kind: backends.CredentialPassword, User: anna, Secret: []byte(secret)}, Folder: name,
		})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := d.Opened().FolderID; got != want {
			t.Errorf("%q is the folder %q, not %q", name, got, want)
		}
		_ = d.Close()
	}
}

// oneCase is a file system to which letters of any case are the same.
type oneCase struct {
	disk
	names []string
}

func (d oneCase) Names(string) ([]string, error) { return d.names, nil }

// TestFolderIDCase: where the file system does not tell letters of any case apart, a folder has the
// name that it was made with. A second name for a folder stands for such a file system here.
func TestFolderIDCase(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, ".foo"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".foo", filepath.Join(root, ".Foo")); err != nil {
		t.Fatal(err)
	}
	b := &box{disk: sameFile{oneCase{names: []string{".", "cur", ".Foo"}}}, dir: root}
	got, err := b.folderID(filepath.Join(root, ".foo"))
	if err != nil || got != ".Foo" {
		t.Errorf("the folder is %q (%v)", got, err)
	}
}

// sameFile follows links, as a folder that is found by another spelling is the same one.
type sameFile struct{ oneCase }

func (d sameFile) Lstat(path string) (os.FileInfo, error) { return os.Stat(path) }
