package convert

import (
	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// directoryToProto makes an entry of a store's directory ready for the wire. One that is not valid is no
// reason to lose the verdict, and is left out.
func directoryToProto(e *backends.DirectoryEntry) *pb.DirectoryEntry {
	if e == nil || e.Check() != nil {
		return nil
	}
	return &pb.DirectoryEntry{
		Address: e.Address, Members: e.Members,
		RichText: pb.RichText(e.Preferences.RichText), Format: pb.Format(e.Preferences.Format), Charset: e.Preferences.Charset,
	}
}

// directoryFromProto reads an entry; nil where there is none, or one that is not valid. A preference that
// is not known here is none.
func directoryFromProto(m *pb.DirectoryEntry) *backends.DirectoryEntry {
	if m == nil {
		return nil
	}
	e := &backends.DirectoryEntry{Address: m.GetAddress(), Members: m.GetMembers()}
	e.Preferences.Charset = m.GetCharset()
	if _, known := pb.RichText_name[int32(m.GetRichText())]; known {
		e.Preferences.RichText = backends.RichText(m.GetRichText())
	}
	if _, known := pb.Format_name[int32(m.GetFormat())]; known {
		e.Preferences.Format = backends.Format(m.GetFormat())
	}
	if e.Check() != nil {
		return nil
	}
	return e
}
