package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// Status is what is known of an account. It is kept in the state, and any gateway that shares it can tell it.
type Status struct {
	Account string `json:"account"`
	// Running says that a run is under way, at the time Seen.
	Running bool      `json:"running"`
	Seen    time.Time `json:"seen,omitzero"`
	// Runs is how many runs have begun, and Ended how many have ended.
	Runs  int64 `json:"runs"`
	Ended int64 `json:"ended"`
	// Begun and Stopped are when the last run began and ended, and Well when one last ended without a failure.
	Begun   time.Time `json:"begun,omitzero"`
	Stopped time.Time `json:"stopped,omitzero"`
	Well    time.Time `json:"well,omitzero"`
	// Next is when the account is collected next; zero: as its schedule says.
	Next time.Time `json:"next,omitzero"`
	// Failures are how many runs have failed in a row, Kind and Reason why the last one did.
	Failures int    `json:"failures,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Blocked says that the account is left alone until its configuration changes, or Next.
	Blocked bool `json:"blocked,omitempty"`
	// Secret is the hash of the settings that the server has refused.
	Secret string `json:"-"`
	// Mailbox is which one was collected last, as [Account.mailbox] says.
	Mailbox string `json:"mailbox,omitempty"`

	// Found is how many messages the server had when it was last looked, and ToRead how many of them were not collected yet.
	Found  int64 `json:"found"`
	ToRead int64 `json:"to_read"`
	// The last run, or the one under way: what it has read, delivered to whom it was for, or to the fall-back mailbox,
	// recognised as collected before, set aside, and removed from the server.
	Last Counts `json:"last"`
	// Total is all runs together.
	Total Counts `json:"total"`
	// Aside is how many messages are set aside at the moment.
	Aside int64 `json:"aside"`
}

// Counts are messages, and their octets.
type Counts struct {
	Read      int64 `json:"read"`
	Octets    int64 `json:"octets"`
	Delivered int64 `json:"delivered"`
	Fallback  int64 `json:"fallback"`
	Known     int64 `json:"known"`
	Aside     int64 `json:"aside"`
	Removed   int64 `json:"removed"`
}

func (c *Counts) add(more Counts) {
	c.Read += more.Read
	c.Octets += more.Octets
	c.Delivered += more.Delivered
	c.Fallback += more.Fallback
	c.Known += more.Known
	c.Aside += more.Aside
	c.Removed += more.Removed
}

// stored is a status as it is kept.
type stored struct {
	Status
	Hash string `json:"secret,omitempty"`
}

// status is what is known of an account; a new one has nothing but its name.
func (l *ledger) status(ctx context.Context, account string) (s Status, err error) {
	s.Account = account
	err = l.db.Read(ctx, func(tx *state.Tx) error {
		var text string
		found, err := tx.One([]any{&text}, "SELECT status FROM collect_accounts WHERE account = $1", account)
		if err != nil || !found {
			return err
		}
		var kept stored
		if err := json.Unmarshal([]byte(text), &kept); err != nil {
			return err
		}
		s = kept.Status
		s.Account, s.Secret = account, kept.Hash
		_, err = tx.One([]any{&s.Aside}, "SELECT COUNT(*) FROM collect_messages WHERE account = $1 AND state = $2 AND gone = 0", account, setDown)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("the status of %s: %w", account, err)
	}
	return s, nil
}

// tell keeps a status.
func (l *ledger) tell(ctx context.Context, s Status) error {
	text, err := json.Marshal(stored{s, s.Secret})
	if err != nil {
		return err
	}
	err = l.db.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(`INSERT INTO collect_accounts (account, status) VALUES ($1, $2)
ON CONFLICT (account) DO UPDATE SET status = excluded.status`, s.Account, string(text))
		return err
	})
	if err != nil {
		return fmt.Errorf("the status of %s: %w", s.Account, err)
	}
	return nil
}
