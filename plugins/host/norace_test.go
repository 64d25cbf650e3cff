//go:build !race

package host

const slowed = 1
