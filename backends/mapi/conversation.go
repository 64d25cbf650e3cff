package mapi

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// ConversationIndex is a PidTagConversationIndex, MS-OXOMSG §2.2.1.3: where a message is in its conversation.
type ConversationIndex struct {
	// Begun is when the conversation began. The lowest 16 bits are not written.
	Begun Time
	// Literal says that the time is written as the section says it, with its highest octet and without the
	// lowest 24 bits. Exchange and Outlook leave out the highest octet, which is the same as the reserved
	// one in front of it (product behaviour of the section).
	Literal bool
	// ID is that of the conversation, PidTagConversationId. Its octets are in the order of a GUID on the wire.
	ID GUID
	// Responses are the levels, the last one being the message's own.
	Responses []Response
}

// Response is a level of a conversation.
type Response struct {
	After  time.Duration // since the conversation began: in steps of 26 ms, or of 0.8 s after 1.7 years
	Random uint8         // four bits
	Level  uint8         // four bits
}

// Sizes of a conversation index, and how it begins.
const (
	conversationHead     = 22
	conversationResponse = 5
	conversationReserved = 0x01
)

// Time differences of responses are cut: their lowest bits are not written, and if they are large even fewer are.
const (
	deltaNear  = 18
	deltaFar   = 23
	deltaBits  = 31
	deltaIsFar = 1 << deltaBits
)

var errConversation = errors.New("a conversation index has 22 octets and then five for each response, and the first is 1")

// ParseConversationIndex takes a PidTagConversationIndex apart.
func ParseConversationIndex(octets []byte) (ConversationIndex, error) {
	if len(octets) < conversationHead || octets[0] != conversationReserved || (len(octets)-conversationHead)%conversationResponse != 0 {
		return ConversationIndex{}, errConversation
	}
	c := ConversationIndex{ID: swapped(GUID(octets[6:conversationHead]))}
	c.Begun, c.Literal = begun(octets)
	for rest := octets[conversationHead:]; len(rest) > 0; rest = rest[conversationResponse:] {
		delta := binary.BigEndian.Uint32(rest)
		shift := deltaNear
		if delta&deltaIsFar != 0 {
			shift = deltaFar
		}
		intervals := uint64(delta&^deltaIsFar) << shift
		c.Responses = append(c.Responses, Response{time.Duration(intervals) * 100, rest[4] >> 4, rest[4] & 0xF})
	}
	return c, nil
}

// begun returns the time in the header, and whether it is written literally: its first octet is a second 1
// then. A time of the other form would be in the year 1833.
func begun(octets []byte) (begun Time, literal bool) {
	head := Time(binary.BigEndian.Uint64(octets))
	if octets[1] == conversationReserved {
		return head << 8 &^ 0xFFFFFF, true
	}
	return head &^ 0xFFFF, false
}

// swapped turns the order of octets in the first three fields.
func swapped(g GUID) GUID {
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g
}

// AppendTo appends the octets of the property.
func (c ConversationIndex) AppendTo(octets []byte) []byte {
	head := binary.BigEndian.AppendUint64(nil, uint64(c.Begun))
	id := swapped(c.ID)
	octets = append(octets, conversationReserved)
	if c.Literal {
		octets = append(octets, head[:5]...)
	} else {
		octets = append(octets, head[1:6]...)
	}
	octets = append(octets, id[:]...)
	for _, r := range c.Responses {
		octets = r.appendTo(octets)
	}
	return octets
}

func (r Response) appendTo(octets []byte) []byte {
	intervals := uint64(max(r.After, 0) / 100)
	delta := uint32(intervals>>deltaNear) &^ deltaIsFar
	if intervals >= 1<<(deltaNear+deltaBits) {
		delta = uint32(intervals>>deltaFar) | deltaIsFar
	}
	return append(binary.BigEndian.AppendUint32(octets, delta), r.Random<<4|r.Level&0xF)
}

// Reply returns the index of a response to the message, sent at a time.
func (c ConversationIndex) Reply(at time.Time, random uint8) ConversationIndex {
	after := max(at.Sub(c.Begun.Time()), 0)
	c.Responses = append(slices.Clone(c.Responses), Response{After: after, Random: random & 0xF})
	return c
}

// conversationTopic is how many UTF-16 units of a topic count.
const conversationTopic = 255

// ConversationID computes PidTagConversationId, MS-OXOMSG §2.2.1.2. It returns nil if there is none.
func ConversationID(p *Properties) Binary {
	index := p.Bytes(PidTagConversationIndex)
	if p.Bool(PidTagConversationIndexTracking) && len(index) >= conversationHead && index[0] == conversationReserved {
		return slices.Clone(index[6:conversationHead])
	}
	topic := p.Text(PidTagConversationTopic)
	if topic == "" {
		return nil
	}
	units := utf16.Encode([]rune(topic))
	units = units[:min(len(units), conversationTopic)]
	upper := strings.ToUpper(string(utf16.Decode(units)))
	sum := md5.Sum(utf16Octets(upper))
	return sum[:]
}
