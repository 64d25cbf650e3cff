package convert

import (
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// told are the choices of a conversion, a line each. None comes without a rule but where the format is our own.
func told(t *testing.T, m *mapi.Message, from, to Format, source string) string {
	t.Helper()
	out := written(t, to, m)
	var all strings.Builder
	for _, c := range (Writer{}).Explain(m, from, to, io.NewSectionReader(strings.NewReader(source), 0, int64(len(source))), io.NewSectionReader(strings.NewReader(out), 0, int64(len(out)))) {
		if c.Rule == "" && to != Dump {
			t.Errorf("no rule for %q", c.Text)
		}
		all.WriteString(c.String() + "\n")
	}
	return all.String()
}

func hasAll(t *testing.T, name, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in\n%s", name, want, text)
		}
	}
}

// TestExplain: the choices are told with their rules, those of messages in the message too, and no value.
func TestExplain(t *testing.T) {
	source := "X-MS-Exchange-Organization-SCL: 9\r\n" + letter
	m := read(t, EML, source)
	m.Set(mapi.PidTagParentEntryId, mapi.ErrorCode(0x8004010f))
	secret := &mapi.Recipient{}
	secret.Set(mapi.PidTagAddressType, mapi.String("EX"))
	secret.Set(mapi.PidTagEmailAddress, mapi.String("/o=secret"))
	m.Recipients = append(m.Recipients, secret)
	for to, wants := range map[Format][]string{
		EML: {
			"the message class is IPM.Note: it is a message as usual (MS-OXCMAIL §2.2.3.2.1)", "header field X-Odd has no property of its own, and is kept by its name (MS-OXCMAIL §2.2.3.2)",
			"header field X-MS-Exchange-Organization-SCL is one that only Exchange's servers tell one another, and is left out (MS-OXCMAIL §2.2.3.2.28)",
			"the header is the one that the message came with", "HTML is the best body (MS-OXBBODY §2.1.3)", "plain text and HTML are multipart/alternative (MS-OXCMAIL §2.1.3.3)",
			"attachment 1 is a message, and is written as message/rfc822 (MS-OXCMAIL §2.1.3.4.3)", "attachment 1: plain text is the only body (MS-OXBBODY §2.1.3)",
			"attachment 2 is a file of 5 octets (MS-OXCMAIL §2.1.3.4.2)", "recipient 2 has an address of the type EX", "written: the message is multipart/mixed (MS-OXCMAIL §2.1.3.3)",
			"written: part 1.2 is text/html (MS-OXCMAIL §2.1.3.3)", "written: part 2's message is text/plain", "written: part 3 is application/octet-stream, in base64, attachment (MS-OXCMAIL §2.1.3.4.2)",
		},
		TNEF:         {"(MS-OXTNEF §2.1.3.3.5)", "PidTagParentEntryId is left out: TNEF has no form"},
		FastTransfer: {"(MS-OXCFXICS §2.2.4.1)", "PidTagParentEntryId is left out: an error"},
		Dump:         {"all properties stand by their tags and names"},
	} {
		all := told(t, m, EML, to, source)
		hasAll(t, string(to), all, wants...)
		if strings.Contains(all, "secret") || strings.Contains(all, "Grüße") || strings.Contains(all, ": 9") {
			t.Errorf("to %s: values are told:\n%s", to, all)
		}
	}
}

