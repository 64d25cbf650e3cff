//go:build !linux

package main

// reloading is what a service manager wants to hear at the begin of a reload.
func reloading() []string { return []string{"RELOADING=1"} }
