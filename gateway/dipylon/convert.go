package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/convert"
)

// conversion is one "dipylon convert".
type conversion struct {
	from, to, domain string
	explain          bool
	kept             keeper
}

func newConvert() *cobra.Command {
	c := &conversion{}
	cmd := &cobra.Command{
		Use:   "convert IN [OUT]",
		Short: "Make Internet mail of Exchange's and Outlook's messages, and back",
		Long: `Reads a message in one format and writes it in another one:

  eml    Internet mail; a winmail.dat in it is opened. In the other formats it has a skeleton, by which it
         comes back as it came
  tnef   TNEF, as Exchange sends it in a winmail.dat
  fx     a FastTransfer stream, as Exchange's protocols carry messages
  json   all properties, to be read and changed by people; up to 64 MiB
  msg    a message that Outlook has saved; it is only read

Without --from and --to the endings of the names say which, and without one of these the content says
what IN is. "-" is the standard input or output; without OUT the message goes to the standard output.
OUT is replaced when the message is complete, and is for its owner alone.

With --explain each choice of the conversion is told with its rule, what was wrong with IN, and which
properties the output lacks (by their names: no values).

Statuses: 0 converted, 1 it cannot be read or written, or something of it was lost: what could be had is
written then, 2 the command line is wrong, 130 it was broken off: OUT is as it was.`,
		Example: `  dipylon convert winmail.dat message.eml
  dipylon convert --explain saved.msg message.eml
  dipylon convert --to json - <message.eml`,
		Args: cobra.RangeArgs(1, 2),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			out := "-"
			if len(args) > 1 {
				out = args[1]
			}
			return errors.Join(c.run(cmd, args[0], out), c.kept.discard())
		}),
	}
	f := cmd.Flags()
	f.StringVar(&c.from, "from", "", "the `format` of IN: eml, tnef, fx, json or msg")
	f.StringVar(&c.to, "to", "", "the `format` of OUT: eml, tnef, fx or json")
	f.StringVar(&c.domain, "domain", "", "the domain of addresses that are not the Internet's, in Internet mail (without it they are left out, and none is read as such)")
	f.BoolVar(&c.explain, "explain", false, "tell each choice with its rule, on the standard error")
	return cmd
}

func (c *conversion) run(cmd *cobra.Command, in, out string) (err error) {
	to, err := formatOf(c.to, out)
	switch {
	case err != nil:
		return err
	case to == "":
		return withCode(exitUsage, errors.New("what is OUT to be? Say --to eml, tnef, fx or json, or give it a name that ends so"))
	case to == convert.MSG:
		return withCode(exitUsage, convert.ErrWriteMSG)
	}
	file, size, closing, err := c.open(cmd, in)
	if err != nil {
		return err
	}
	defer closing()
	from, err := c.format(in, file)
	if err != nil {
		return err
	}
	m, problems, lost := convert.Reader{Keep: c.kept.keep, Skeleton: to != convert.EML, Domain: c.domain}.Read(from, file, size)
	if m == nil {
		return fmt.Errorf("%s cannot be read as %s (--from says another format): %w", in, from, lost)
	}
	written, err := c.kept.put(func(w io.Writer) error { return convert.Writer{Domain: c.domain}.Write(to, w, m) })
	if err != nil {
		return fmt.Errorf("%s cannot be written as %s: %w", in, to, err)
	}
	if c.explain {
		w := printableWriter{cmd.ErrOrStderr()}
		fmt.Fprintf(w, "from %s to %s\n", from, to)
		for _, p := range problems {
			fmt.Fprintf(w, "problem: %v\n", p)
		}
		for _, choice := range (convert.Writer{Domain: c.domain}).Explain(m, from, to, io.NewSectionReader(file, 0, size), written) {
			fmt.Fprintf(w, "%s\n", choice)
		}
		c.tellLost(w, m, to, written)
	}
	if err := writeOut(cmd, out, written); err != nil {
		return err
	}
	if lost != nil {
		return fmt.Errorf("something of %s was lost, and what could be had is written: %w", in, lost)
	}
	return nil
}

