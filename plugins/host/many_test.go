package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// fakeFile is a message that stands in a file.
type fakeFile struct {
	*fakeContent
	file           *os.File
	offset, length int64
}

func (f *fakeFile) File() (backends.OpenFile, int64, int64) { return f.file, f.offset, f.length }
func (f *fakeFile) Close() error                            { return f.file.Close() }

// fakeWhole is a message that is all of a file.
type fakeWhole struct {
	*fakeFile
	size, expected int64
}

func (f *fakeWhole) File() (backends.OpenFile, int64, int64) {
	panic("the gateway looks at the file itself")
}

func (f *fakeWhole) WholeFile() (backends.OpenFile, int64, int64) { return f.file, f.size, f.expected }

// wholeContentOf makes a content's file, with LF for line ends. By its name it has the length that is told, or another one,
// or any is right; its size is told wrong; or it is no regular file.
func wholeContentOf(c *fakeContent, what string) (backends.Content, error) {
	part, err := fileContentOf(c, "file")
	if err != nil {
		return nil, err
	}
	f := &fakeWhole{part.(*fakeFile), c.size, part.(*fakeFile).length}
	text := make([]byte, f.length)
	if _, err := f.file.ReadAt(text, f.offset); err != nil {
		return nil, err
	}
	if err := f.file.Truncate(f.length); err != nil {
		return nil, err
	}
	if _, err := f.file.WriteAt(text, 0); err != nil {
		return nil, err
	}
	switch what {
	case "whole-any":
		f.expected = -1
	case "whole-longer": // than it was when its size was found
		f.expected--
		f.size--
	case "whole-wrong":
		f.size++
	case "whole-pipe":
		_ = f.file.Close()
		var w *os.File
		f.file, w, err = os.Pipe()
		return f, errors.Join(err, w.Close())
	}
	return f, nil
}

// fileBefore is what stands in the file in front of the message.
const fileBefore = "something else"

// fileContentOf makes a content's file, with LF for line ends; what is wrong with it is in its name.
func fileContentOf(c *fakeContent, what string) (backends.Content, error) {
	text := bytes.ReplaceAll(wholePattern(int(c.at)), []byte("\r\n"), []byte("\n"))
	f := &fakeFile{fakeContent: c, offset: int64(len(fileBefore)), length: int64(len(text))}
	var err error
	switch what {
	case "file-pipe":
		var w *os.File
		f.file, w, err = os.Pipe()
		return f, errors.Join(err, w.Close())
	case "file-proc":
		f.file, err = os.Open("/proc/self/stat")
		return f, err
	case "file-folder":
		f.file, err = os.Open(os.TempDir())
		return f, err
	case "file-socket":
		var conn net.PacketConn
		if conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
			f.file, err = conn.(*net.UDPConn).File()
			err = errors.Join(err, conn.Close())
		}
		return f, err
	case "file-write":
		f.file, err = os.OpenFile(filepath.Join(os.TempDir(), "written"), os.O_CREATE|os.O_WRONLY, 0o600)
		return f, errors.Join(err, os.Remove(f.file.Name()))
	case "file-cut":
		text = text[:len(text)/2]
	case "file-changed":
		text = bytes.ReplaceAll(text, []byte("6\n"), []byte("67"))
	case "file-crash":
		time.AfterFunc(time.Millisecond, func() { os.Exit(3) })
	case "file-negative":
		f.offset = -1
	}
	if f.file, err = os.CreateTemp("", "message"); err != nil {
		return nil, err
	}
	_, err = f.file.Write(append([]byte(fileBefore), text...))
	return f, errors.Join(err, os.Remove(f.file.Name()))
}

// many asks for messages together.
func many(t testing.TB, drop backends.Maildrop, ids ...string) backends.Contents {
	t.Helper()
	request := backends.FetchManyRequest{}
	for _, id := range ids {
		request.IDs = append(request.IDs, backends.MessageID(id))
	}
	contents, err := drop.(backends.ManyFetcher).FetchMany(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = contents.Close() })
	return contents
}

