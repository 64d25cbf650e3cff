package smtpclient_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// TestTokenPipe: nobody waits for what a pipe may give some day.
func TestTokenPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := smtpclient.TokenFile(pipe)(t.Context()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Error(err)
	}
}
