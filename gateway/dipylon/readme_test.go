package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
)

// TestConfigurationOfTheREADME: the configuration that the README begins with is a good one.
func TestConfigurationOfTheREADME(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(hostname:.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 1 {
		t.Fatalf("the README has %d whole configurations", len(blocks))
	}
	dir := t.TempDir()
	certificate, key, err := server.MakeSelfSigned("mail.example.org", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"mail.crt": certificate, "mail.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(blocks[0][1], "/etc/dipylon", filepath.ToSlash(dir))
	cfg, err := config.Parse("README.md", dir, []byte(text), config.Options{Builtins: builtinKinds()})
	if err != nil {
		t.Fatal(err)
	}
	if warnings := server.CertificateWarnings(cfg, time.Now()); len(warnings) > 0 {
		t.Error(warnings)
	}
}
