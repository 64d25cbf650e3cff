// Package routing knows which store a domain or a login belongs to.
package routing
