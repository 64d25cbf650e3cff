package routing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dipylon/dipylon/gateway/state"
)

// takeFilesOver moves what earlier versions have kept in a folder, a small file for each attempt,
// named "<fingerprint>.<key>", into the state. The files go when the state has them; a process that
// is killed in between does it again.
func (s *StoredDedup) takeFilesOver(ctx context.Context) error {
	if s.o.Files == "" {
		return nil
	}
	files, err := os.ReadDir(s.o.Files)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the deduplication's folder of an earlier version: %w", err)
	}
	err = s.o.DB.Write(ctx, func(tx *state.Tx) error {
		for _, file := range files {
			if err := s.takeFileOver(tx, file); err != nil {
				return err
			}
		}
		return s.trim(tx)
	})
	if err != nil {
		return fmt.Errorf("the deduplication's folder of an earlier version: %w", err)
	}
	for _, file := range files {
		err = errors.Join(err, os.Remove(filepath.Join(s.o.Files, file.Name())))
	}
	if err = errors.Join(err, os.Remove(s.o.Files)); err != nil {
		s.o.Log.Warn().Err(err).Msg("the deduplication's folder of an earlier version cannot be removed; what was in it is in the state")
	}
	return nil
}

// takeFileOver takes one file over; what is no record, or was never finished, is left out.
func (s *StoredDedup) takeFileOver(tx *state.Tx, file fs.DirEntry) error {
	fingerprint, key, ok := strings.Cut(file.Name(), ".")
	info, err := file.Info()
	if err != nil || !ok || len(fingerprint) != 64 || !info.Mode().IsRegular() {
		return nil
	}
	octets, err := os.ReadFile(filepath.Join(s.o.Files, file.Name()))
	if err != nil {
		return err
	}
	a := &Attempt{Fingerprint: fingerprint}
	if err := json.Unmarshal(octets, a); err != nil || a.Key != key || a.empty() {
		return nil
	}
	return s.insert(tx, a, string(octets), info.ModTime())
}
