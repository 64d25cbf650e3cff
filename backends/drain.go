package backends

// Drainer is a store that wants to know when its process is on the way out.
type Drainer interface {
	// Drain is called once, after a reload has put another process of the store in this one's place
	// (two processes of a store overlap then): calls and sessions under way go on, others do not
	// begin. The store gives back at once what the other process needs and sessions do not, such as
	// connections that it keeps for later. Close follows when the last session has ended.
	Drain()
}
