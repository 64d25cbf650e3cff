package server

import (
	"strings"
	"testing"
)

func TestStateLock(t *testing.T) {
	dir := t.TempDir()
	first, err := LockState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockState(dir); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("a second gateway gets the folder: %v", err)
	}
	first.Release()
	second, err := LockState(dir)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	second.Release()
}