// got reads the next message of many.
func got(ctx context.Context, contents backends.Contents) ([]byte, error) {
	c, err := contents.Next(ctx)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(c)
	return data, errors.Join(err, c.Close())
}

func isWhole(t testing.TB, data []byte, err error, n int) {
	t.Helper()
	if err != nil || !bytes.Equal(data, wholePattern(n)) {
		t.Errorf("%d octets, %v; want %d", len(data), err, n)
	}
}

// fileDescriptors are the files among the descriptors of this process that have been removed.
func fileDescriptors(t testing.TB) (n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasSuffix(to, " (deleted)") {
			n++
		}
	}
	return n
}

// TestFetchManyInOrder: one request gives several messages in their order, each ending by itself.
func TestFetchManyInOrder(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	for name, file := range map[string]string{"chunks": "size", "files": "file"} {
		t.Run(name, func(t *testing.T) {
			contents := many(t, drop, file+":64", "gone:1", file+":0", file+":300032", "poison:1", "cut:1", "fail:640", "panic:1", "readpanic:64", "size:128", file+":640")
			for i, want := range []any{64, backends.NotFound, 0, 300032, backends.Poison, backends.Poison, backends.Throttled, backends.Temporary, backends.Temporary, 128, 640} {
				data, err := got(t.Context(), contents)
				if kind, fails := want.(backends.Kind); fails {
					if backends.KindOf(err) != kind {
						t.Errorf("message %d: %v, want %v", i, err, kind)
					}
					continue
				}
				isWhole(t, data, err, want.(int))
			}
			if _, err := contents.Next(t.Context()); err != io.EOF {
				t.Error("after the last one:", err)
			}
			if err := contents.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("passed over", func(t *testing.T) {
		// More than the window holds, of which the half is not read: what nobody reads must not
		// keep what follows from coming.
		contents := many(t, drop, "size:3000000", "size:3000000", "file:64", "size:3000000", "size:64")
		for range 4 {
			if _, err := contents.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		data, err := got(t.Context(), contents)
		isWhole(t, data, err, 64)
	})
	t.Run("tops", func(t *testing.T) {
		contents, err := drop.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: []backends.MessageID{"size:640", "size:6400"}, Top: true, Lines: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer contents.Close()
		for range 2 {
			data, err := got(t.Context(), contents)
			isWhole(t, data, err, 2*lineLen)
		}
	})
	t.Run("context", func(t *testing.T) {
		contents := many(t, drop, "size:64", "hang:64", "size:64")
		data, err := got(t.Context(), contents)
		isWhole(t, data, err, 64)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := got(ctx, contents); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("none", func(t *testing.T) {
		_, err := drop.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{})
		kindIs(t, err, backends.Permanent)
	})
}

// TestPartsThatWereRead: the rest of a chunk that its reader has begun and given up counts against
// the window no more, and what is left of the content cannot be read.
func TestPartsThatWereRead(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.FetchWindow, spec.StallTimeout = fetchWindowLeast, 5*time.Second
	s, _ := start(t, spec)
	contents := many(t, openDrop(t, s), append(slices.Repeat([]string{"size:3000000"}, 8), "size:64")...)
	for range 8 {
		c, err := contents.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, lineLen)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if n, err := c.Read(make([]byte, lineLen)); n != 0 || err == nil {
			t.Errorf("%d octets of a closed content, %v", n, err)
		}
	}
	data, err := got(t.Context(), contents)
	isWhole(t, data, err, 64)
}

// TestSpentWindow: a message that nobody reads and that has taken all of the window leaves none of
// it to the next one, whose head has come by then. It is granted again.
func TestSpentWindow(t *testing.T) {
	spec := specOf(t, "liar", fakeSettings{})
	spec.FetchWindow, spec.StallTimeout = fetchWindowLeast, 5*time.Second
	s, _ := start(t, spec)
	contents := many(t, openDrop(t, s), "spent", "x")
	if _, err := contents.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := contents.(*flow)
	within(t, "the next head has come", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.messages[1].head
	})
	data, err := got(t.Context(), contents)
	isWhole(t, data, err, 5)
}

// TestFilesAreHandedOver: a message that stands in a file is read from the file itself, and the
// file closed with it.
func TestFilesAreHandedOver(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	before := fileDescriptors(t)
	handed := func(t *testing.T, c backends.Content) bool {
		t.Helper()
		return c.(*content).fd >= 0
	}
	t.Run("read", func(t *testing.T) {
		contents := many(t, drop, "file:64", "file:640000")
		c, err := contents.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if (runtime.GOOS == "linux" || runtime.GOOS == "darwin") != handed(t, c) {
			t.Error("no file was handed over, or one was where there are none")
		}
		if c.Size() != 64 {
			t.Error(c.Size())
		}
		data, err := io.ReadAll(c)
		isWhole(t, data, err, 64)
		if c, err = contents.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		n, err := c.(io.WriterTo).WriteTo(&out)
		isWhole(t, out.Bytes(), err, 640000)
		if n != 640000 {
			t.Error(n)
		}
	})
	t.Run("given up", func(t *testing.T) {
		contents := many(t, drop, "file:64", "file:64", "file:64", "size:64", "file:64")
		if _, err := contents.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := contents.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(fetch(t, drop, "size:64")) // behind the answers to what was given up
		isWhole(t, data, err, 64)
	})
	t.Run("session's end", func(t *testing.T) {
		other := openDrop(t, s)
		contents := many(t, other, "file:64", "file:64")
		c, err := contents.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err == nil {
			t.Error("a content is read after the session's end")
		}
		_ = contents.Close()
	})
	t.Run("not asked for alone", func(t *testing.T) {
		c := fetch(t, drop, "file:64").(single)
		if handed(t, c.content) {
			t.Error("the file was handed over")
		}
		data, err := io.ReadAll(c)
		isWhole(t, data, err, 64)
	})
	within(t, "all files are closed", func() bool { return fileDescriptors(t) == before })
}

// TestFilesThatFail: each of these is told, for its message alone, and nothing looks complete.
func TestFilesThatFail(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for _, what := range []string{"file-cut", "file-changed"} {
		t.Run(what, func(t *testing.T) {
			contents := many(t, openDrop(t, s), what+":300032", "file:64")
			data, err := got(t.Context(), contents)
			kindIs(t, err, backends.Temporary)
			if len(data) == 0 {
				t.Error("nothing came")
			}
			data, err = got(t.Context(), contents)
			isWhole(t, data, err, 64)
		})
	}
	t.Run("file-negative", func(t *testing.T) {
		_, err := got(t.Context(), many(t, openDrop(t, s), "file-negative:64", "file:64"))
		kindIs(t, err, backends.Temporary)
	})
	t.Run("the plugin dies", func(t *testing.T) {
		drop := openDrop(t, s)
		contents := many(t, drop, "file-crash:64", "file:64")
		c, err := contents.Next(t.Context())
		if err == nil {
			lost := make(chan struct{})
			drop.Opened().AfterLoss(func() { close(lost) })
			<-lost
			_, err = io.ReadAll(c)
		}
		if !errors.Is(err, ErrPluginDied) {
			t.Error(err)
		}
	})
}

// TestFilesAreDeclined: what is no regular file of this machine comes through the plugin, and no
// more files are asked for.
func TestFilesAreDeclined(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	for _, what := range []string{"file-pipe", "file-proc", "file-folder", "file-socket", "file-write"} {
		t.Run(what, func(t *testing.T) {
			s, log := start(t, specOf(t, "store", fakeSettings{}))
			drop := openDrop(t, s)
			contents := many(t, drop, what+":640", what+":300032", "size:64")
			data, err := got(t.Context(), contents)
			isWhole(t, data, err, 640)
			c, err := contents.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			_, err = c.(io.WriterTo).WriteTo(&out)
			isWhole(t, out.Bytes(), err, 300032)
			data, err = got(t.Context(), contents)
			isWhole(t, data, err, 64)
			if !strings.Contains(log.String(), "the store's files are not read by the gateway itself") {
				t.Error("the log does not say so")
			}
			c, err = many(t, drop, "file:64", "file:64").Next(t.Context())
			if err != nil || c.(*content).fd >= 0 {
				t.Errorf("files are still taken (%v)", err)
			}
		})
	}
}

// TestWholeFiles: the gateway looks itself how long a file is that a plugin has not looked at. A message whose file is
// another one than the plugin expects comes in chunks, and this alone.
func TestWholeFiles(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		return
	}
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	before := fileDescriptors(t)
	contents := many(t, drop, "whole:64", "whole-any:300032", "whole:0", "whole-any:0", "whole-longer:640", "whole-pipe:640", "whole-wrong:640", "whole:128")
	for i, want := range []struct {
		octets int
		size   int64
		handed bool
	}{{64, 64, true}, {300032, 300032, true}, {0, 0, true}, {0, 0, true}, {640, -1, false}, {640, 640, false}, {640, 641, true}, {128, 128, true}} {
		c, err := contents.Next(t.Context())
		if err != nil {
			t.Fatal(i, err)
		}
		if handed := c.(*content).fd >= 0; handed != want.handed || c.Size() != want.size {
			t.Errorf("message %d: a file: %v, size %d", i, handed, c.Size())
		}
		data, err := io.ReadAll(c)
		if want.size > int64(want.octets) { // I3
			kindIs(t, err, backends.Temporary)
			err = nil
		}
		isWhole(t, data, err, want.octets)
	}
	if _, err := contents.Next(t.Context()); err != io.EOF {
		t.Error(err)
	}
	_ = contents.Close()
	within(t, "all files are closed", func() bool { return fileDescriptors(t) == before })
	c, err := many(t, drop, "file:64", "file:64").Next(t.Context())
	if err != nil || c.(*content).fd < 0 {
		t.Errorf("no more files are taken (%v)", err)
	}
}

// TestFilesAreBounded: beyond the bound messages come in chunks.
func TestFilesAreBounded(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	ids := make([]string, backends.FetchManyMost)
	for i := range ids {
		ids[i] = "file:64"
	}
	before := fileDescriptors(t)
	var all []backends.Contents
	handed, chunks := 0, 0
	for range filesMost/len(ids) + 2 {
		contents := many(t, openDrop(t, s), ids...)
		c, err := contents.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, contents); c.(*content).fd >= 0 {
			handed++
		} else {
			chunks++
		}
	}
	if open := fileDescriptors(t) - before; chunks != 2 || open > filesMost {
		t.Errorf("%d times files, %d times none, %d files open", handed, chunks, open)
	}
	for _, contents := range all {
		_ = contents.Close()
	}
	c, err := many(t, openDrop(t, s), ids...).Next(t.Context())
	if err != nil || c.(*content).fd < 0 {
		t.Errorf("no files after all were closed (%v)", err)
	}
}

// TestLiesAboutMany: a plugin that answers for other messages than were asked for, or tells of
// files that it has not sent, breaks the rules (I10).
func TestLiesAboutMany(t *testing.T) {
	s, _ := start(t, specOf(t, "liar", fakeSettings{}))
	for name, fine := range map[string]int{"no record": 1, "too few": 1, "too many": 2, "no end": 0, "part of a whole": 0} {
		t.Run(name, func(t *testing.T) {
			contents := many(t, openDrop(t, s), name, "x", "y")
			for i := range 3 {
				_, err := got(t.Context(), contents)
				if i < fine && err != nil {
					t.Errorf("message %d: %v", i, err)
				} else if i > fine {
					kindIs(t, err, backends.Temporary)
				}
			}
		})
	}
}
