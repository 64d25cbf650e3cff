package smtp

// RequiresTLS is what a [Session] implements that hands mail on through verified TLS alone where a client asks for it
// (RFC 8689). REQUIRETLS is offered, and its parameter is taken, while it is true and the client has come by TLS (§2).
type RequiresTLS interface {
	RequiresTLS() bool
}

func (s *session) requiresTLS() bool {
	r, is := s.backend.(RequiresTLS)
	return is && s.secure() && r.RequiresTLS()
}
