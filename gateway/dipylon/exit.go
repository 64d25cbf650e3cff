package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit statuses. 65, 75 and 78 are those of sysexits.h, which supervisors know.
const (
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	exitState     = 65 // EX_DATAERR
	exitTemporary = 75 // EX_TEMPFAIL
	exitConfig    = 78 // EX_CONFIG
	// exitInterrupted is 128 and the number of SIGINT, as shells have it.
	exitInterrupted = 130
)

// codedError is an error that decides the exit status.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func withCode(code int, err error) error { return &codedError{code, err} }

// action makes a command's function. What goes wrong in it is a failure unless it says
// otherwise; what goes wrong before, in cobra, is the command line's fault.
func action(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if coded := (*codedError)(nil); err == nil || errors.As(err, &coded) {
			return err
		}
		return withCode(exitFailure, err)
	}
}

// conclude tells an error and gives the exit status.
func conclude(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if coded, ok := errors.AsType[*codedError](err); ok {
		code = coded.code
	}
	if text := err.Error(); text != "" {
		cmd.PrintErrln("dipylon: " + forTerminal(text))
	}
	if code == exitUsage && err.Error() != "" {
		cmd.PrintErrf("Try %q.\n", cmd.CommandPath()+" --help")
	}
	return code
}

// errTold ends a command whose output has said already what is wrong.
var errTold = errors.New("")

func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "The exit statuses",
		Long: fmt.Sprintf(`The exit statuses of every command:

  %d   done
  %d   it failed
  %d   the command line is wrong
  %d  the state database is damaged, or is not one of this version's; nothing in it was changed
  %d  it cannot be done now, and may work later: an address is in use, a backend does not start
  %d  the configuration is wrong; what is wrong was told with file, line and column
  %d "plugin test" or "convert" was broken off

"dipylon sendmail" has those of sysexits.h, and "dipylon status --monitor" those of monitors: their help lists them.`,
			exitOK, exitFailure, exitUsage, exitState, exitTemporary, exitConfig, exitInterrupted),
	}
}

func newReferences() *cobra.Command {
	return &cobra.Command{
		Use:   "secrets",
		Short: "How a configuration refers to secrets",
		Long: `"state", and a text in a store's settings or in a plugin's env, may refer to a secret:

  file:PATH      the file's content, without the line end at its end
  env:NAME       a variable of the gateway's environment
  literal:TEXT   TEXT itself, should it begin like one of these

"dipylon check --show" prints references as they are written.`,
	}
}
