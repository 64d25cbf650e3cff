//go:build bench && linux

package bench

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/convert"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
)

// contentGoal is how many messages of 10 KB one processor converts in a second.
const contentGoal = 1000

// TestContent measures conversions of messages: the library's own on one processor, and `dipylon convert` beside the
// programs that do a part of its work.
func TestContent(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	heading("Dipylon", "peer")
	t.Run("each", conversions)
	t.Run("memory", memoryOfConversions)
	t.Run("peers", besidePeers)
}

// mail10 is a message of 10 KB as people send it: text, HTML, and a file.
func mail10() []byte {
	var file bytes.Buffer
	e := base64.NewEncoder(base64.StdEncoding, &file)
	_, _ = io.CopyN(e, corpus.Sized("file", 10_000), 3_000)
	_ = e.Close()
	text := strings.Repeat("Dear Ada, the bill for the hall is with this letter; please look at it.\r\n", 30)
	html := strings.Repeat("<p style=\"margin:0\">Dear Ada, the bill for the <b>hall</b> is with this letter.</p>\r\n", 30)
	return fmt.Appendf(nil, "Received: from mx.sakes.example by mail.sakes.example; Mon, 30 Nov 2026 09:00:00 +0100\r\n"+
		"From: =?utf-8?q?Zo=C3=AB?= <zoe@sakes.example>\r\nTo: Ada <ada@sakes.example>, Ben <ben@sakes.example>\r\nCc: hall@sakes.example\r\n"+
		"Subject: Re: the hall\r\nDate: Mon, 30 Nov 2026 09:00:00 +0100\r\nMessage-ID: <1@sakes.example>\r\nX-Mailer: a program\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"+
		"--c\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n--c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%s\r\n--c--\r\n"+
		"--b\r\nContent-Type: application/pdf; name=bill.pdf\r\nContent-Disposition: attachment; filename=bill.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n",
		text, html, folded(file.String()))
}

func folded(text string) string {
	var b strings.Builder
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	return b.String() + text
}

// keepInMemory is where the benchmark has what a reader keeps.
func keepInMemory(r io.Reader) (io.ReaderAt, int64, error) {
	octets, err := io.ReadAll(r)
	return bytes.NewReader(octets), int64(len(octets)), err
}

