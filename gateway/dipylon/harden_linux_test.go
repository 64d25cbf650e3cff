package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hardenKey has the test's binary be another program.
const hardenKey = "DIPYLON_TEST_HARDEN"

func init() {
	switch role := os.Getenv(hardenKey); role {
	case "":
	case "compile": // as Node and Java do
		fmt.Println(compiles())
		os.Exit(0)
	default:
		hardened(role)
		os.Exit(0)
	}
}

// compiles tells whether memory may become executable.
func compiles() string {
	memory, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err.Error()
	}
	if err := unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return "refused"
	}
	return "compiles"
}

// hardened is the gateway, as far as this is about it: it starts a plugin.
func hardened(plugin string) {
	if err := harden(); err != nil {
		fmt.Println(err)
		return
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Println("gateway:", compiles(), dumpable)
	child := exec.Command("sh", "-c", plugin)
	child.Env = append(os.Environ(), hardenKey+"=compile")
	out, err := child.CombinedOutput()
	fmt.Printf("plugin: %s %v\n", strings.TrimSpace(string(out)), err)
}

// TestHarden: the gateway cannot be looked into, and no memory of its becomes executable; plugins
// that compile while they run go on.
func TestHarden(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, plugin := range map[string]string{
		"any program": self,
		"Node":        `node -e 'function f(n) { let s = 0; for (let i = 0; i < n; i++) s += i * i % 7; return s }; for (let k = 0; k < 50; k++) f(100000); console.log("compiles")'`,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), hardenKey+"="+plugin)
			out, err := cmd.CombinedOutput()
			if want := "gateway: refused 0\nplugin: compiles <nil>\n"; err != nil || string(out) != want {
				t.Errorf("%v: %q, want %q", err, out, want)
			}
		})
	}
}

// TestUnit: what the unit forbids does not forbid plugins to run, and one that takes all memory
// does not take the gateway with it.
func TestUnit(t *testing.T) {
	unit, err := os.ReadFile("../../config/dipylon.service")
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string]string)
	for line := range strings.Lines(string(unit)) {
		if key, value, is := strings.Cut(strings.TrimSpace(line), "="); is && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	if v := settings["MemoryDenyWriteExecute"]; v != "" && v != "no" {
		t.Errorf("MemoryDenyWriteExecute=%s is inherited by plugins", v)
	}
	if v := settings["OOMPolicy"]; v != "continue" {
		t.Errorf("OOMPolicy=%s", v)
	}
	for key, want := range map[string]string{
		// The default is 0755: everybody could read the configuration's secrets.
		"ConfigurationDirectoryMode": "0750", "StateDirectoryMode": "0700", "UMask": "0077",
	} {
		if settings[key] != want {
			t.Errorf("%s=%s, want %s", key, settings[key], want)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	// systemd makes the folder root's alone, if it does: the group is given to it before.
	const folder = "install -d -m 750 -g dipylon /etc/dipylon\n"
	if !strings.Contains(string(unit), folder) || !strings.Contains(string(readme), folder) {
		t.Errorf("the unit and the README do not both say %q", folder)
	}
	if file := "install -m 640 -g dipylon dipylon.yaml /etc/dipylon/\n"; !strings.Contains(string(unit), file) {
		t.Errorf("the unit does not say %q", file)
	}
}
