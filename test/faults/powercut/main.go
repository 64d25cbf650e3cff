//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	backing := flag.String("backing", "", "an empty folder for what is durable")
	at := flag.String("mount", "", "where to mount it")
	seed := flag.Uint64("seed", 1, "what is lost")
	flag.Parse()
	if err := run(*backing, *at, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

func run(backing, at string, seed uint64) error {
	if backing == "" || at == "" {
		return errors.New("--backing and --mount are needed")
	}
	l := &layer{disk: newDisk(backing, seed), at: at}
	l.disk.ignore = os.Getenv("FAULTS_IGNORE_SYNC") == "1"
	if err := l.mount(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go func() {
		l.obey(os.Stdin, os.Stdout)
		stop()
	}()
	<-ctx.Done()
	return l.unmount()
}

// layer is a disk that is mounted.
type layer struct {
	disk *disk
	at   string
}

func (l *layer) mount() error { return mount(l.disk, l.at) }

// unmount takes it away. What is open ends with its process.
func (l *layer) unmount() error { return unix.Unmount(l.at, unix.MNT_DETACH) }

// obey carries out commands until the input ends.
func (l *layer) obey(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		answer := "ok"
		if err := l.command(strings.Fields(lines.Text())); err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(out, answer)
	}
}

func (l *layer) command(words []string) error {
	words = append(words, "", "", "")
	switch words[0] {
	case "cut":
		return l.cut()
	case "freeze", "settle", "full", "ignore", "fail":
		l.disk.mu.Lock()
		defer l.disk.mu.Unlock()
		return l.disk.set(words[0], words[1], words[2])
	}
	return fmt.Errorf("there is no command %q", words[0])
}

func (d *disk) set(command, what, value string) (err error) {
	switch command + " " + what {
	case "freeze ":
		d.frozen = true
	case "settle ":
		d.settle()
	case "full on", "full off":
		d.full = what == "on"
	case "ignore on", "ignore off":
		d.ignore = what == "on"
	case "fail write":
		d.writes, err = strconv.ParseFloat(value, 64)
	case "fail sync":
		d.syncs, err = strconv.ParseFloat(value, 64)
	default:
		return fmt.Errorf("%s: what is %q?", command, what)
	}
	return err
}

// cut takes the file system away from whoever has it open still, and mounts what is left anew. The kernel's own
// memory of it goes with the old one, which the kernel may keep for others: a process that makes a mount namespace has a
// mount of its own of it.
func (l *layer) cut() error {
	l.disk.mu.Lock()
	l.disk.frozen = true
	l.disk.mu.Unlock()
	if err := l.unmount(); err != nil {
		return err
	}
	if err := l.disk.cut(); err != nil {
		return err
	}
	return l.mount()
}
