package tnef

import (
	"fmt"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Attribute is the number of an attribute, MS-OXTNEF §2.1.3.3. Its upper half says how the data are written, and is
// not looked at: writers differ.
type Attribute uint32

// The attributes, MS-OXTNEF §2.1.3.3.
const (
	attOwner                   Attribute = 0x0006_0000
	attSentFor                 Attribute = 0x0006_0001
	attDelegate                Attribute = 0x0006_0002
	attDateStart               Attribute = 0x0003_0006
	attDateEnd                 Attribute = 0x0003_0007
	attAidOwner                Attribute = 0x0005_0008
	attRequestRes              Attribute = 0x0004_0009
	attOriginalMessageClass    Attribute = 0x0007_0600
	attFrom                    Attribute = 0x0000_8000
	attSubject                 Attribute = 0x0001_8004
	attDateSent                Attribute = 0x0003_8005
	attDateRecd                Attribute = 0x0003_8006
	attMessageStatus           Attribute = 0x0006_8007
	attMessageClass            Attribute = 0x0007_8008
	attMessageID               Attribute = 0x0001_8009
	attParentID                Attribute = 0x0001_800A
	attConversationID          Attribute = 0x0001_800B
	attBody                    Attribute = 0x0002_800C
	attPriority                Attribute = 0x0004_800D
	attAttachData              Attribute = 0x0006_800F
	attAttachTitle             Attribute = 0x0001_8010
	attAttachMetaFile          Attribute = 0x0006_8011
	attAttachCreateDate        Attribute = 0x0003_8012
	attAttachModifyDate        Attribute = 0x0003_8013
	attDateModified            Attribute = 0x0003_8020
	attAttachTransportFilename Attribute = 0x0006_9001
	attAttachRendData          Attribute = 0x0006_9002
	attMsgProps                Attribute = 0x0006_9003
	attRecipTable              Attribute = 0x0006_9004
	attAttachment              Attribute = 0x0006_9005
	attTnefVersion             Attribute = 0x0008_9006
	attOemCodepage             Attribute = 0x0006_9007
)

var attributeNames = map[Attribute]string{
	attOwner: "attOwner", attSentFor: "attSentFor", attDelegate: "attDelegate", attDateStart: "attDateStart",
	attDateEnd: "attDateEnd", attAidOwner: "attAidOwner", attRequestRes: "attRequestRes",
	attOriginalMessageClass: "attOriginalMessageClass", attFrom: "attFrom", attSubject: "attSubject",
	attDateSent: "attDateSent", attDateRecd: "attDateRecd", attMessageStatus: "attMessageStatus",
	attMessageClass: "attMessageClass", attMessageID: "attMessageID", attParentID: "attParentID",
	attConversationID: "attConversationID", attBody: "attBody", attPriority: "attPriority",
	attAttachData: "attAttachData", attAttachTitle: "attAttachTitle", attAttachMetaFile: "attAttachMetaFile",
	attAttachCreateDate: "attAttachCreateDate", attAttachModifyDate: "attAttachModifyDate",
	attDateModified: "attDateModified", attAttachTransportFilename: "attAttachTransportFilename",
	attAttachRendData: "attAttachRendData", attMsgProps: "attMsgProps", attRecipTable: "attRecipTable",
	attAttachment: "attAttachment", attTnefVersion: "attTnefVersion", attOemCodepage: "attOemCodepage",
}

// known are the attributes by the lower halves of their numbers.
var known = func() map[uint16]Attribute {
	m := map[uint16]Attribute{}
	for a := range attributeNames {
		m[uint16(a)] = a
	}
	return m
}()

// String returns the name of MS-OXTNEF, and the number if there is none.
func (a Attribute) String() string {
	if name := attributeNames[known[uint16(a)]]; name != "" && known[uint16(a)]&0xFFFF == a&0xFFFF {
		return name
	}
	return fmt.Sprintf("0x%08x", uint32(a))
}

// level says what an attribute belongs to, MS-OXTNEF §2.1.3.
type level uint8

const (
	levelMessage    level = 1
	levelAttachment level = 2
)

// levelOf returns where an attribute belongs.
func levelOf(a Attribute) level {
	switch a {
	case attAttachData, attAttachTitle, attAttachMetaFile, attAttachCreateDate, attAttachModifyDate,
		attAttachTransportFilename, attAttachRendData, attAttachment:
		return levelAttachment
	}
	return levelMessage
}

// What a stream begins with, MS-OXTNEF §2.1.3.
const (
	signature   uint32 = 0x223E9F78
	tnefVersion uint32 = 0x0001_0000
	// defaultCodePage is that of a stream that names none.
	defaultCodePage = 437
)

// The interfaces of a PtypObject, which say what is in it, MS-OXTNEF §2.1.3.4.
var (
	iidMessage = mapi.MustGUID("{00020307-0000-0000-c000-000000000046}") // a TNEF stream
	iidStorage = mapi.MustGUID("{0000000b-0000-0000-c000-000000000046}") // a compound file
	iidStream  = mapi.MustGUID("{0000000c-0000-0000-c000-000000000046}")
)

// macBinary is the PidTagAttachEncoding of an attachment in MacBinary, MS-OXCMSG §2.2.2.20.
const macBinary = "\x2A\x86\x48\x86\xF7\x14\x03\x0B\x01"

// pidTagConversationKey has no entry in MS-OXPROPS: attConversationID alone uses it.
var pidTagConversationKey = mapi.NewTag(0x000B, mapi.PtypBinary)