// TestExplainKinds: each kind of message has rules of its own, read and written.
func TestExplainKinds(t *testing.T) {
	part := func(kind, content string) string {
		return "--b\r\nContent-Type: " + kind + "\r\n\r\n" + content + "\r\n"
	}
	multipart := func(kind string, parts ...string) string {
		return "From: a@b.example\r\nTo: c@d.example\r\nContent-Type: multipart/" + kind + "; boundary=b\r\n\r\n" + strings.Join(parts, "") + "--b--\r\n"
	}
	event := "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20261130T100000Z\r\nDTEND:20261130T110000Z\r\nEND:VEVENT\r\nEND:VCALENDAR"
	card := "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n"
	plain := part("text/plain", "text")
	for mail, wants := range map[string][]string{
		multipart("signed", plain, part("application/pkcs7-signature", "x")):                                                                                                {"is IPM.Note.SMIME.MultipartSigned: it is clear-signed: all", "(MS-OXOSMIME §2.1.1)", "written: the message is multipart/signed (MS-OXOSMIME §2.1.1)"},
		"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nx\r\n":                                                                                                 {"(MS-OXOSMIME §2.1.2)", "written: the message is application/pkcs7-mime, in base64"},
		multipart("report", plain, part("message/delivery-status", "Reporting-MTA: dns; a\r\n\r\nFinal-Recipient: rfc822; b@c\r\nAction: failed\r\nStatus: 5.0.0\r\n")):     {"(MS-OXCMAIL §2.2.3.7.1)", "written: part 2 is message/delivery-status (MS-OXCMAIL §2.1.3.6.1)", "a report on delivery is multipart/report"},
		multipart("report", plain, part("message/disposition-notification", "Final-Recipient: rfc822; b@c\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n")): {"(MS-OXCMAIL §2.2.3.7)", "written: part 2 is message/disposition-notification (MS-OXCMAIL §2.1.3.6.2)"},
		multipart("alternative", plain, part("text/calendar; method=REQUEST", event)):                                                                                       {"IPM.Schedule.Meeting.Request: METHOD", "(MS-OXCICAL §2.1.3.1.1)", "is text/calendar (MS-OXCICAL §2.1.3.1)"},
		"From: a@b.example\r\nContent-Type: text/vcard\r\n\r\n" + card:                                                                                                      {"(MS-OXVCARD §2.1.3)", "is text/vcard"},
		"Content-Type: text/plain; charset=x-user-defined\r\n\r\nGr\xfc\xdfe\r\n":                                                                                           {`the charset "x-user-defined" of text/plain is not known, and what it is was guessed from the octets (MS-OXCMAIL §2.2.3.3)`, "code page 1252"},
		multipart("mixed", plain, part("application/ms-tnef", "none")):                                                                                                      {"attachment 1 is TNEF that could not be opened, and stays a file (MS-OXCMAIL §2.2.2)"},
		multipart("mixed", plain, part("text/calendar", "none")):                                                                                                            {"attachment 1 is a calendar that is a file"},
		multipart("related", part("text/html", "<img src=cid:x>"), part("image/png\r\nContent-ID: <x>", "x")):                                                               {"attachment 1 is a picture that the HTML shows by its Content-ID, and is hidden (MS-OXCMSG §2.2.2.24)", "inline (MS-OXCMAIL §2.1.3.4.2)"},
	} {
		m := read(t, EML, mail)
		hasAll(t, m.Text(mapi.PidTagMessageClass), told(t, m, EML, EML, mail), wants...)
	}
	inside := &mapi.Message{}
	inside.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note.Inside"))
	winmail := "Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(written(t, TNEF, inside)))
	hasAll(t, "TNEF", told(t, read(t, EML, winmail), EML, EML, winmail), "is IPM.Note.Inside: TNEF in it was opened, and its properties count", "(MS-OXTNEF §1.3)")
	task := &mapi.Message{}
	task.Set(mapi.PidTagMessageClass, mapi.String("IPM.Task"))
	hasAll(t, "a task", told(t, task, MSG, EML, ""), "MIME has no form for the class")
}