// formatOf returns the format that a flag says, or else a name. It returns none if neither does.
func formatOf(flag, name string) (convert.Format, error) {
	if flag != "" {
		f, err := convert.ParseFormat(flag)
		if err != nil {
			return "", withCode(exitUsage, err)
		}
		return f, nil
	}
	f, _ := convert.FormatOfFile(name)
	return f, nil
}

// format returns the format of the input.
func (c *conversion) format(in string, file io.ReaderAt) (convert.Format, error) {
	from, err := formatOf(c.from, in)
	if from != "" || err != nil {
		return from, err
	}
	head := make([]byte, convert.HeadSize)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if from, ok := convert.Detect(head[:n]); ok {
		return from, nil
	}
	return "", fmt.Errorf("%s does not begin like any format: say --from eml, tnef, fx, json or msg", in)
}

// open opens the input as a file that can be read anywhere.
func (c *conversion) open(cmd *cobra.Command, in string) (file io.ReaderAt, size int64, closing func(), err error) {
	r, closing := cmd.InOrStdin(), func() {}
	if in != "-" {
		f, err := os.Open(in)
		if err != nil {
			return nil, 0, nil, err
		}
		closing = func() { _ = f.Close() } // nothing was written to it
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, info.Size(), closing, nil
		}
		r = f
	}
	file, size, err = c.kept.keep(r)
	if err != nil {
		closing()
		return nil, 0, nil, fmt.Errorf("reading %s: %w", in, err)
	}
	return file, size, closing, nil
}

// tellLost tells what the output lacks: it is read again for that.
func (c *conversion) tellLost(w io.Writer, m *mapi.Message, to convert.Format, written *io.SectionReader) {
	again, _, err := convert.Reader{Keep: c.kept.keep, Skeleton: true, Domain: c.domain}.Read(to, written, written.Size())
	if err != nil {
		fmt.Fprintf(w, "the output does not come back whole: %v\n", err)
	}
	if again == nil {
		return
	}
	for _, name := range convert.Lost(m, again) {
		fmt.Fprintf(w, "not in the output: %s\n", name)
	}
}

// writeOut writes what is complete: to a file that gets its name at the end, or to the standard output.
func writeOut(cmd *cobra.Command, out string, r io.Reader) error {
	if out == "-" {
		_, err := io.Copy(cmd.OutOrStdout(), r)
		return err
	}
	if info, err := os.Stat(out); err == nil && !info.Mode().IsRegular() {
		return withCode(exitUsage, fmt.Errorf("%s is no file: use - and a redirection", out))
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), stopSignals()...)
	defer stop()
	f, err := os.CreateTemp(filepath.Dir(out), ".convert-*.tmp")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, interruptible{ctx, r})
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), out)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error is told
	}
	return err
}

// interruptible is a reader that ends with its context: no file may stay half written under a name of its own.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, withCode(exitInterrupted, errors.New("the conversion was broken off"))
	}
	return r.Reader.Read(p)
}

// keeper keeps octets in one temporary file, one after another.
type keeper struct {
	file buffer.File
	size int64
}

// put keeps what a function writes.
func (k *keeper) put(write func(io.Writer) error) (*io.SectionReader, error) {
	if k.file == nil {
		f, err := buffer.Temporary{}.Create()
		if err != nil {
			return nil, err
		}
		k.file = f
	}
	start := k.size
	err := write(k)
	return io.NewSectionReader(k.file, start, k.size-start), err
}

// Write appends to the file.
func (k *keeper) Write(octets []byte) (int, error) {
	n, err := k.file.Write(octets)
	k.size += int64(n)
	return n, err
}

// keep keeps all of r.
func (k *keeper) keep(r io.Reader) (io.ReaderAt, int64, error) {
	kept, err := k.put(func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
	if kept == nil {
		return nil, 0, err
	}
	return kept, kept.Size(), err
}

func (k *keeper) discard() error {
	if k.file == nil {
		return nil
	}
	return k.file.Discard()
}
