// Package growth holds every pass over what a stranger sent to I11: the work grows no faster than
// n log n, whatever the shape of what was sent.
//
// Work is counted, never timed. The test builds itself once more with a counter at each statement,
// and with package scan in the place of what packages bytes and strings do in assembler. It runs
// each pass on an input of n and on one of 4n, and compares what the counters say, and how many
// octets were allocated.
package growth
