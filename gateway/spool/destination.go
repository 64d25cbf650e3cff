package spool

import (
	"cmp"
)

// horizon is a place among the rows of destinations, by due and name.
type horizon struct {
	due  int64
	name string
}

// destination is one that has mail, or had.
type destination struct {
	name  string
	shard int64
	busy  bool  // given out
	again bool  // given out, and its back-off was ended meanwhile
	queue queue // of fresh mail
	next  int64 // the earliest mail that is not in the queue
	until int64 // backed off until then
	// lifted is the last time at which an administrator has ended its back-off, so far as it has been heeded: the
	// row says so until it is written again.
	lifted int64
	given  int64 // when it was given back: the others come first then
	row    int64 // what the row in the database says at the latest; never: not known
	place  int   // in the heap; -1: it is not there
	// unanswered is what a Claim may have left in flight.
	unanswered []*Delivery
}

// fresh is mail for one destination that was just taken in.
type fresh struct {
	delivery *Delivery
	rank     int64
}

// queue has the highest priority first, and in each the oldest.
type queue []*fresh

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].rank, q[j].rank), cmp.Compare(q[i].delivery.ID, q[j].delivery.ID)) < 0
}
func (q *queue) Push(x any) { *q = append(*q, x.(*fresh)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	f := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return f
}

// due is when to look at the destination.
func (d *destination) due() int64 {
	if len(d.queue) > 0 {
		return d.until
	}
	return max(d.next, d.until)
}

// turn is its place among the others: who has had a turn waits for those that were due before.
func (d *destination) turn() int64 { return max(d.due(), d.given) }

// byDue is a heap of destinations.
type byDue []*destination

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].turn() < h[j].turn() }
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *byDue) Push(x any) {
	d := x.(*destination)
	d.place = len(*h)
	*h = append(*h, d)
}

func (h *byDue) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	d.place = -1
	*h = (*h)[:last]
	return d
}
