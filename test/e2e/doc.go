// Package e2e has tests that look at the built gateway from outside: mail in, mail out, and
// what happens to it when processes die, disks are full and clients are unkind.
package e2e
