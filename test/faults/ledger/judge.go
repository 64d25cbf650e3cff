//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fault is something that was done to the server: a line of the faults' record.
type fault struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	What  string    `json:"what"`
	// Interrupts says that the server may have done something and not be able to write down that it did.
	Interrupts bool `json:"interrupts"`
}

// one is a recipient's copy of a message.
type one struct{ ID, To string }

// found is what is known of it.
type found struct {
	copies  []time.Time // whole ones, in a mailbox or at the sink, and when they came
	damaged int         // copies that are not whole
	relayed bool        // one of those is at the sink
	silent  bool        // the sink took a copy and did not say so
	waits   bool        // it is in the spool, whole
	report  bool        // the sender was told that it failed
	delayed []time.Time // when the sender was told that it takes longer
}

// Verdict is what the ledger says in the end.
type Verdict struct {
	Messages   int `json:"messages"`   // that were taken
	Recipients int `json:"recipients"` // of those
	Delivered  int `json:"delivered"`  // in a mailbox, or at the sink
	Relayed    int `json:"relayed"`    // of those, at the sink
	Waiting    int `json:"waiting"`    // in the spool alone
	Reported   int `json:"reported"`   // in a report alone, and refused on purpose
	Refused    int `json:"refused"`    // attempts
	Unknown    int `json:"unknown"`    // attempts without a reply
	Damaged    int `json:"damaged"`    // copies that are not whole
	// Duplicates are further copies, by why there may be such.
	Duplicates map[string]int `json:"duplicates"`
	Lost       []string       `json:"lost"` // "message recipient"
	// Delayed are when senders were told that it takes longer, by "message recipient".
	Delayed map[string][]time.Time `json:"delayed"`
	// Spool is why the spool cannot be read: then nothing waits in it. Empty: it can.
	Spool string `json:"spool,omitempty"`
}

// Why there may be a further copy. What is unexplained is a fault.
const (
	askedAgain  = "the client had no reply and sent it again"
	uncertain   = "the next hop took it and did not say so"
	interrupted = "the server was interrupted between passing it on and writing that down"
	unexplained = "unexplained"
)

func runJudge(ctx context.Context, args []string) error {
	verdict, err := judge(ctx, args)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(verdict); err != nil {
		return err
	}
	if len(verdict.Lost) > 0 {
		return fmt.Errorf("%d lost", len(verdict.Lost))
	}
	return nil
}

func judge(ctx context.Context, args []string) (*Verdict, error) {
	var mailboxes, sent list
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	flags.Var(&sent, "sent", "a ledger of senders; may be repeated")
	taken := flags.String("sink", "", "the sink's record")
	reports := flags.String("reports", "", "the Maildir folder of the sender's mailbox")
	waiting := flags.String("spool", "", "Dipylon's state, a folder or postgres://…, while no gateway runs; empty: nothing waits")
	postfix := flags.String("postfix", "", "the folder with main.cf of a Postfix that is stopped, whose commands are in PATH; empty: nothing waits")
	faults := flags.String("faults", "", "what was done to the server: lines of {at, until, what, interrupts}")
	flags.Var(&mailboxes, "mailbox", "address=Maildir folder; may be repeated")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := required(flags, "sent"); err != nil {
		return nil, err
	}
	b := book{}
	if err := errors.Join(b.readSink(*taken), b.readMailboxes(mailboxes), b.readReports(*reports)); err != nil {
		return nil, err
	}
	unreadable := errors.Join(b.readSpool(ctx, *waiting), b.readPostfix(ctx, *postfix))
	v, err := b.judge(sent, *faults)
	if err == nil && unreadable != nil {
		v.Spool = unreadable.Error()
	}
	return v, err
}

// book is what was found, of each recipient's copy.
type book map[one]*found

func (b book) at(id, to string) *found {
	key := one{id, strings.ToLower(to)}
	if b[key] == nil {
		b[key] = &found{}
	}
	return b[key]
}

// add notes a copy.
func (b book) add(id, to string, whole bool, at time.Time) *found {
	f := b.at(id, to)
	if whole {
		f.copies = append(f.copies, at)
	} else {
		f.damaged++
	}
	return f
}

