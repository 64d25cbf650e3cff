//go:build !linux

package spool

import "time"

// sinceBoot is the wall clock: other systems' monotonic clocks may stand still while the machine is
// suspended. Who sets it back by more than a lease lasts while a node is frozen, fools the node; the
// database's epochs do not let it write.
func sinceBoot() time.Duration { return time.Duration(time.Now().UnixNano()) }
