package corpus

import (
	"fmt"
	"strings"
)

// encodingMessages have transfer encodings (RFC 2045 §6), and older ones, right and wrong.
func encodingMessages() []Message {
	octet := func(transfer string) string {
		return "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: " + transfer + "\r\n"
	}
	return inspected(
		headed("base64", octet("base64"), wrapped(octets("encoding/base64", 1000))),
		headed("base64-one-line", octet("base64"), strings.ReplaceAll(wrapped(octets("encoding/one-line", 600)), "\r\n", "")+"\r\n"),
		headed("base64-no-padding", octet("base64"), "QUI\r\n"),
		headed("base64-more-padding", octet("base64"), "QUI====\r\n"),
		headed("base64-padding-inside", octet("base64"), "QQ==QUI=QUJD\r\n"),
		headed("base64-odd-length", octet("base64"), "QUJDR\r\n"),
		headed("base64-junk", octet("base64"), "QU*JD\r\n!!\r\n  RE VG \r\n\r\n-_\r\n"),
		headed("base64-short-lines", octet("base64"), strings.Repeat("QU\r\nJD\r\n", 100)),
		headed("base64-text-after", octet("base64"), "QUJD\r\n\r\n-- \r\nA list added this footer.\r\n"),
		headed("base64-empty", octet("base64"), ""),
		headed("base64-with-dots", octet("base64"), ".QUJD\r\n..\r\n.\r\n"),
		headed("quoted-printable", textType("utf-8", "quoted-printable"), quoted([]byte("Grüße, und ein = dazu. "+strings.Repeat("äöü ", 60)))),
		headed("quoted-printable-lower-case", textType("utf-8", "quoted-printable"), "=c3=a4 =c3=B6\r\n"),
		headed("quoted-printable-trailing-space", textType("utf-8", "quoted-printable"), "space \r\ntab\t\r\nkept=20\r\nkept=09\r\nsoft =\r\nbreak\r\n"),
		headed("quoted-printable-bad", textType("utf-8", "quoted-printable"), "= \r\n=G0\r\n=4\r\n=\r\n==\r\nend="+"\r\n"),
		headed("quoted-printable-dots", textType("utf-8", "quoted-printable"), ".\r\n=2E\r\n.=\r\n.\r\n"),
		headed("quoted-printable-raw-8bit", textType("utf-8", "quoted-printable"), "=C3=A4 and raw \xc3\xa4\r\n"),
		headed("quoted-printable-crlf", textType("utf-8", "quoted-printable"), "one=0D=0Atwo=0A=0Dthree=0D=\r\n=0A.=0D=0A\r\n"),
		headed("7bit", octet("7bit"), "text\r\n"),
		headed("unknown", octet("x-unknown"), "text\r\n"),
		headed("twice", octet("base64")+"Content-Transfer-Encoding: 7bit\r\n", "QUJD\r\n"),
		headed("with-comment", octet("base64 (encoded)"), "QUJD\r\n"),
		text("uuencode", "A file follows.\r\n\r\n"+uuencoded("encoding/uu", 2000)+"\r\nAnd text.\r\n"),
		text("uuencode-backquote", strings.ReplaceAll(uuencoded("encoding/uu", 300), " ", "`")),
		text("uuencode-cut", strings.Join(strings.SplitAfter(uuencoded("encoding/uu", 900), "\r\n")[:5], "")),
		text("binhex", "(This file must be converted with BinHex 4.0)\r\n\r\n:"+strings.Repeat("!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr", 3)[:180]+":\r\n"),
		headed("yenc", textType("unknown-8bit", "8bit"), "=ybegin line=128 size=584 name=file.bin\r\n"+randomLines("encoding/yenc", 8)+"=yend size=584\r\n"),
		text("pgp-inline", "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n- -- a dash-escaped line\r\n- From here\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\n"+wrapped(octets("encoding/pgp", 200))+"-----END PGP SIGNATURE-----\r\n"),
	)
}

