package mapi

import "testing"

func TestLookup(t *testing.T) {
	for tag, want := range map[Tag]string{
		0x0037001F: "PidTagSubject",
		0x0037001E: "PidTagSubject", // the other string type
		0x0037000A: "PidTagSubject", // an error in its place
		0x37010102: "PidTagAttachDataBinary",
		0x3701000D: "PidTagAttachDataObject",
		0x10130102: "PidTagHtml",
		0x1013001F: "PidTagBodyHtml",
		0x1013001E: "PidTagBodyHtml",
		0x7FFA0003: "PidTagAttachmentLinkId",
		0x12340003: "",
	} {
		if got := tag.Name(); got != want {
			t.Errorf("0x%08x is %q, want %q", uint32(tag), got, want)
		}
	}
	if d, ok := LookupName("PidLidReminderSet"); !ok || d.Named != PidLidReminderSet || d.Tag.Type() != PtypBoolean || d.Section != "2.222" {
		t.Errorf("PidLidReminderSet is %+v, %v", d, ok)
	}
	if d, ok := LookupNamed(Named{Set: PSPublicStrings, Name: "Keywords"}); !ok || d.Name != "PidNameKeywords" || d.Tag.Type() != PtypMultipleString {
		t.Errorf("Keywords is %+v, %v", d, ok)
	}
	if _, ok := LookupName("PidTagUnheardOf"); ok {
		t.Error("PidTagUnheardOf is there")
	}
}

func TestEveryNameIsFoundByWhatItNames(t *testing.T) {
	for _, d := range definitions {
		if found, ok := LookupName(d.Name); !ok || found != d {
			t.Errorf("%s: %+v", d.Name, found)
		}
		switch found, ok := Lookup(d.Tag); {
		case d.Named.IsZero() && (!ok || found.Tag != d.Tag):
			t.Errorf("%s: %+v", d.Name, found)
		case !d.Named.IsZero() && (d.Tag.ID() != 0 || d.Named.LID != 0 == (d.Named.Name != "")):
			t.Errorf("%s: %+v", d.Name, d)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{PidTagSubject.String(), "0x0037001f PidTagSubject"},
		{Tag(0x12340003).String(), "0x12340003"},
		{PidLidReminderSet.String(), "PidLidReminderSet"},
		{Named{Set: PSMapi, LID: 0x4711}.String(), "{00020328-0000-0000-c000-000000000046} 0x00004711"},
		{Named{Set: PSMapi, Name: "x"}.String(), `{00020328-0000-0000-c000-000000000046} "x"`},
		{PtypMultipleString8.String(), "PtypMultipleString8"},
		{Type(0x0077).String(), "0x0077"},
		{(PtypString | MultiValue | MultiValueInstance).String(), "0x301f"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	for _, name := range []string{"PtypInteger32", "PtypMultipleBinary", "PtypServerId"} {
		if p, err := ParseType(name); err != nil || p.String() != name {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	if p, err := ParseType("PtypComplex"); err == nil {
		t.Errorf("PtypComplex is %v", p)
	}
}
