package config

// Transfer is which way mail goes between this gateway and the Internet. Mail between the stores, and from their
// accounts to them, goes in every mode.
type Transfer struct {
	// Mode is both; in: what leaves by routes waits, and the outboxes and transports of stores are left alone; out:
	// nothing is taken from other servers; none: neither, and nothing more is taken for others.
	Mode string `yaml:"mode" enum:"both in out none"`
	// Queue says, with none, whether what waits is delivered, or kept.
	Queue string `yaml:"queue" enum:"deliver keep"`
}

// TakesIn says whether mail is taken from other servers.
func (t Transfer) TakesIn() bool { return t.Mode != "out" && t.Mode != "none" }

// TakesOut says whether mail for others is taken: what may not leave yet waits.
func (t Transfer) TakesOut() bool { return t.Mode != "none" }

// PassesOut says whether mail for others leaves by the transports of stores, and from their outboxes.
func (t Transfer) PassesOut() bool { return t.Mode != "in" && t.Mode != "none" }

// Delivers says whether what waits is delivered into the stores.
func (t Transfer) Delivers() bool { return t.Mode != "none" || t.Queue != "keep" }

// Sends says whether what waits goes out by routes.
func (t Transfer) Sends() bool { return t.Mode != "in" && t.Delivers() }

// transfer refuses a word on the queue that nothing asks for.
func (d *decoder) transfer(t Transfer) {
	if t.Queue == "keep" && t.Mode != "none" && !d.failed["transfer.mode"] {
		d.at("transfer.queue", "write mode: none, or leave it out", "the queue is kept with mode: none alone")
	}
}
