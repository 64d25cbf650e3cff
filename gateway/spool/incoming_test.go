//go:build linux

package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// come is a message as it comes.
func come(t testing.TB, s *Spool, content string) *buffer.Buffer {
	t.Helper()
	return full(t, buffer.Options{Storage: s.Incoming()}, content)
}

// headed gives a message another beginning.
func headed(t testing.TB, came *buffer.Buffer, head string, from int64) *buffer.Buffer {
	t.Helper()
	b, err := came.WithHead(strings.NewReader(head), from)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// acceptHeaded takes a message in that came and has got another beginning.
func acceptHeaded(t testing.TB, s *Spool, m Message, content, head string, from int64) {
	t.Helper()
	came := come(t, s, content)
	if err := s.Accept(t.Context(), m, headed(t, came, head, from)); err != nil {
		t.Fatal(err)
	}
	if err := came.Discard(); err != nil {
		t.Fatal(err)
	}
}

var bulk = strings.Repeat("0123456789abcdef", 20<<10)

// TestIncoming: the file into which a message is written as it comes is the message's, with whatever beginning it gets
// then, also for a process that comes later.
func TestIncoming(t *testing.T) {
	t.Parallel()
	o := state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}
	folder := t.TempDir()
	in := func(o *Options) { o.Folder = folder }
	for name, c := range map[string]struct {
		head string
		from int64
	}{
		"in front":  {"Received: here\r\n", 0},
		"longer":    {strings.Repeat("X-Long: header\r\n", 200), 100},
		"as long":   {strings.Repeat("y", 1000), 1000},
		"shorter":   {"Subject: x\r\n", 50_000},
		"none":      {"", 0},
		"only left": {"z", int64(len(bulk))},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, o, in)
			came := come(t, s, bulk)
			written := filesOf(t, s)
			want := c.head + bulk[c.from:]
			b := headed(t, came, c.head, c.from)
			if b == nil || b.Size() != int64(len(want)) {
				t.Fatalf("with its head: %+v", b)
			}
			if err := s.Accept(t.Context(), to(name, "a@x.example"), b); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(b.Discard(), came.Discard()); err != nil {
				t.Fatal(err)
			}
			if name == "only left" { // so short that it is in its row
				if left := filesOf(t, s); len(left) != 0 {
					t.Errorf("files: %q", left)
				}
			} else if left := filesOf(t, s); len(left) != 1 || left[0] != written[0] {
				t.Errorf("files: %q before, %q now", written, left)
			}
			if text := textOf(t, one(t, s, "x.example")); text != want {
				t.Errorf("it has %d octets, not %d, or others", len(text), len(want))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = start(t, o, in)
			<-s.swept
			d := one(t, s, "x.example")
			if text := textOf(t, d); text != want {
				t.Errorf("later, it has %d octets, not %d, or others", len(text), len(want))
			}
			settle(t, s, all(d, Outcome{State: Delivered, At: time.Now()}))
			if left := filesOf(t, s); len(left) != 0 {
				t.Errorf("files are left: %q", left)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// incomingMark as the first argument makes the test binary a process that takes one message in as it comes.
const incomingMark = "incoming-for-a-test"

// incomingChild takes it in, and prints its file's name.
func incomingChild(where, folder string) {
	ctx := context.Background()
	db, err := state.Open(ctx, state.Options{Log: zerolog.Nop(), Folder: where})
	if err != nil {
		panic(err)
	}
	s, err := Open(ctx, Options{Log: zerolog.Nop(), DB: db, Folder: folder})
	if err != nil {
		panic(err)
	}
	came, err := buffer.Fill(buffer.Options{Storage: s.Incoming()}, strings.NewReader(bulk))
	if err != nil {
		panic(err)
	}
	with, err := came.WithHead(strings.NewReader("Received: here\r\n"), 0)
	if err == nil {
		err = s.Accept(ctx, to("k", "a@x.example"), with)
	}
	files, listed := os.ReadDir(folder)
	if err = errors.Join(err, listed, came.Discard(), s.Close(), db.Close()); err != nil || len(files) != 1 {
		panic(fmt.Sprint(files, err))
	}
	fmt.Println(files[0].Name())
}

// TestIncomingIsSynced (I1): the file that becomes a message's is synced with its prologue and its head, and its name is.
func TestIncomingIsSynced(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	spooled, trace := filepath.Join(folder, "spool"), filepath.Join(folder, "trace")
	out, err := exec.Command("strace", "-f", "-y", "-qq", "-o", trace, "-e", "trace=fsync,fdatasync,pwrite64", os.Args[0], incomingMark, folder, spooled).Output()
	if err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	file := "<" + filepath.Join(spooled, strings.TrimSpace(string(out))) + ">"
	content, name := false, strings.Contains(string(calls), "<"+spooled+">)")
	for line := range strings.Lines(string(calls)) {
		switch {
		case !strings.Contains(line, file):
		case strings.Contains(line, "pwrite64("):
			content = false
		default:
			content = true
		}
	}
	if !content || !name {
		t.Errorf("the content is synced behind what was written last: %v, and the name: %v, in\n%s", content, name, calls)
	}
}

// TestIncomingIsNotKept: a message that the spool does not get leaves nothing, nor does a head that has no room.
func TestIncomingIsNotKept(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		came := come(t, s, bulk)
		if b := headed(t, came, strings.Repeat("x", headRoom), 0); b != nil {
			t.Error("a head is taken that has no room")
		}
		if b := headed(t, full(t, buffer.Options{Storage: s.Incoming()}, "short"), "x", 0); b != nil {
			t.Error("what is in memory has got a head")
		}
		if text := make([]byte, 16); o.Folder != "" {
			if _, err := headed(t, came, "x", 0).ReadAt(text, 1); err != nil || string(text) != bulk[:16] {
				t.Errorf("behind the head: %q, %v", text, err)
			}
		}
		if b := headed(t, came, "x", 0); b != nil {
			if err := b.Discard(); err != nil {
				t.Error(err)
			}
		}
		if text, err := io.ReadAll(came.Reader()); err != nil || string(text) != bulk {
			t.Errorf("as it came, it has %d octets, or others, when nobody wants the head any more: %v", len(text), err)
		}
		if err := came.Discard(); err != nil {
			t.Error(err)
		}
		if left := filesOf(t, s); len(left) != 0 {
			t.Errorf("files are left: %q", left)
		}
	})
}

// TestIncomingDamaged: a content that has lost octets, or has got some, or whose start is not where its file says, is
// not read as if it were whole.
func TestIncomingDamaged(t *testing.T) {
	for name, harm := range map[string]func(file string) error{
		"an octet less":                func(file string) error { return os.Truncate(file, headRoom+int64(len(bulk))-1) },
		"an octet more":                func(file string) error { return os.Truncate(file, headRoom+int64(len(bulk))+1) },
		"almost all":                   func(file string) error { return os.Truncate(file, 5) },
		"no magic":                     func(file string) error { return overwrite(file, 0, "x") },
		"another start":                func(file string) error { return overwrite(file, 15, "\x01") },
		"a start in front of the file": func(file string) error { return overwrite(file, 8, "\xff") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
			<-s.swept
			acceptHeaded(t, s, to("k", "a@x.example"), bulk, "Received: here\r\n", 0)
			file := filepath.Join(s.files.folder, filesOf(t, s)[0])
			if err := s.files.look(must(idOf(filepath.Base(file))), int64(len(bulk)+16)); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := harm(file); err != nil {
				t.Fatal(err)
			}
			if err := s.files.look(must(idOf(filepath.Base(file))), int64(len(bulk)+16)); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
		})
	}
}

func must(id ID, is bool) ID {
	if !is {
		panic("no name of a message's file")
	}
	return id
}

// overwrite changes some octets of a file.
func overwrite(file string, at int64, octets string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(octets), at)
	return errors.Join(err, f.Close())
}
