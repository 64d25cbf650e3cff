package main

import (
	"os"
	"strings"
	"testing"
)

func TestGeneratedIsFresh(t *testing.T) {
	table, err := os.ReadFile("../../properties.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(table)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("../../tags.go"); err != nil || string(got) != string(want) {
		t.Errorf("tags.go is stale: run go generate ./backends/mapi (%v)", err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, line := range []string{"PidTagSubject", "2.1 PidTagSubject 0x0037", "set PS_X", "2.1 a b c d e"} {
		if _, err := generate([]byte("\n# comment\n" + line + "\n")); err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%q: %v", line, err)
		}
	}
}
