package maildir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// sizesName is the file in a folder where the sizes of messages are kept whose names do not
// say them, or say them wrong. It can be removed: then those messages are read once more.
const sizesName = "dipylon-sizes"

const (
	sizesHead = "dipylon-sizes 1\n"
	mostSizes = 256 << 20 // octets of the file
	noMessage = -1        // the size of what is no message: a folder, a link, a pipe
)

// sizes are a folder's sizes by id: of messages whose name cannot be relied on.
type sizes struct {
	disk  fileSystem
	dir   string
	mu    sync.Mutex
	known map[string]int64 // octets in canonical form
	dirty bool
}

func loadSizes(disk fileSystem, dir string) *sizes {
	s := &sizes{disk: disk, dir: dir, known: map[string]int64{}}
	if known, err := readSizes(disk, filepath.Join(dir, sizesName)); err == nil {
		s.known = known
	}
	return s
}

var errSizes = errors.New("not a file of sizes, or a damaged one")

// readSizes reads a file of sizes: a head, a line for each message, and the sum of it all.
func readSizes(disk fileSystem, path string) (map[string]int64, error) {
	f, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSizes))
	if err != nil {
		return nil, err
	}
	return parseSizes(text)
}

func parseSizes(text []byte) (map[string]int64, error) {
	body, ok := bytes.CutPrefix(text, []byte(sizesHead))
	cut := bytes.LastIndexByte(bytes.TrimSuffix(body, []byte("\n")), '\n') + 1
	if !ok || string(body[cut:]) != sumLine(body[:cut]) {
		return nil, errSizes
	}
	known := make(map[string]int64, bytes.Count(body, []byte("\n")))
	for line := range strings.Lines(string(body[:cut])) {
		size, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || n < noMessage || id == "" {
			return nil, errSizes
		}
		known[id] = n
	}
	return known, nil
}

func sumLine(body []byte) string { return fmt.Sprintf("sum %08x\n", crc32.ChecksumIEEE(body)) }

func (s *sizes) get(id string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.known[id]
	return n, ok
}

func (s *sizes) set(id string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.known[id]; !ok || old != n {
		s.known[id], s.dirty = n, true
	}
}

// of is what is known of each message of a list; -1: nothing. saved says that it is in the file.
func (s *sizes) of(l listing) (all []int64, saved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = make([]int64, len(l))
	for i, r := range l {
		all[i] = -1
		if n, ok := s.known[r.id()]; ok {
			all[i] = n
		}
	}
	return all, !s.dirty
}

// save writes what is known of the messages that are there, if anything of it is new. It need
// not be durable; that it is whole is what the sum is for.
func (s *sizes) save(l listing, tmpName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	var body bytes.Buffer
	for _, r := range l {
		if n, ok := s.known[r.id()]; ok && !strings.Contains(r.id(), "\n") {
			fmt.Fprintf(&body, "%d %s\n", n, r.id())
		}
	}
	tmp := filepath.Join(s.dir, "tmp", tmpName)
	f, err := s.disk.Create(tmp)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	_, _ = out.WriteString(sizesHead)
	_, _ = out.Write(body.Bytes())
	_, _ = out.WriteString(sumLine(body.Bytes()))
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		return errors.Join(err, s.disk.Remove(tmp))
	}
	if err := s.disk.Rename(tmp, filepath.Join(s.dir, sizesName)); err != nil {
		return errors.Join(err, s.disk.Remove(tmp))
	}
	s.dirty = false
	return nil
}