func (b book) readSink(path string) error {
	if path == "" {
		return nil
	}
	copies, err := readLines[copyTaken](path)
	for _, c := range copies {
		for _, to := range c.To {
			f := b.add(c.ID, to, c.Whole, c.At)
			f.relayed = f.relayed || c.Whole
			f.silent = f.silent || !c.Answered
		}
	}
	return err
}

func (b book) readMailboxes(mailboxes []string) error {
	for _, mailbox := range mailboxes {
		address, folder, ok := strings.Cut(mailbox, "=")
		if !ok {
			return fmt.Errorf("--mailbox %s: it is address=folder", mailbox)
		}
		err := eachMessage(folder, func(content []byte, at time.Time) {
			id, whole := inspect(content)
			b.add(id, address, whole, at)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b book) readReports(folder string) error {
	if folder == "" {
		return nil
	}
	return eachMessage(folder, func(content []byte, at time.Time) {
		id, failed, delayed := reported(content)
		for _, to := range failed {
			b.at(id, to).report = true
		}
		for _, to := range delayed {
			f := b.at(id, to)
			f.delayed = append(f.delayed, at)
		}
	})
}

// eachMessage reads a Maildir folder.
func eachMessage(folder string, f func(content []byte, at time.Time)) error {
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(folder, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has had no mail yet
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // the server has taken it back
			}
			if err != nil {
				return err
			}
			content, err := os.ReadFile(filepath.Join(folder, sub, entry.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			f(content, info.ModTime())
		}
	}
	return nil
}

// judge compares what was promised with what was found.
func (b book) judge(sent []string, faultsFile string) (*Verdict, error) {
	var attempts []attempt
	for _, path := range sent {
		some, err := readLines[attempt](path)
		if err != nil {
			return nil, err
		}
		attempts = append(attempts, some...)
	}
	var faults []fault
	if faultsFile != "" {
		var err error
		if faults, err = readLines[fault](faultsFile); err != nil {
			return nil, err
		}
	}
	v := &Verdict{Duplicates: map[string]int{}, Lost: []string{}, Delayed: map[string][]time.Time{}}
	begun, open := map[string]time.Time{}, map[string]bool{}
	for _, a := range attempts {
		if begun[a.ID].IsZero() {
			begun[a.ID] = a.At
		}
		switch a.Outcome {
		case taken:
			v.Messages++
			for _, to := range a.To {
				v.count(a.ID, to, b.at(a.ID, to))
			}
		case refused:
			v.Refused++
		case unknown:
			v.Unknown++
			open[a.ID] = true
		}
	}
	for key, f := range b {
		v.Damaged += f.damaged
		if len(f.delayed) > 0 {
			v.Delayed[key.ID+" "+key.To] = f.delayed
		}
		if again := len(f.copies) - 1; again > 0 {
			v.Duplicates[why(f, open[key.ID], begun[key.ID], faults)] += again
		}
	}
	slices.Sort(v.Lost)
	return v, nil
}

// bounced is said of a recipient of whom the sender was told that it failed, although nothing refuses it.
const bounced = " (reported as failed)"

// count says where a copy that was promised is.
func (v *Verdict) count(id, to string, f *found) {
	v.Recipients++
	switch {
	case len(f.copies) > 0:
		v.Delivered++
		if f.relayed {
			v.Relayed++
		}
	case f.waits:
		v.Waiting++
	case f.report && refusedOnPurpose(to):
		v.Reported++
	case f.report:
		v.Lost = append(v.Lost, id+" "+to+bounced)
	default:
		v.Lost = append(v.Lost, id+" "+to)
	}
}

// why says why there may be more than one copy. File times are coarse: a fault shortly before counts.
func why(f *found, open bool, begun time.Time, faults []fault) string {
	last := slices.MaxFunc(f.copies, time.Time.Compare)
	switch {
	case open:
		return askedAgain
	case f.silent:
		return uncertain
	case slices.ContainsFunc(faults, func(x fault) bool {
		return x.Interrupts && x.Until.After(begun.Add(-time.Second)) && x.At.Before(last.Add(time.Second))
	}):
		return interrupted
	}
	return unexplained
}
