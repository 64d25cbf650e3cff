// Package lazyregexp has regular expressions that are compiled when they are first used.
//
// The expressions of all packages together take a process more than a megabyte, and two milliseconds, at its start, and most
// processes of the one binary need next to none of them: those of the backends for servers elsewhere are of no use to
// the gateway, and those of the configuration of none to a plugin.
//
//	var failureClass = lazyregexp.New(`^[45](\.[0-9]{1,3}){0,2}$`)
package lazyregexp

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// Regexp is a regular expression. Its methods are those of [regexp.Regexp], and may be called by several goroutines.
type Regexp struct {
	expression string
	once       sync.Once
	compiled   *regexp.Regexp
}

// inTest says that this is a test's process.
var inTest = strings.HasSuffix(strings.TrimSuffix(os.Args[0], ".exe"), ".test")

// New gives an expression for a package's variable. The first use panics where the expression is wrong; in a test's process
// New itself does, so that each test of the package sees it.
func New(expression string) *Regexp {
	r := &Regexp{expression: expression}
	if inTest {
		r.get()
	}
	return r
}

func (r *Regexp) get() *regexp.Regexp {
	r.once.Do(func() { r.compiled = regexp.MustCompile(r.expression) })
	return r.compiled
}

// Match says whether b has a match.
func (r *Regexp) Match(b []byte) bool { return r.get().Match(b) }

// MatchString says whether s has a match.
func (r *Regexp) MatchString(s string) bool { return r.get().MatchString(s) }

// FindStringSubmatch gives the leftmost match in s and those of its groups; nil: there is none.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.get().FindStringSubmatch(s) }

// ReplaceAllStringFunc gives s with each match replaced by what the function makes of it.
func (r *Regexp) ReplaceAllStringFunc(s string, replace func(string) string) string {
	return r.get().ReplaceAllStringFunc(s, replace)
}

// ReplaceAllString gives s with each match replaced, $1 in the replacement being the first group.
func (r *Regexp) ReplaceAllString(s, replacement string) string {
	return r.get().ReplaceAllString(s, replacement)
}

// FindAllString gives the first n matches in s, or all where n is negative.
func (r *Regexp) FindAllString(s string, n int) []string { return r.get().FindAllString(s, n) }

// FindAllStringSubmatch gives the first n matches in s with those of their groups, or all where n is negative.
func (r *Regexp) FindAllStringSubmatch(s string, n int) [][]string {
	return r.get().FindAllStringSubmatch(s, n)
}

// FindSubmatch gives the leftmost match in b and those of its groups; nil: there is none.
func (r *Regexp) FindSubmatch(b []byte) [][]byte { return r.get().FindSubmatch(b) }

// FindStringSubmatchIndex gives where the leftmost match in s and those of its groups begin and end; nil: there is none.
func (r *Regexp) FindStringSubmatchIndex(s string) []int { return r.get().FindStringSubmatchIndex(s) }

// FindSubmatchIndex is [Regexp.FindStringSubmatchIndex] of octets.
func (r *Regexp) FindSubmatchIndex(b []byte) []int { return r.get().FindSubmatchIndex(b) }
