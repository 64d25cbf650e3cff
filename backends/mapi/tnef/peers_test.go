//go:build linux

package tnef

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
	"github.com/dipylon/dipylon/test/nodejs"
)

// peers are programs of others that read TNEF: Debian's. ./test/run installs them. Each is called with a file and a
// folder, and writes the attachments into it.
var peers = map[string]func(file, folder string) *exec.Cmd{
	"tnef": func(file, folder string) *exec.Cmd {
		return exec.Command("tnef", "--number-backups", "--save-body", "--body-pref=ALL", "-C", folder, file)
	},
	"ytnef": func(file, folder string) *exec.Cmd { return exec.Command("ytnef", "-F", "-f", folder, file) },
}

// unpacked returns the files that a peer finds in a stream, by their names.
func unpacked(t *testing.T, peer string, stream []byte) map[string]string {
	t.Helper()
	outer := t.TempDir()
	folder := filepath.Join(outer, "a", "b", "c")
	file := filepath.Join(outer, "winmail.dat")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := peers[peer](file, folder).CombinedOutput(); err != nil || bytes.Contains(out, []byte("ERROR")) {
		t.Fatalf("%s: %v (./test/run install)\n%s", peer, err, out)
	}
	return contents(t, folder)
}

func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		octets, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(octets)
	}
	return files
}

func attached(name, data string) *mapi.Attachment {
	a := &mapi.Attachment{Data: mapi.ContentOf([]byte(data))}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String(name))
	return a
}

