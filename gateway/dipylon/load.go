package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
)

// usualFile is read where no file is named and it is in the current folder.
const usualFile = "dipylon.yaml"

// source is where the configuration comes from.
type source struct {
	file string // empty: the built-in one
}

const configUsage = "the configuration file (default: dipylon.yaml in the current folder if there is one, or else what is built in)"

// configFlag adds --config to a command.
func (s *source) configFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.file, "config", "c", "", configUsage)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
}

// find settles which file it is. It is done once: a gateway that began with the built-in
// configuration does not turn to a file that appears later.
func (s *source) find() error {
	if s.file != "" {
		return nil
	}
	switch _, err := os.Stat(usualFile); {
	case err == nil:
		s.file = usualFile
	case !errors.Is(err, fs.ErrNotExist):
		return withCode(exitConfig, fmt.Errorf("reading the configuration: %w", err))
	}
	return nil
}

// builtIn says that there is no file.
func (s *source) builtIn() bool { return s.file == "" }

func (s *source) load() (*config.Config, error) {
	options := config.Options{Builtins: builtinKinds()}
	if s.builtIn() {
		return config.Default(".", options)
	}
	return config.Load(s.file, options)
}

// configError tells what is wrong with a configuration, a line for each problem, and makes it
// the exit status.
func configError(cmd *cobra.Command, err error) error {
	wrong, ok := errors.AsType[*config.Error](err)
	if !ok {
		return withCode(exitConfig, err)
	}
	for _, p := range wrong.Problems {
		cmd.PrintErrln(forTerminal(fmt.Sprint(p)))
	}
	return withCode(exitConfig, errTold)
}
