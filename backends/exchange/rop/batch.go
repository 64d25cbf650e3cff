package rop

import (
	"fmt"

	"github.com/dipylon/dipylon/backends/mapi"
)

// noHandle is what stands in a table of handles where there is none. 0 is a handle.
const noHandle uint32 = 0xFFFFFFFF

// Object is an object of the server's: a mailbox, a folder, a message, a table, a stream. It can be used in the batch
// that opens it, and afterwards.
type Object struct {
	logon  uint8
	handle uint32
	opened bool
}

// Opened says whether the server has opened the object, and has not been asked to release it since.
func (o *Object) Opened() bool { return o.opened }

// Handle returns what [Notification.NotificationHandle] is compared with.
func (o *Object) Handle() uint32 { return o.handle }

// Batch is a list of operations that are sent together. The zero Batch is empty.
type Batch struct {
	waiting []*call
	replies []Reply
}

// call is a request of a batch.
type call struct {
	request request
	reply   Reply // nil if there is none
	logon   uint8 // of the object
	inputs  []*Object
	output  *Object
	// place puts the places of the objects in the table of handles into the request.
	place func(index func(*Object) uint8)
	size  int // of the request when it was sent
}

func (b *Batch) add(c *call) {
	b.waiting = append(b.waiting, c)
	if c.reply != nil {
		b.replies = append(b.replies, c.reply)
	}
}

// Err returns the error of the first operation that failed or was not answered, and nil if all succeeded.
func (b *Batch) Err() error {
	for _, r := range b.replies {
		if err := r.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Enter logs on to a mailbox. The number is the client's own: one for each mailbox of a session.
func Enter(b *Batch, number uint8, r *Logon) (*Object, *LogonReply) {
	out, reply := &Object{logon: number}, r.reply()
	b.add(&call{request: r, reply: reply, logon: number, output: out, place: func(index func(*Object) uint8) {
		r.OutputHandleIndex = index(out)
	}})
	return out, reply
}

// Open opens an object by means of another.
func Open[R Reply](b *Batch, by *Object, r interface {
	openRequest
	replier[R]
},
) (*Object, R) {
	out, reply := &Object{logon: by.logon}, r.reply()
	b.add(&call{request: r, reply: reply, logon: by.logon, inputs: []*Object{by}, output: out, place: func(index func(*Object) uint8) {
		*r.opens() = Opens{index(by), index(out)}
	}})
	return out, reply
}

// On does something to an object.
func On[R Reply](b *Batch, o *Object, r interface {
	onRequest
	replier[R]
},
) R {
	reply := r.reply()
	b.add(&call{request: r, reply: reply, logon: o.logon, inputs: []*Object{o}, place: func(index func(*Object) uint8) {
		r.input().InputHandleIndex = index(o)
	}})
	return reply
}

// Move does something between two folders.
func Move[R Reply](b *Batch, from, to *Object, r interface {
	betweenRequest
	replier[R]
},
) R {
	reply := r.reply()
	b.add(&call{request: r, reply: reply, logon: from.logon, inputs: []*Object{from, to}, place: func(index func(*Object) uint8) {
		*r.between() = Between{index(from), index(to)}
	}})
	return reply
}

// Save does something to an object of which another is told: of a message its folder, of an attachment its message.
func Save[R Reply](b *Batch, of, o *Object, r interface {
	saveRequest
	replier[R]
},
) R {
	reply := r.reply()
	b.add(&call{request: r, reply: reply, logon: o.logon, inputs: []*Object{of, o}, place: func(index func(*Object) uint8) {
		*r.saves() = Saves{index(of), index(o)}
	}})
	return reply
}

// Release lets the server forget an object. There is no reply. MS-OXCROPS §2.2.15.3.
func Release(b *Batch, o *Object) {
	r := &release{}
	b.add(&call{request: r, logon: o.logon, inputs: []*Object{o}, place: func(index func(*Object) uint8) {
		r.InputHandleIndex = index(o)
	}})
}

type release struct{ Input }

func (*release) ID() ID              { return idRelease }
func (*release) write(*mapi.Encoder) {}

// indexMost is how many objects a table of handles has: an index has 8 bits.
const indexMost = 255

// packet is what is sent at once.
type packet struct {
	calls   []*call
	handles []uint32
	objects []*Object
	e       *mapi.Encoder
}

// pack takes as many of the calls as go into one payload, MS-OXCROPS §2.2.1. Calls on objects that are not open are
// answered as a server would.
func (b *Batch) pack() (*packet, error) {
	p := &packet{e: mapi.NewEncoder([]byte{0, 0}, mapi.Format{CodePage: codePage})}
	for len(b.waiting) > 0 {
		c := b.waiting[0]
		if !p.ready(c) {
			c.refuse()
		} else if fits, err := p.put(c); err != nil {
			return nil, err
		} else if !fits {
			break
		}
		b.waiting = b.waiting[1:]
	}
	return p, nil
}

// ready says whether the objects of a call are open, or will be when it is its turn.
func (p *packet) ready(c *call) bool {
	for _, o := range c.inputs {
		if !o.opened && !p.opens(o) {
			return false
		}
	}
	return true
}

func (p *packet) opens(o *Object) bool {
	for _, c := range p.calls {
		if c.output == o {
			return true
		}
	}
	return false
}

// refuse answers a call on an object that is not there.
func (c *call) refuse() {
	if c.reply != nil {
		head := c.reply.head()
		head.op, head.ReturnValue, head.answered = c.request.ID(), NullObject, true
	}
}

// put writes a call, unless there is no room for it.
func (p *packet) put(c *call) (bool, error) {
	objects, handles, before := len(p.objects), len(p.handles), len(p.e.Octets())
	c.place(p.index)
	writeRequest(p.e, c.logon, c.request)
	if err := p.e.Err(); err != nil {
		return false, fmt.Errorf("rop: %s: %w", c.request.ID(), err)
	}
	c.size = len(p.e.Octets()) - before
	if len(p.e.Octets())+4*len(p.handles) <= PayloadMost && len(p.handles) <= indexMost {
		p.calls = append(p.calls, c)
		return true, nil
	}
	if len(p.calls) == 0 {
		return false, fmt.Errorf("rop: %s has %d octets, and a buffer holds %d", c.request.ID(), c.size, PayloadMost)
	}
	p.objects, p.handles = p.objects[:objects], p.handles[:handles]
	p.e = mapi.NewEncoder(p.e.Octets()[:before], mapi.Format{CodePage: codePage})
	return false, nil
}

// index returns the place of an object in the table of handles.
func (p *packet) index(o *Object) uint8 {
	for i, other := range p.objects {
		if other == o {
			return uint8(i)
		}
	}
	handle := noHandle
	if o.opened {
		handle = o.handle
	}
	p.objects, p.handles = append(p.objects, o), append(p.handles, handle)
	return uint8(len(p.objects) - 1)
}

// payload returns the ROP input buffer, MS-OXCROPS §2.2.1.
func (p *packet) payload() []byte {
	size := len(p.e.Octets())
	p.e.Octets()[0], p.e.Octets()[1] = byte(size), byte(size>>8)
	for _, handle := range p.handles {
		p.e.Uint32(handle)
	}
	return p.e.Octets()
}
