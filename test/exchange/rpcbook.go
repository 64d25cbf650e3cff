package exchange

import "strings"

// bind is NspiBind, MS-OXNSPI §3.1.4.1.1.
func (x *rpcCall) bind() ([]byte, uint32) {
	if flags := x.u32(); flags != 0 {
		x.s.wrong("bind to the address book with flags %x", flags)
	}
	x.state()
	if x.u32() != 0 {
		x.in.take(16)
	}
	handle := x.give(&context{mailbox: x.a.ntlm.user, book: true})
	out := stub{}
	out.u32(0x20000)
	out = append(out, "the address book"...)
	out = append(out, handle...)
	out.u32(0)
	return out, 0
}

// unbind is NspiUnbind, MS-OXNSPI §3.1.4.1.2.
func (x *rpcCall) unbind() ([]byte, uint32) {
	c, key := x.context()
	x.u32() // Reserved
	if c == nil {
		return nil, faultContext
	}
	delete(x.s.contexts, key)
	return append(make([]byte, 20), words(1)...), 0 // UnbindSuccess
}

// state reads a STAT, MS-OXNSPI §2.2.8, and returns where it stands.
func (x *rpcCall) state() uint32 {
	x.in.align(x.size, 4)
	in := cursor{octets: x.in.take(stateSize)}
	sort, container, current := in.u32(), in.u32(), in.u32()
	in.take(3 * 4) // Delta, NumPos, TotalRecs
	if page := in.u32(); sort != 0 || container != 0 || page == 1200 {
		x.s.wrong("ask the address book with the sort type %d, the container %d and the code page %d", sort, container, page)
	}
	return current
}

// columns reads a PropertyTagArray_r behind its pointer, MS-OXNSPI §2.2.1.
func (x *rpcCall) columns() []uint32 {
	if x.u32() == 0 {
		x.s.wrong("ask for no columns")
		return nil
	}
	room, count, offset, n := x.u32(), x.u32(), x.u32(), x.u32()
	if room != count+1 || offset != 0 || n != count {
		x.s.wrong("send columns with the counts %d, %d, %d, %d", room, count, offset, n)
		x.in.short = true
	}
	var all []uint32
	for range min(n, 100) {
		all = append(all, x.u32())
	}
	return all
}

// names reads a StringsArray_r or a WStringsArray_r, MS-OXNSPI §2.2.6.
func (x *rpcCall) names(size int) []string {
	room, count := x.u32(), x.u32()
	if room != count || count > 1000 {
		x.s.wrong("send names with the counts %d, %d", room, count)
		x.in.short = true
		return nil
	}
	for range count {
		if x.u32() == 0 {
			x.s.wrong("send a name that is null")
		}
	}
	var all []string
	for range count {
		all = append(all, x.text(size))
	}
	x.in.align(x.size, 4)
	return all
}

// The least MinimalEntryID of somebody, MS-OXNSPI §2.2.9.1.
const firstEntry = 0x10

// writeIDs writes a PropertyTagArray_r behind its pointer.
func (s *stub) writeIDs(ids []uint32) {
	n := uint32(len(ids))
	s.u32(0x20000, n+1, n, 0, n)
	s.u32(ids...)
}

// resolve is NspiResolveNamesW, MS-OXNSPI §3.1.4.1.17.
func (x *rpcCall) resolve() ([]byte, uint32) {
	c, _ := x.context()
	x.u32() // Reserved
	x.state()
	columns, names := x.columns(), x.names(2)
	if c == nil {
		return nil, faultContext
	}
	var ids []uint32
	var rows []*Mailbox
	for _, name := range names {
		id := uint32(0)
		if m := x.s.entry(name); m != nil {
			id, rows = 2, append(rows, m)
		}
		ids = append(ids, id)
	}
	out := stub{}
	out.writeIDs(ids)
	out.rows(rows, columns)
	out.u32(0)
	return out, 0
}

// ids is NspiDNToMId, MS-OXNSPI §3.1.4.1.13.
func (x *rpcCall) ids() ([]byte, uint32) {
	c, _ := x.context()
	x.u32() // Reserved
	names := x.names(1)
	if c == nil {
		return nil, faultContext
	}
	var ids []uint32
	for _, name := range names {
		id := uint32(0)
		for i, m := range x.s.mailboxes {
			if strings.EqualFold(m.DN, name) {
				id = uint32(firstEntry + i)
			}
		}
		ids = append(ids, id)
	}
	out := stub{}
	out.writeIDs(ids)
	out.u32(0)
	return out, 0
}