// uuencoded is a file as uuencode(1) writes it: lines of 45 octets.
func uuencoded(name string, n int) string {
	content := octets(name, n)
	var b strings.Builder
	b.WriteString("begin 644 file.bin\r\n")
	for len(content) > 0 {
		line := content[:min(45, len(content))]
		content = content[len(line):]
		b.WriteByte(' ' + byte(len(line)))
		for i := 0; i < len(line); i += 3 {
			var three [3]byte
			copy(three[:], line[i:])
			for _, six := range []byte{three[0] >> 2, three[0]<<4 | three[1]>>4, three[1]<<2 | three[2]>>6, three[2]} {
				b.WriteByte(' ' + six&63)
			}
		}
		b.WriteString("\r\n")
	}
	b.WriteString("`\r\nend\r\n")
	return b.String()
}

// reportMessages are what mail systems write to people and to each other.
func reportMessages() []Message {
	status := part("Content-Type: message/delivery-status\r\n",
		"Reporting-MTA: dns; mail.corpus.example\r\nArrival-Date: Mon, 09 Nov 2026 08:01:02 +0100\r\n\r\n"+
			"Final-Recipient: rfc822; max@corpus.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n")
	notification := part("Content-Type: message/disposition-notification\r\n",
		"Reporting-UA: corpus\r\nFinal-Recipient: rfc822; max@corpus.example\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n")
	returned := part("Content-Type: text/rfc822-headers\r\n", head("returned"))
	report := func(name, kind string, parts ...string) Message {
		return multipart(name, "report", "; report-type="+kind, "report-"+name, parts...)
	}
	return inspected(
		report("dsn", "delivery-status", plainPart("It was not delivered.\r\n"), status, part("Content-Type: message/rfc822\r\n", head("returned")+"\r\ntext\r\n")),
		report("dsn-headers", "delivery-status", plainPart("It was not delivered.\r\n"), status, returned),
		report("mdn", "disposition-notification", plainPart("It was displayed.\r\n"), notification, returned),
		report("feedback", "feedback-report", plainPart("Somebody complained.\r\n"), part("Content-Type: message/feedback-report\r\n", "Feedback-Type: abuse\r\nVersion: 1\r\nUser-Agent: corpus\r\n"), returned),
		report("dsn-cut", "delivery-status", plainPart("It was not delivered.\r\n"), part("Content-Type: message/delivery-status\r\n", "Reporting-MTA")),
		headed("auto-reply", "Auto-Submitted: auto-replied\r\nIn-Reply-To: <q@corpus.example>\r\n", "I am away.\r\n"),
		headed("read-receipt-wanted", "Disposition-Notification-To: erika@corpus.example\r\nReturn-Receipt-To: erika@corpus.example\r\n", "body\r\n"),
		raw("null-sender", "From: MAILER-DAEMON@corpus.example\r\nTo: max@corpus.example\r\nSubject: null-sender\r\nDate: Mon, 09 Nov 2026 08:01:02 +0100\r\nMessage-ID: <null@corpus.example>\r\nAuto-Submitted: auto-generated\r\n\r\nbody\r\n"),
	)
}

// largeMessages are those that take room. Their flags are written down, not looked for.
func largeMessages() []Message {
	const megabyte = 1 << 20
	var all []Message
	for _, n := range []int{65535, 65536, 65537, 262143, 262144, 262145} {
		name := fmt.Sprintf("exactly-%d", n)
		all = append(all, made(name, func() []byte {
			start := head(name) + "\r\n"
			return []byte(start + filled(n-len(start)))
		}))
	}
	return append(
		all,
		made("attachment-1m", func() []byte {
			return multipart("attachment-1m", "mixed", "", "large-1", plainPart("A large file.\r\n"), attachment("large.bin", octets("large/1m", megabyte))).content()
		}),
		Message{Name: "lines-8bit-2m", EightBit: true, content: func() []byte {
			return []byte(head("lines-8bit-2m") + textType("iso-8859-1", "8bit") + "\r\n" + strings.Repeat(strings.Repeat("\xe4", 70)+"\r\n", 2*megabyte/72))
		}},
		made("dots-1m", func() []byte {
			return []byte(head("dots-1m") + "\r\n" + strings.Repeat(".\r\n..\r\n", megabyte/7))
		}),
		Message{Name: "one-line-1m", Long: true, content: func() []byte {
			return []byte(head("one-line-1m") + "\r\n" + strings.Repeat("x", megabyte) + "\r\n")
		}},
		made("message-20m", func() []byte {
			start := head("message-20m") + "\r\n"
			return []byte(start + filled(20*megabyte-len(start)))
		}),
	)
}
