//go:build race

package pop3

// Under the race detector frames are larger.
const mostStack = 9 << 10
