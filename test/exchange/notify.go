package exchange

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// Operations and kinds of notifications, MS-OXCROPS §2.2.14 and MS-OXCNOTIF §2.2.1.1.
const (
	ropRegister     = 0x29
	ropNotify       = 0x2A
	createdOfObject = 0x0004
	changedOfObject = 0x0010
	ofMessage       = 0x8000
	noTagsTold      = 0xFFFF
)

// registration is of the notifications of a folder.
type registration struct {
	mailbox *Mailbox
	folder  uint64
	types   uint16
}

// register asks for notifications, MS-OXCROPS §2.2.14.1: those of one folder's messages alone are here.
func (x *call) register(from object) object {
	types, whole := x.in.u16(), x.in.u8()
	if whole != 0 {
		return nil
	}
	folderID, messageID := x.in.id(), x.in.id()
	box := mailboxOf(from)
	if box == nil || box.folder(folderID) == nil || messageID != (id{}) {
		return nil
	}
	return &registration{box, folderID.counter(), types}
}

// changed tells whoever has asked for it that a message was created in its folder, or changed.
func (m *Message) changed() {
	s := m.mailbox.server
	for _, c := range s.contexts {
		for handle, o := range c.objects {
			r, is := o.(*registration)
			if !is || r.mailbox != m.mailbox || r.folder != m.folder || r.types&(createdOfObject|changedOfObject) == 0 {
				continue
			}
			c.notify(handle, m)
		}
	}
}

// notificationsMost is how many notifications wait for a client.
const notificationsMost = 100

// notify keeps a RopNotify for the next Execute, MS-OXCROPS §2.2.14.2.
func (c *context) notify(handle uint32, m *Message) {
	if len(c.notifications) >= notificationsMost {
		return
	}
	kind := uint16(changedOfObject | ofMessage)
	folderID, mid := number(m.folder), number(m.ID)
	one := append([]byte{ropNotify}, words(handle)...)
	one = append(one, 0, byte(kind), byte(kind>>8)) // LogonId
	one = append(append(one, folderID[:]...), mid[:]...)
	c.notifications = append(c.notifications, append(one, noTagsTold&0xFF, noTagsTold>>8))
	if c.bell != nil {
		close(c.bell)
		c.bell = nil
	}
}

// told takes the notifications that there are room for.
func (c *context) told(room int) (octets []byte) {
	for len(c.notifications) > 0 && len(octets)+len(c.notifications[0]) <= room {
		octets = append(octets, c.notifications[0]...)
		c.notifications = c.notifications[1:]
	}
	return octets
}

// await answers a NotificationWait, MS-OXCMAPIHTTP §2.2.4.4 and §3.2.5.5: when there are notifications, or after some minutes. It says PENDING
// meanwhile. The lock is held, and free while it waits.
func (s *Server) await(w http.ResponseWriter, r *http.Request, user *Mailbox, body []byte) {
	id, err := r.Cookie(contextCookie)
	c := (*context)(nil)
	if err == nil {
		c = s.contexts[id.Value]
	}
	switch {
	case len(body) != 8:
		s.wrong("send a NotificationWait of %d octets", len(body))
		s.write(w, r, invalidBody, nil)
		return
	case c == nil || c.mailbox != user:
		s.write(w, r, contextNotFound, nil)
		return
	case s.deaf:
		s.write(w, r, invalidType, nil)
		return
	}
	s.waits++
	w.Header().Set("X-ResponseCode", fmt.Sprint(succeeded))
	w.Header().Set("Content-Type", "application/mapi-http")
	_, _ = io.WriteString(w, "PROCESSING\r\n")
	_ = http.NewResponseController(w).Flush()
	pending := s.events(w, r, c)
	_, _ = io.WriteString(w, "DONE\r\nX-ElapsedTime: 0\r\nX-StartTime: Sun, 22 Nov 2026 22:08:49 GMT\r\n\r\n")
	_, _ = w.Write(words(0, 0, pending, 0))
}

// events waits until there are notifications: 1, or 0 after five minutes.
func (s *Server) events(w http.ResponseWriter, r *http.Request, c *context) uint32 {
	end := time.NewTimer(5 * time.Minute)
	defer end.Stop()
	for still := time.NewTicker(15 * time.Second); ; {
		if len(c.notifications) > 0 {
			return 1
		}
		if c.bell == nil {
			c.bell = make(chan struct{})
		}
		bell := c.bell
		s.mu.Unlock()
		over := false
		select {
		case <-bell:
		case <-still.C:
			_, _ = io.WriteString(w, "PENDING\r\n")
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			over = true
		case <-end.C:
			over = true
		}
		s.mu.Lock()
		if over {
			return 0
		}
	}
}

// Deaf has the server know no NotificationWait.
func (s *Server) Deaf() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

// Waits is how often somebody waited for notifications.
func (s *Server) Waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}
