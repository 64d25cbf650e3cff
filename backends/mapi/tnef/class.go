package tnef

import (
	"strings"

	"github.com/dipylon/dipylon/backends/mapi"
)

// classes are the message classes that have another name in attMessageClass, MS-OXTNEF §2.3.3.4.
var classes = []struct{ attribute, property string }{
	{"IPM.Microsoft Mail.Note", "IPM.Note"},
	{"IPM.Microsoft Mail.Read Receipt", "Report.IPM.Note.IPNRN"},
	{"IPM.Microsoft Mail.Non-Delivery", "Report.IPM.Note.NDR"},
	{"IPM.Microsoft Schedule.MtgRespP", "IPM.Schedule.Meeting.Resp.Pos"},
	{"IPM.Microsoft Schedule.MtgRespN", "IPM.Schedule.Meeting.Resp.Neg"},
	{"IPM.Microsoft Schedule.MtgRespA", "IPM.Schedule.Meeting.Resp.Tent"},
	{"IPM.Microsoft Schedule.MtgReq", "IPM.Schedule.Meeting.Request"},
	{"IPM.Microsoft Schedule.MtgCncl", "IPM.Schedule.Meeting.Canceled"},
}

// oldPrefix may stand in front of a class, MS-OXTNEF §2.3.3.4.
const oldPrefix = "Microsoft Mail v3.0 "

// messageClass makes the reader of a message class.
func messageClass(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error {
		octets, err := o.small(s)
		if err != nil {
			return err
		}
		o.set(&o.mapped, k, mapi.String8{Octets: classOf(strings.TrimRight(string(octets), "\x00")), CodePage: o.codePage})
		return nil
	}
}

func classOf(attribute string) string {
	for _, c := range classes {
		if strings.EqualFold(strings.TrimPrefix(attribute, oldPrefix), c.attribute) {
			return c.property
		}
	}
	return attribute
}

// legacyClass returns what attMessageClass calls a class.
func legacyClass(property string) string {
	for _, c := range classes {
		if strings.EqualFold(property, c.property) {
			return c.attribute
		}
	}
	return property
}

// Message classes of meetings, MS-OXOCAL §2.2.
const (
	meeting         = "IPM.Schedule.Meeting."
	meetingResponse = "IPM.Schedule.Meeting.Resp."
)

// under says whether a class is one of those that begin with another, whatever their case.
func under(class, prefix string) bool {
	return len(class) >= len(prefix) && strings.EqualFold(class[:len(prefix)], prefix)
}
