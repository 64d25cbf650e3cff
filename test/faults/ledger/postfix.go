//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// queued is a line of postqueue -j (postqueue(1)), as far as it is needed here.
type queued struct {
	ID         string `json:"queue_id"`
	Recipients []struct {
		Address string `json:"address"`
	} `json:"recipients"`
}

// readPostfix reads what waits in the queue of a Postfix that is stopped, given the folder of its configuration.
func (b book) readPostfix(ctx context.Context, folder string) error {
	if folder == "" {
		return nil
	}
	list, err := exec.CommandContext(ctx, "postqueue", "-c", folder, "-j").Output()
	if err != nil {
		return fmt.Errorf("postqueue: %w", said(err))
	}
	for lines := json.NewDecoder(bytes.NewReader(list)); ; {
		var q queued
		if err := lines.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("postqueue: %w", err)
		}
		content, err := exec.CommandContext(ctx, "postcat", "-c", folder, "-hbq", q.ID).Output()
		if err != nil {
			return fmt.Errorf("postcat: %w", said(err))
		}
		var recipients []string
		for _, r := range q.Recipients {
			recipients = append(recipients, r.Address)
		}
		b.addWaiting(content, recipients)
	}
}

// said is a command's failure with what it has said of it.
func said(err error) error {
	if ended, is := errors.AsType[*exec.ExitError](err); is {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(ended.Stderr))
	}
	return err
}