// TestExplainHeader: what of a header has no property is told: encoded words of a charset that is not known, fields of who has sent
// it on, and the second of two fields of one name.
func TestExplainHeader(t *testing.T) {
	mail := "Resent-From: secret@b.example\r\nResent-To: <secret@c.example>\r\nResent-From: again@b.example\r\nReceived: from a\r\nReceived: from b\r\n" +
		"From: a@b.example\r\nTo: c@d.example\r\nTo: e@d.example\r\nX-Odd: secret 1\r\nX-ODD: secret 2\r\nX-Odd: secret 3\r\n" +
		"Subject: =?x-none?Q?secret?= =?X-None?Q?secret?= =?iso-8859-1?Q?=E9?=\r\nSubject: secret\r\n\r\ntext\r\n"
	all := told(t, read(t, EML, mail), EML, Dump, mail)
	hasAll(t, "the header", all,
		"Resent-From, Resent-To say which way it came, and stand in PidTagTransportMessageHeaders alone: nobody in them is its sender or recipient (MS-OXCMAIL §2.2.3.2.28)",
		"the header field X-Odd comes more than once: the first one counts, and the others stand in PidTagTransportMessageHeaders alone (MS-OXCMAIL §2.2.3.2)",
		"the header field Subject comes more than once: the first one counts", "the header field To comes more than once, and what is in each counts (MS-OXCMAIL §2.2.3.1)",
		`the charset "x-none" of encoded words in the header field Subject is not known, and what it is was guessed from the octets (RFC 2047 §6.2)`)
	for _, once := range []string{"Odd comes", "x-none", "Resent-From"} {
		if n := strings.Count(strings.ToLower(all), strings.ToLower(once)); n != 1 {
			t.Errorf("%q is told %d times:\n%s", once, n, all)
		}
	}
	if strings.Contains(all, "secret") || strings.Contains(all, "iso-8859-1") || strings.Contains(all, "Received") {
		t.Errorf("more is told than there is to:\n%s", all)
	}
	m := read(t, EML, mail) // and it is so
	if len(m.Recipients) != 2 || m.Text(mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-Odd"}) != "secret 1" || !strings.HasSuffix(m.Text(mapi.PidTagSubject), "é") {
		t.Errorf("%d recipients, %q, %q", len(m.Recipients), m.Text(mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-Odd"}), m.Text(mapi.PidTagSubject))
	}
}

// TestExplainAsItCame: what its skeleton gives back is told as that, and what does not fit it is not.
func TestExplainAsItCame(t *testing.T) {
	m, _, err := Reader{Keep: inFiles(t), Skeleton: true}.Read(EML, strings.NewReader(letter), int64(len(letter)))
	if err != nil {
		t.Fatal(err)
	}
	hasAll(t, "to TNEF", told(t, m, EML, TNEF, letter), "the skeleton by which it comes back as it came is kept, PidTagMimeSkeleton (MS-OXCMAIL §2.4.3.1)")
	hasAll(t, "to mail", told(t, m, TNEF, EML, ""), "it is Internet mail that is given back as it came, by its skeleton (PidTagMimeSkeleton) (MS-OXCMAIL §2.1.3.5)")
	m.Attachments = m.Attachments[:1]
	all := told(t, m, TNEF, EML, "")
	hasAll(t, "changed", all, "does not fit what it is now, and it is written anew (MS-OXCMAIL §2.1.3.5.1)", "HTML is the best body")
}

// TestExplainRTF: what was made from HTML or text is told apart from what was written as RTF, and what cannot be read.
func TestExplainRTF(t *testing.T) {
	uncompressed := func(rtf string) mapi.Binary {
		n := len(rtf)
		return append([]byte{byte(n + 12), 0, 0, 0, byte(n), 0, 0, 0, 'M', 'E', 'L', 'A', 0, 0, 0, 0}, rtf...)
	}
	for rtf, want := range map[string]string{
		`{\rtf1\ansi\fromhtml1 {\*\htmltag64 <p>}x}`: "MS-OXRTFEX §2.2.3.2", `{\rtf1\ansi\fromtext x}`: "MS-OXRTFEX §2.2.3.3",
		`{\rtf1\ansi x}`: "was written as RTF", "nothing": "the RTF cannot be read",
		`{\rtf1\ansi\ansicpg864 \'e9}`: "1 octets of the RTF are of code page 864, which is not known: each is U+FFFD, and the RTF is attached",
	} {
		m := &mapi.Message{}
		m.Set(mapi.PidTagRtfCompressed, uncompressed(rtf))
		if all := strings.Split(told(t, m, MSG, EML, ""), "\n"); !slices.ContainsFunc(all, func(line string) bool { return strings.Contains(line, want) }) {
			t.Errorf("%s: %q is not in %v", rtf, want, all)
		}
	}
}

// TestDomain: with a domain an address that stands for another one is read as that, and told.
func TestDomain(t *testing.T) {
	const mail = "To: IMCEAEX-_o=Sakes_cn=George@sakes.example\r\n\r\n"
	m, _, err := Reader{Keep: inFiles(t), Domain: "sakes.example"}.Read(EML, strings.NewReader(mail), int64(len(mail)))
	if err != nil || m.Recipients[0].Text(mapi.PidTagEmailAddress) != "/o=Sakes/cn=George" {
		t.Fatalf("%v", err)
	}
	hasAll(t, "to a dump", told(t, m, EML, Dump, mail), "recipient 1 has an address of the type EX, which an address of --domain encapsulates (MS-OXCMAIL §2.2.3.1.2)")
}
