package exchange

// Rights are what somebody may do with the mailbox of another.
type Rights struct {
	SendAs bool
	// Reads says that its folders may be opened, and not only the mailbox.
	Reads bool
	// Admin says that it is opened with administrative access alone, MS-OXCSTOR §3.2.5.1.1.
	Admin bool
}

// Grant lets somebody open the mailbox.
func (m *Mailbox) Grant(to *Mailbox, rights Rights) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if m.rights == nil {
		m.rights = make(map[string]Rights)
	}
	m.rights[to.DN] = rights
}

// RefuseLogons answers logons to the mailbox with a ReturnValue, MS-OXCSTOR §3.2.5.1.3. 0: they are taken again.
func (m *Mailbox) RefuseLogons(code uint32) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.refuses = code
}

const (
	wrongServer          = 0x00000478
	profileNotConfigured = 0x0000011C
	useAdminPrivilege    = 0x00000001
)

// refusal is the ReturnValue of a logon of somebody, 0: they may log on.
func (m *Mailbox) refusal(who *Mailbox, open uint32) uint32 {
	rights, known := m.rights[who.DN]
	switch {
	case m.refuses != 0:
		return m.refuses
	case who == m:
		return 0
	case !known:
		return accessDenied
	case rights.Admin && open&useAdminPrivilege == 0:
		return profileNotConfigured
	}
	return 0
}

// responseFlags are the rights that a logon tells of, MS-OXCSTOR §2.2.1.1.3.
func (m *Mailbox) responseFlags(who *Mailbox) byte {
	flags := byte(0x01) // Reserved, which is set
	if who == m || m.rights[who.DN].Reads {
		flags |= 0x02 // OwnerRight
	}
	if who == m || m.rights[who.DN].SendAs {
		flags |= 0x04 // SendAsRight
	}
	return flags
}

// reads says whether somebody may open the folders of the mailbox.
func (m *Mailbox) reads(who *Mailbox) bool { return who == m || m.rights[who.DN].Reads }
