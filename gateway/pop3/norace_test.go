//go:build !race

package pop3

// mostStack is what an idle session may have of stack, in octets: 4 KiB, and what goroutines beside sessions do.
const mostStack = 5 << 10