// queryRows is NspiQueryRows of an explicit table, MS-OXNSPI §3.1.4.1.8.
func (x *rpcCall) queryRows() ([]byte, uint32) {
	c, _ := x.context()
	x.u32() // dwFlags
	x.state()
	count := x.u32()
	if x.u32() == 0 || x.u32() != count || count > 1000 {
		x.s.wrong("ask for rows without an explicit table")
		return nil, faultStub
	}
	var rows []*Mailbox
	for range count {
		if m := x.s.entryOf(x.u32()); m != nil {
			rows = append(rows, m)
		}
	}
	x.u32() // Count
	columns := x.columns()
	if c == nil {
		return nil, faultContext
	}
	out := stub(make([]byte, stateSize))
	out.rows(rows, columns)
	out.u32(0)
	return out, 0
}

// properties is NspiGetProps, MS-OXNSPI §3.1.4.1.7.
func (x *rpcCall) properties() ([]byte, uint32) {
	c, _ := x.context()
	x.u32() // dwFlags
	m := x.s.entryOf(x.state())
	columns := x.columns()
	switch {
	case c == nil:
		return nil, faultContext
	case m == nil:
		return words(0, notFound), 0
	}
	out := stub{}
	out.u32(0x20000, 0, uint32(len(columns)), 0x20004)
	out.values(m, columns)
	out.u32(0x00040380) // a warning: errors returned
	return out, 0
}

func (s *Server) entryOf(id uint32) *Mailbox {
	if i := int(id) - firstEntry; i >= 0 && i < len(s.mailboxes) {
		return s.mailboxes[i]
	}
	return nil
}

// rows writes a PropertyRowSet_r behind its pointer, MS-OXNSPI §2.2.4.
func (s *stub) rows(all []*Mailbox, columns []uint32) {
	n := uint32(len(all))
	s.u32(0x20000, n, n)
	for range all {
		s.u32(0, uint32(len(columns)), 0x20000)
	}
	for _, m := range all {
		s.values(m, columns)
	}
}

// values writes what a PropertyRow_r points to: PropertyValue_r, MS-OXNSPI §2.2.2, and behind them what those point to.
func (s *stub) values(m *Mailbox, columns []uint32) {
	var behind []func()
	s.u32(uint32(len(columns)))
	for _, tag := range columns {
		text := map[uint32]string{tagEmailAddress: m.DN, tagSMTPAddress: m.User, tagName: m.User}[tag]
		switch {
		case text != "":
			s.u32(tag, 0, tag&0xFFFF, 0x20000)
			behind = append(behind, func() { s.text(wide(text), 2) })
		case tag == tagProxies:
			s.u32(tag, 0, tag&0xFFFF, 2, 0x20000)
			behind = append(behind, func() {
				s.u32(2, 0x20000, 0x20004)
				s.text(wide("SMTP:"+m.User), 2)
				s.text(wide("X400:c=X;o=Sakes"), 2)
			})
		case tag == tagDelegates && len(m.Delegates) > 0:
			n := uint32(len(m.Delegates))
			s.u32(tag, 0, tag&0xFFFF, n, 0x20000)
			behind = append(behind, func() {
				s.u32(n)
				for i := range m.Delegates {
					s.u32(0x20000 + 4*uint32(i))
				}
				for _, dn := range m.Delegates {
					s.text(wide(dn), 2)
				}
			})
		case tag == tagDisplayType:
			s.u32(tag, 0, tag&0xFFFF, 0)
		case tag == tagEntryID:
			s.u32(tag, 0, tag&0xFFFF, 4, 0x20000)
			behind = append(behind, func() { s.u32(4, 0x12345678) })
		default:
			s.u32(tag&^0xFFFF|0x000A, 0, 0x000A, notFound)
		}
	}
	for _, write := range behind {
		write()
	}
}

// Further properties of an entry.
const (
	tagDisplayType = 0x39000003
	tagEntryID     = 0x0FFF0102
)
