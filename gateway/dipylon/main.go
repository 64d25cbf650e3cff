// Command dipylon is the gateway, and its built-in backends, in one binary.
//
//	dipylon serve                          in an empty folder: a mail server to try out
//	dipylon check --config dipylon.yaml    says what is wrong with a configuration
//	dipylon serve --config dipylon.yaml    runs it
//	dipylon maildir user add --root mail me@example.org
//	dipylon plugin test -- ./my-backend    holds a backend to the contract
//
// The file that each command is in has its name. The running gateway is package server; serve.go
// starts it, and reloads and stops it as signals say.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	runtime.MemProfileRate = 0 // nobody reads that profile, and its samples take a megabyte
	lateTimers(os.Args[min(1, len(os.Args)):])
	os.Exit(run(context.Background(), commandLine(os.Args), os.Stdin, os.Stdout, os.Stderr))
}

// commandLine is the arguments of a process. Under the name sendmail it is that command, as other programs expect.
func commandLine(argv []string) []string {
	if len(argv) > 0 && strings.TrimSuffix(filepath.Base(argv[0]), ".exe") == "sendmail" {
		return append([]string{"sendmail"}, argv[1:]...)
	}
	return argv[min(1, len(argv)):]
}

// run carries out one command line and gives the process's exit status.
func run(ctx context.Context, args []string, in io.Reader, out, diagnostics io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(diagnostics)
	cmd, err := root.ExecuteContextC(ctx)
	return conclude(cmd, err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "dipylon",
		Short: "A mail gateway: POP3 and SMTP in front of mail stores that speak neither",
		Long: `Dipylon puts POP3, SMTP and message submission in front of mail stores that have only
their own remote procedure calls. The store stays authoritative: the gateway keeps no mailbox.`,
		Example: `  dipylon serve                            a mail server in the current folder, to try out
  dipylon check --config dipylon.yaml      what is wrong with a configuration
  dipylon serve --config dipylon.yaml      run it`,
		Version:       buildInfo().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withCode(exitUsage, err) })
	root.AddCommand(
		newServe(), newCheck(), newPlugin(), newMaildir(), newPasswords(), newDevice(), newState(), newUIDL(), newQuarantine(), newQueue(), newTrack(), newStatus(), newCollect(), newETRN(), newRoute(), newThrottle(), newDoctor(), newPolicy(), newOAuth(), newSendmail(), newConvert(), newVersion(), newExitCodes(), newReferences(),
	)
	return root
}
