//go:build race

package host

// Under the race detector everything takes more time and memory.
const slowed = 8
