package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker: -ldflags "-X main.version=1.2.3 -X main.commit=… -X main.date=…". Without
// them, what the Go toolchain has noted is told.
var (
	version string
	commit  string
	date    string
)

// coming is the release that is being worked on: what a binary is called that was built without
// version control (go run, a tarball, -buildvcs=false).
const coming = "1.0.0"

// build is what is known of how this binary came to be.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildInfo() build {
	b := build{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok && b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = coming + "-devel"
	}
	if !ok || b.Commit != "" {
		return b
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.time" && b.Date == "":
			b.Date = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Commit += " (modified)"
		}
	}
	return b
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version and how it was built",
		Example: "  dipylon version\n  dipylon version --json",
		Args:    cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			b := buildInfo()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "dipylon %s\n", b.Version)
			for _, line := range []struct{ name, value string }{{"commit", b.Commit}, {"date", b.Date}, {"go", b.Go}, {"platform", b.Platform}} {
				if line.value != "" {
					fmt.Fprintf(out, "  %-9s %s\n", line.name, line.value)
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
