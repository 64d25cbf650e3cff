package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/gateway/queue"
)

func newQueueExport(from *queueSource) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export MESSAGE",
		Short: "Write a message with its envelope",
		Long: `Writes a message, by its id or its key. To the standard output, its envelope comes in front as header
fields: Return-Path, and an X-Envelope-To for each recipient that has not got it yet. With --output
FILE.eml the message is written as it is, and its envelope to FILE.eml.json beside it. Both files are
new ones, for their owner alone, and are on the disk when the command ends. The message stays in the queue.

Statuses: 0 written, 1 there is no such message, or it cannot be written, 75 the queue cannot be read
now, 78 the configuration is wrong.`,
		Example: `  dipylon queue export --config dipylon.yaml 66f2a1b3c4d5e01 --output message.eml`,
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withQueue(cmd, from, false, func(ctx context.Context, q queue.Queue) error {
				m, err := q.Show(ctx, args[0])
				if err != nil {
					return err
				}
				if file == "" {
					return writeMessage(ctx, q, m, cmd.OutOrStdout(), true)
				}
				if err := exportTo(ctx, q, m, file); err != nil {
					return withCode(exitFailure, err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "written to %s, its envelope to %s\n", file, file+".json")
				return nil
			})
		}),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "a new file for the message; its envelope comes beside it")
	_ = cmd.MarkFlagFilename("output", "eml") // fails only where there is no such flag
	return cmd
}

// exportTo writes a message and its envelope into new files, which a power failure does not take: the message
// may be deleted next. What cannot be whole is not left.
func exportTo(ctx context.Context, q queue.Queue, m queue.Message, file string) error {
	envelope, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	err = newFile(file+".json", func(w io.Writer) error {
		_, err := w.Write(append(envelope, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	if err := newFile(file, func(w io.Writer) error { return writeMessage(ctx, q, m, w, false) }); err != nil {
		return errors.Join(err, os.Remove(file+".json"))
	}
	if err := durable.SyncFolder(filepath.Dir(file)); err != nil {
		return errors.Join(err, os.Remove(file), os.Remove(file+".json"))
	}
	return nil
}

// newFile makes a file whose content is on the disk. Its name is not yet: see [durable.SyncFolder].
func newFile(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// writeMessage writes a content, perhaps behind its envelope.
func writeMessage(ctx context.Context, q queue.Queue, m queue.Message, out io.Writer, withEnvelope bool) error {
	content, err := q.Open(ctx, m.ID)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	if withEnvelope {
		_, err = w.WriteString(envelopeFields(m))
	}
	if err == nil {
		_, err = io.Copy(w, content)
	}
	return errors.Join(err, w.Flush(), content.Close())
}

// envelopeFields are the envelope as header fields. An address is one line: it was read by the grammar of
// RFC 5321.
func envelopeFields(m queue.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: <%s>\r\n", oneLine(m.Sender))
	for _, r := range m.Recipients {
		if r.State != "delivered" && r.State != "failed" {
			fmt.Fprintf(&b, "X-Envelope-To: <%s>\r\n", oneLine(r.Address))
		}
	}
	return b.String()
}

func oneLine(text string) string { return strings.NewReplacer("\r", "?", "\n", "?").Replace(text) }
