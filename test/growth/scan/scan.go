// Package scan does what packages bytes and strings do to find something, in Go. Those do it in
// assembler, where no statement counts, and it takes time all the same; see package growth.
package scan

import "unicode/utf8"

type text interface{ ~string | ~[]byte }

// IndexByte is bytes.IndexByte.
func IndexByte[T text](s T, c byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// LastIndexByte is bytes.LastIndexByte.
func LastIndexByte[T text](s T, c byte) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// Index is bytes.Index.
func Index[T, U text](s T, of U) int {
	for i := 0; i+len(of) <= len(s); i++ {
		if string(s[i:i+len(of)]) == string(of) {
			return i
		}
	}
	return -1
}

// Contains is bytes.Contains.
func Contains[T, U text](s T, of U) bool { return Index(s, of) >= 0 }

// IndexAny is bytes.IndexAny.
func IndexAny[T text](s T, chars string) int {
	for i, r := range string(s) {
		for _, c := range chars {
			if r == c && (r != utf8.RuneError) {
				return i
			}
		}
	}
	return -1
}

// ContainsAny is bytes.ContainsAny.
func ContainsAny[T text](s T, chars string) bool { return IndexAny(s, chars) >= 0 }

// Count is bytes.Count, for what is not empty.
func Count[T, U text](s T, of U) (n int) {
	for i := 0; i+len(of) <= len(s); i++ {
		if string(s[i:i+len(of)]) == string(of) {
			n++
			i += len(of) - 1
		}
	}
	return n
}

// Cut is bytes.Cut.
func Cut[T, U text](s T, at U) (before, after T, found bool) {
	if i := Index(s, at); i >= 0 {
		return s[:i], s[i+len(at):], true
	}
	var none T
	return s, none, false
}

// Functions are those that can take the place of the ones in packages bytes and strings.
var Functions = []string{"IndexByte", "LastIndexByte", "Index", "Contains", "IndexAny", "ContainsAny", "Count", "Cut"}
