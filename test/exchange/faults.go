package exchange

// Operations by which faults are asked for.
const (
	PutBuffer  = ropPutBuffer
	GetBuffer  = ropGetBuffer
	HardDelete = ropHardDelete
	Save       = ropSaveMessage
	Submit     = ropSubmit
	Send       = ropTransportSend
)

// fault is what befalls the server when it comes to an operation.
type fault struct {
	left    int // operations before that
	restart bool
	stall   bool
	undone  bool // the operation is not executed
	come    chan struct{}
}

// CutAt has the n-th operation of a kind from now on executed, and its reply lost with the connection.
func (s *Server) CutAt(operation uint8, n int) { s.fault(operation, fault{left: n}) }

// RestartAt has the server lose all session contexts when it comes to the n-th operation of a kind from now on, which is not executed.
func (s *Server) RestartAt(operation uint8, n int) {
	s.fault(operation, fault{left: n, restart: true, undone: true})
}

// StallAt has the server say nothing any more when it comes to an operation, which it has executed or not, until the client hangs up.
func (s *Server) StallAt(operation uint8, executed bool) {
	s.fault(operation, fault{left: 1, stall: true, undone: !executed})
}

// HoldAt is StallAt at the n-th operation of a kind from now on. What it returns is closed when the server has come to it.
func (s *Server) HoldAt(operation uint8, n int, executed bool) (come <-chan struct{}) {
	f := fault{left: n, stall: true, undone: !executed, come: make(chan struct{})}
	s.fault(operation, f)
	return f.come
}

func (s *Server) fault(operation uint8, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[operation] = f
}

// befalls says whether a fault befalls the server at an operation: before it is executed, or after that.
func (s *Server) befalls(operation uint8) (before, after bool) {
	f, known := s.faults[operation]
	if !known {
		return false, false
	}
	if f.left--; f.left > 0 {
		s.faults[operation] = f
		return false, false
	}
	delete(s.faults, operation)
	if f.restart {
		clear(s.contexts)
	}
	s.cut, s.stall = true, f.stall
	if f.come != nil {
		close(f.come)
	}
	return f.undone, !f.undone
}

// PacksNothing has the server take one payload with each request, as old ones do.
func (s *Server) PacksNothing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.single = true
}

// NoTransport leaves what is submitted in the Outbox, for who takes it from there.
func (s *Server) NoTransport() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noTransport = true
}

// Refuse has the transport refuse recipients: what is for one of them is sent to nobody.
func (s *Server) Refuse(addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = addresses
}

// Sent returns what left the organisation.
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Sent(nil), s.sent...)
}
