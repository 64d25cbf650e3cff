package spool

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// shards is how many there are.
const shards = 64

// shardOf is the shard of a destination.
func shardOf(destination string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(destination)) // never fails
	return int64(h.Sum32() % shards)
}

// rankOf orders priorities (RFC 6710): 0 is the highest.
func rankOf(priority int) int64 { return int64(9 - min(max(priority, -9), 9)) }

// envelopeRow is what the column spool_messages.envelope has, as JSON.
type envelopeRow struct {
	Envelope backends.Envelope `json:"envelope"`
	Peer     backends.Peer     `json:"peer"`
	Trace    string            `json:"trace,omitempty"`
	Origin   Origin            `json:"origin,omitzero"`
}

// parametersRow is what the column spool_recipients.parameters has, as JSON.
type parametersRow struct {
	Notify   backends.Notify `json:"notify,omitempty"`
	Original string          `json:"original,omitempty"`
}

// text is the JSON; empty: there are none.
func (p parametersRow) text() (string, error) {
	if p == (parametersRow{}) {
		return "", nil
	}
	text, err := json.Marshal(p)
	return string(text), err
}

// unpack reads the JSON of a column that may be empty.
func unpack(text string, into any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// outcomeText is the JSON of an outcome; empty: of none.
func outcomeText(o Outcome) (string, error) {
	if o.At.IsZero() && !o.Delayed && o.Diagnostic == "" {
		return "", nil
	}
	o.At = o.At.UTC()
	text, err := json.Marshal(o)
	return string(text), err
}

// recipientRow is a row of spool_recipients, as far as it is written by Accept.
type recipientRow struct {
	number     int64
	recipient  Recipient
	parameters string
	shard      int64
	due        int64 // 0: none
}

// recipientColumns are the columns of a recipientRow with those that it shares with its message.
const recipientColumns = "message, number, address, parameters, destination, shard, rank, state, due, attempts, outcome"

// insertRecipients are the statements that insert 1, 2, 4, … rows.
var insertRecipients = func() (statements [7]string) {
	for i := range statements {
		rows := make([]string, 1<<i)
		for r := range rows {
			at := 9 * r
			rows[r] = fmt.Sprintf("($%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, 0, '')",
				at+1, at+2, at+3, at+4, at+5, at+6, at+7, at+8, at+9)
		}
		statements[i] = "INSERT INTO spool_recipients (" + recipientColumns + ") VALUES " + strings.Join(rows, ", ")
	}
	return statements
}()