// letter is a message as people send it.
func letter(t *testing.T) *mapi.Message {
	t.Helper()
	m := &mapi.Message{}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	m.Set(mapi.PidTagSubject, mapi.String("Grüße – Ω"))
	m.SetAddress(mapi.SenderAddress, mapi.Address{Name: "Zoë", Type: "SMTP", Address: "zoe@sakes.example"})
	m.Set(mapi.PidTagBody, mapi.String("first\r\nsecond\r\n"))
	m.Set(mapi.PidTagHtml, mapi.Binary("<p>first</p>"))
	var compressed bytes.Buffer
	c := rtf.NewCompressor(&compressed)
	if _, err := c.Write([]byte(`{\rtf1 first}`)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	m.Set(mapi.PidTagRtfCompressed, mapi.Binary(compressed.Bytes()))
	m.Set(mapi.PidLidReminderSet, mapi.Boolean(true))
	m.Set(mapi.PidNameKeywords, mapi.Multiple[mapi.String]{"red", "blue"})
	return m
}

// TestPeersReadFiles: what is written here others unpack to the same files.
func TestPeersReadFiles(t *testing.T) {
	long := strings.Repeat("long-", 40) + ".txt"
	files := map[string]string{
		"plain.txt": "hello", "Übersicht – Ω.pdf": "pdf", long: "a long name", "binary": string(everyOctet()), "large": strings.Repeat("0123456789", 30_000),
	}
	m := letter(t)
	for name, data := range files {
		m.Attachments = append(m.Attachments, attached(name, data))
	}
	stream := encode(t, m, Options{})
	t.Run("tnef", func(t *testing.T) {
		got := unpacked(t, "tnef", stream)
		want := map[string]string{"message.html": "<p>first</p>", "message.rtf": `{\rtf1 first}`, "message.txt": "first\r\nsecond\r\n\x00"} // the NUL is tnef's
		for name, data := range files {
			want[name] = data
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("ytnef", func(t *testing.T) { // it makes names of its own
		got := slices.Collect(maps.Values(unpacked(t, "ytnef", stream)))
		for name, data := range files {
			if !slices.Contains(got, data) {
				t.Errorf("%s is not among %d files", name, len(got))
			}
		}
	})
}

func everyOctet() []byte {
	octets := make([]byte, 256)
	for i := range octets {
		octets[i] = byte(i)
	}
	return octets
}

// TestPeersReadOddFiles: two of the same name, one that is empty, and a name that leads out of the folder.
func TestPeersReadOddFiles(t *testing.T) {
	m := letter(t)
	m.Attachments = []*mapi.Attachment{attached("same.txt", "one"), attached("same.txt", "two"), attached("empty.txt", ""), attached("../../x.txt", "out"), attached("last.txt", "last")}
	got := unpacked(t, "tnef", encode(t, m, Options{}))
	for name, data := range map[string]string{"same.txt": "one", "same.txt.1": "two", "empty.txt": "", "..%2F..%2Fx.txt": "out", "last.txt": "last"} {
		if text, ok := got[name]; !ok || text != data {
			t.Errorf("%s: %q, and there are %v", name, text, got)
		}
	}
	if got := unpacked(t, "ytnef", encode(t, m, Options{})); got["last.txt"] != "last" {
		t.Errorf("ytnef stopped before the last file: %v", got)
	}
}

// TestPeersReadObjects: a message in a message is the stream that it is here, too.
func TestPeersReadObjects(t *testing.T) {
	inner := letter(t)
	inner.Attachments = []*mapi.Attachment{attached("inner.txt", "inside")}
	holder := &mapi.Attachment{Embedded: inner}
	holder.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	holder.Set(mapi.PidTagDisplayName, mapi.String("letter"))
	m := letter(t)
	m.Attachments = []*mapi.Attachment{holder, attached("outer.txt", "outside")}
	got := unpacked(t, "tnef", encode(t, m, Options{}))
	_, object, ok := strings.Cut(got["letter"], string(unhex("789f3e22")))
	if got["outer.txt"] != "outside" || !ok {
		t.Fatalf("%v", got)
	}
	if again := unpacked(t, "tnef", append(unhex("789f3e22"), object...)); again["inner.txt"] != "inside" {
		t.Errorf("%v", again)
	}
}

// TestSameAsPeers: of what a server wrote the same files and HTML are had here as there. (ytnef gives the first of these files no name, and ends.)
func TestSameAsPeers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.tnef")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	compared := 0
	for _, file := range files {
		stream, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := decodeAll(t, stream)
		byTNEF := unpacked(t, "tnef", stream)
		for _, a := range m.Attachments {
			if a.Embedded != nil {
				continue
			}
			name, data := a.Text(mapi.PidTagAttachLongFilename), string(readAll(t, a.Data))
			if got, is := byTNEF[name]; !is || got != data {
				t.Errorf("%s: %q is %q", file, name, got)
			}
			compared++
		}
		if string(m.Bytes(mapi.PidTagHtml)) != byTNEF["message.html"] {
			t.Errorf("%s: %q", file, byTNEF["message.html"])
		}
	}
	if compared < 2 {
		t.Errorf("%d files were compared", compared)
	}
}

// TestNodeReads: node-tnef, a package of Node's, finds the same files and bodies.
func TestNodeReads(t *testing.T) {
	files := map[string]string{"plain.txt": "hello", "Übersicht – Ω.pdf": "pdf", "binary": string(everyOctet()), "large": strings.Repeat("0123456789", 3_000)}
	m := letter(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		m.Attachments = append(m.Attachments, attached(name, files[name]))
	}
	file := filepath.Join(t.TempDir(), "winmail.dat")
	if err := os.WriteFile(file, encode(t, m, Options{}), 0o600); err != nil {
		t.Fatal(err)
	}
	// It logs with a package that is not installed, and has each octet of a name as a character.
	out := nodejs.Run(t, `
const Module = require("module"), load = Module._load;
const log = {info() {}, warn() {}, error() {}, debug() {}};
Module._load = (name, ...rest) => name === "bunyan" ? {createLogger: () => log} : load(name, ...rest);
const octets = (data) => Buffer.from(data).toString("base64");
require("node-tnef").parse(process.argv[2], (error, found) => {
  if (error) throw error;
  const files = Object.fromEntries(found.Attachments.map((a) => [Buffer.from(a.Title, "latin1").toString("utf8"), octets(a.Data)]));
  console.log(JSON.stringify({files, html: octets(found.BodyHTML)}));
});
`, file)
	var found struct {
		Files map[string][]byte
		HTML  []byte
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]string{}
	for name, octets := range found.Files {
		got[name] = string(octets)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("(-written +read)\n%s", diff)
	}
	if string(found.HTML) != "<p>first</p>" {
		t.Errorf("the HTML is %q", found.HTML)
	}
}