func convertible(t *testing.T, from convert.Format, octets []byte) *mapi.Message {
	t.Helper()
	m, _, err := convert.Reader{Keep: keepInMemory}.Read(from, bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func converted(t *testing.T, to convert.Format, m *mapi.Message) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := (convert.Writer{}).Write(to, &out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// conversions prints how many messages of 10 KB each conversion does in a second of processor time.
func conversions(t *testing.T) {
	mail := mail10()
	m := convertible(t, convert.EML, mail)
	forms := map[convert.Format]string{convert.EML: "MIME", convert.TNEF: "TNEF", convert.FastTransfer: "FastTransfer"}
	for _, form := range []convert.Format{convert.EML, convert.TNEF, convert.FastTransfer} {
		octets := converted(t, form, m)
		perSecond(t, fmt.Sprintf("%s to MAPI, %d octets", forms[form], len(octets)), func() error {
			read, _, err := convert.Reader{Keep: keepInMemory}.Read(form, bytes.NewReader(octets), int64(len(octets)))
			if err != nil {
				return err
			}
			return eachOctet(read)
		})
		perSecond(t, fmt.Sprintf("MAPI to %s, %d octets", forms[form], len(octets)), func() error {
			return convert.Writer{}.Write(form, io.Discard, m)
		})
	}
}

// eachOctet reads all that a message has outside of memory, so that nothing is left to be decoded.
func eachOctet(m *mapi.Message) error {
	var all error
	for _, tag := range []mapi.Tag{mapi.PidTagBody, mapi.PidTagHtml} {
		if v, large := m.Get(tag).(mapi.Streamed); large {
			all = errors.Join(all, drainContent(v.Content))
		}
	}
	for _, a := range m.Attachments {
		all = errors.Join(all, drainContent(a.Data))
	}
	return all
}

func drainContent(c mapi.Content) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// perSecond prints a row: how often work is done in a second of this process's time, and what it allocates.
func perSecond(t *testing.T, what string, work func() error) {
	t.Helper()
	const spent = time.Second / 2
	var before, after runtime.MemStats
	var rates []float64
	var done, octets uint64
	for range *pairs {
		runtime.GC()
		runtime.ReadMemStats(&before)
		n, start := 0, used(unix.RUSAGE_SELF)
		for used(unix.RUSAGE_SELF)-start < spent {
			for range 20 {
				if err := work(); err != nil {
					t.Fatal(err)
				}
			}
			n += 20
		}
		rates = append(rates, float64(n)/(used(unix.RUSAGE_SELF)-start).Seconds())
		runtime.ReadMemStats(&after)
		done, octets = done+uint64(n), octets+after.TotalAlloc-before.TotalAlloc
	}
	rate := median(rates)
	fmt.Printf("| %s (%s KB allocated) | %s messages/s | | | ≥ %d | |\n", what, number(float64(octets/done)/1000), number(rate), contentGoal)
}

// used is the processor time of this process, or of its children that have ended.
func used(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		panic(err) // no other process can be asked for
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// largeMail is how many octets the large message has.
const largeMail = 100_000_000

// memoryOfConversions prints how much more memory the command has at its peak for a large message than for a small one.
func memoryOfConversions(t *testing.T) {
	dipylon, folder := harness.Binary(t, harness.Plain), t.TempDir()
	file := func(name string) string { return filepath.Join(folder, name) }
	small := mail10()
	head, tail, _ := bytes.Cut(small, []byte("base64\r\n\r\n"))
	_, end, _ := bytes.Cut(tail, []byte("\r\n--b--"))
	line := strings.Repeat("QUFB", 19) + "\r\n"
	large := fmt.Appendf(nil, "%sbase64\r\n\r\n%s--b--%s", head, strings.Repeat(line, largeMail/len(line)), end)
	for name, octets := range map[string][]byte{"small.eml": small, "large.eml": large} {
		if err := os.WriteFile(file(name), octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range [][2]string{{"eml", "tnef"}, {"tnef", "eml"}, {"eml", "fx"}, {"fx", "eml"}} {
		few := peak(t, dipylon, "convert", file("small."+way[0]), file("small."+way[1]))
		many := peak(t, dipylon, "convert", file("large."+way[0]), file("large."+way[1]))
		fmt.Printf("| growth of memory by a message of 100 MB, %s to %s | %s MB | | | ≤ 32 MB | |\n", way[0], way[1], number(float64(many-few)/1e6))
	}
}

// peak runs a program and returns the most memory that it had. It is Python's child: what the kernel says of ours begins
// with what this process has.
func peak(t *testing.T, program ...string) int64 {
	t.Helper()
	const run = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
	out, err := exec.Command("python3", append([]string{"-c", run}, program...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// besidePeers compares with programs that unpack TNEF and read .msg. For TNEF a large file is unpacked, so that starting the
// program does not count; a .msg is converted by two programs.
func besidePeers(t *testing.T) {
	folder := t.TempDir()
	m := convertible(t, convert.EML, mail10())
	for i := range 50 {
		a := &mapi.Attachment{Data: mapi.ContentOf(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))}
		a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
		a.Set(mapi.PidTagAttachLongFilename, mapi.String(fmt.Sprintf("%d.bin", i)))
		m.Attachments = append(m.Attachments, a)
	}
	winmail, unpacked := filepath.Join(folder, "winmail.dat"), filepath.Join(folder, "unpacked")
	if err := os.WriteFile(winmail, converted(t, convert.TNEF, m), 0o600); err != nil {
		t.Fatal(err)
	}
	emptied := func(work func() (float64, error)) func() (float64, error) {
		return func() (float64, error) {
			if err := errors.Join(os.RemoveAll(unpacked), os.Mkdir(unpacked, 0o700)); err != nil {
				return 0, err
			}
			return work()
		}
	}
	ours := side{"Dipylon", emptied(func() (float64, error) {
		start := used(unix.RUSAGE_SELF)
		err := unpack(winmail, unpacked)
		return float64(used(unix.RUSAGE_SELF)-start) / 1e6, err
	})}
	for _, peer := range [][]string{{"tnef", "-C", unpacked, winmail}, {"ytnef", "-F", "-f", unpacked, winmail}} {
		theirs := side{peer[0], emptied(command(peer[0], peer[1:]...))}
		compare(t, row{what: "TNEF of 50 MB unpacked, beside " + peer[0], unit: "ms", goal: 1, atMost: true}, ours, theirs)
	}
	saved, err := filepath.Abs("../../backends/mapi/msg/testdata/letter.msg")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, row{what: "a .msg to MIME, a process each, beside msgconvert", unit: "ms", goal: 1, atMost: true},
		side{"Dipylon", command(harness.Binary(t, harness.Plain), "convert", saved, filepath.Join(folder, "ours.eml"))},
		side{"msgconvert", command("msgconvert", "--outfile", filepath.Join(folder, "theirs.eml"), saved)})
}

// unpack writes the attachments of TNEF into a folder.
func unpack(winmail, folder string) error {
	file, err := os.Open(winmail)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	s, err := tnef.Decode(file, info.Size())
	if err != nil {
		return err
	}
	for _, a := range s.Message.Attachments {
		if err := save(a.Data, filepath.Join(folder, filepath.Base(a.Text(mapi.PidTagAttachLongFilename)))); err != nil {
			return err
		}
	}
	return nil
}

func save(data mapi.Content, path string) error {
	r, err := data.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// command returns what runs a program and tells the processor time that it took, in ms.
func command(name string, args ...string) func() (float64, error) {
	return func() (float64, error) {
		c := exec.Command(name, args...)
		if out, err := c.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%v: %w\n%s", c, err, out)
		}
		return float64(c.ProcessState.UserTime()+c.ProcessState.SystemTime()) / 1e6, nil
	}
}
