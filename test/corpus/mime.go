package corpus

import (
	"fmt"
	"strings"
)

// onePixel is a picture (PNG, 1 x 1) as base64.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg==\r\n"

// mimeMessages are well-formed MIME (RFC 2045, 2046, 2387 and others).
func mimeMessages() []Message {
	html := part(htmlType, "<p>Hello <b>Max</b></p>\r\n")
	picture := part("Content-Type: image/png; name=dot.png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <dot@corpus.example>\r\nContent-Disposition: inline\r\n", onePixel)
	alternative := part("Content-Type: multipart/alternative; boundary=alt\r\n", joined("alt", plainPart("Hello Max\r\n"), html))
	inner := head("inner") + "\r\nThe inner message.\r\n.\r\n"
	rfc822 := part("Content-Type: message/rfc822\r\n", inner)

	return inspected(
		multipart("mixed", "mixed", "", "mixed-1", plainPart("one\r\n"), plainPart("two\r\n")),
		multipart("attachment", "mixed", "", "mixed-2", plainPart("See the file.\r\n"), attachment("data.bin", octets("mime/attachment", 3000))),
		multipart("many-attachments", "mixed", "", "mixed-3", manyAttachments(40)...),
		multipart("alternative", "alternative", "", "alt-1", plainPart("Hello Max\r\n"), html),
		multipart("related", "related", "; type=\"text/html\"", "rel-1", part(htmlType, "<img src=\"cid:dot@corpus.example\">\r\n"), picture),
		multipart("alternative-related-mixed", "mixed", "", "outer", part("Content-Type: multipart/related; boundary=rel\r\n", joined("rel", alternative, picture)), attachment("a.bin", octets("mime/arm", 500))),
		multipart("digest", "digest", "", "dig-1", part("", head("one")+"\r\none\r\n"), part("", head("two")+"\r\ntwo\r\n")),
		multipart("parallel", "parallel", "", "par-1", plainPart("one\r\n"), picture),
		multipart("rfc822", "mixed", "", "fwd-1", plainPart("Forwarded:\r\n"), rfc822),
		headed("rfc822-alone", "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n", inner),
		headed("rfc822-deep", "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n", forwarded(20)),
		made("nested-100", func() []byte { return []byte(head("nested-100") + nested(100)) }),
		multipart("preamble", "mixed", "", "no-such-boundary-in-the-preamble", plainPart("text\r\n")),
		headed("preamble-and-epilogue", mixedType("pre"), "This is the preamble.\r\n--prefix\r\n"+joined("pre", plainPart("text\r\n"))+"This is the epilogue.\r\n--pre\r\nnot a part any more\r\n"),
		multipart("boundary-70", "mixed", "", strings.Repeat("b", 70), plainPart("text\r\n")),
		multipart("boundary-special", "mixed", "", "'()+_,-./:=? end", plainPart("text\r\n")),
		headed("boundary-unquoted", "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=simple\r\n", joined("simple", plainPart("text\r\n"))),
		multipart("boundary-look-alikes", "mixed", "", "edge", plainPart("-- edge\r\n--edg\r\n --edge\r\n--edge-\r\n-edge--\r\n"), plainPart("two\r\n")),
		headed("boundary-trailing-space", mixedType("sp"), "--sp  \r\n"+plainPart("text\r\n")+"--sp--\t \r\n"),
		multipart("boundary-prefix", "mixed", "", "a", part("Content-Type: multipart/mixed; boundary=aa\r\n", joined("aa", plainPart("inner\r\n"))), plainPart("outer\r\n")),
		multipart("empty-parts", "mixed", "", "empty", plainPart(""), part("", ""), plainPart("\r\n")),
		multipart("no-part-headers", "mixed", "", "bare", part("", "text without a header\r\n"), part("", "\r\n")),
		multipart("calendar", "alternative", "", "cal-1", plainPart("Meeting\r\n"), part("Content-Type: text/calendar; charset=utf-8; method=REQUEST\r\n", calendar)),
		multipart("vcard", "mixed", "", "vc-1", plainPart("Card\r\n"), part("Content-Type: text/vcard\r\n", "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Erika Mustermann\r\nEMAIL:erika@corpus.example\r\nEND:VCARD\r\n")),
		multipart("signed-pgp", "signed", "; micalg=pgp-sha256; protocol=\"application/pgp-signature\"", "sig-1", plainPart("Signed text, with a space at the end \r\n"), part("Content-Type: application/pgp-signature\r\n", "-----BEGIN PGP SIGNATURE-----\r\n\r\n"+wrapped(octets("mime/pgp", 200))+"-----END PGP SIGNATURE-----\r\n")),
		multipart("signed-smime", "signed", "; micalg=sha-256; protocol=\"application/pkcs7-signature\"", "sig-2", plainPart("Signed text\r\n"), part("Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n", wrapped(octets("mime/p7s", 1500)))),
		multipart("encrypted", "encrypted", "; protocol=\"application/pgp-encrypted\"", "enc-1", part("Content-Type: application/pgp-encrypted\r\n", "Version: 1\r\n"), part("Content-Type: application/octet-stream\r\n", "-----BEGIN PGP MESSAGE-----\r\n\r\n"+wrapped(octets("mime/enc", 900))+"-----END PGP MESSAGE-----\r\n")),
		headed("smime-opaque", "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n", wrapped(octets("mime/p7m", 4000))),
		headed("partial", "MIME-Version: 1.0\r\nContent-Type: message/partial; id=\"p@corpus.example\"; number=1; total=2\r\n", head("whole")+"\r\nThe first half\r\n"),
		headed("external-body", "MIME-Version: 1.0\r\nContent-Type: message/external-body; access-type=URL;\r\n\tURL=\"https://corpus.example/file\"\r\n", "Content-Type: image/png\r\nContent-ID: <e@corpus.example>\r\n\r\n"),
		multipart("appledouble", "appledouble", "", "apl-1", part("Content-Type: application/applefile\r\nContent-Transfer-Encoding: base64\r\n", wrapped(octets("mime/apple", 300))), picture),
		multipart("winmail", "mixed", "", "tnef-1", plainPart("Rich text\r\n"), part("Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n", wrapped(append([]byte{0x78, 0x9f, 0x3e, 0x22, 1, 0}, octets("mime/tnef", 700)...)))),
		multipart("form-data", "form-data", "", "form-1", part("Content-Disposition: form-data; name=field\r\n", "value\r\n")),
		headed("html", "MIME-Version: 1.0\r\n"+htmlType, "<!DOCTYPE html>\r\n<html><body>\r\n<p>Hello</p>\r\n</body></html>\r\n"),
		headed("enriched", "MIME-Version: 1.0\r\nContent-Type: text/enriched\r\n", "<bold>Hello</bold>\r\n\r\n<<world\r\n"),
		headed("audio", "MIME-Version: 1.0\r\nContent-Type: audio/basic\r\nContent-Transfer-Encoding: base64\r\n", wrapped(octets("mime/audio", 2000))),
		headed("comments-in-type", "MIME-Version: 1.0 (by hand)\r\nContent-Type: text/plain (a comment); charset=\"us-ascii\" (another)\r\n", "text\r\n"),
		headed("upper-case", "MIME-VERSION: 1.0\r\nCONTENT-TYPE: TEXT/PLAIN; CHARSET=US-ASCII\r\nCONTENT-TRANSFER-ENCODING: 7BIT\r\n", "text\r\n"),
		headed("md5-and-language", "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\nContent-Language: de, el\r\nContent-Location: https://corpus.example/\r\n", "text\r\n"),
	)
}

const calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//corpus//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@corpus.example\r\n" +
	"DTSTAMP:20261109T080000Z\r\nDTSTART:20261110T090000Z\r\nSUMMARY:A summary that is long enough to be folded as RFC 5545 w\r\n ants it\r\n" +
	"ATTENDEE:mailto:max@corpus.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

func mixedType(boundary string) string {
	return "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"" + boundary + "\"\r\n"
}

func manyAttachments(n int) []string {
	parts := []string{plainPart("Many files.\r\n")}
	for i := range n {
		parts = append(parts, attachment(fmt.Sprintf("file-%d.bin", i), octets(fmt.Sprint("mime/many/", i), 100*i)))
	}
	return parts
}

// forwarded is a message in a message in a message, to that depth.
func forwarded(depth int) string {
	if depth == 0 {
		return head("innermost") + "\r\nThe innermost message.\r\n"
	}
	return head(fmt.Sprint("level-", depth)) + "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n" + forwarded(depth-1)
}

// nested is a multipart in a multipart, to that depth: the fields, the empty line, the body.
func nested(depth int) string {
	if depth == 0 {
		return plainType + "\r\nThe innermost part.\r\n"
	}
	boundary := fmt.Sprint("level-", depth)
	return mixedType(boundary) + "\r\n" + joined(boundary, nested(depth-1))
}

// brokenMessages are MIME that is wrong in ways that are seen in the wild.
func brokenMessages() []Message {
	return inspected(
		headed("no-final-boundary", mixedType("open"), "--open\r\n"+plainPart("The end is missing.\r\n")),
		headed("no-boundary-at-all", mixedType("absent"), "There is no delimiter in this body.\r\n"),
		headed("only-final-boundary", mixedType("final"), "--final--\r\n"),
		headed("no-boundary-parameter", "MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n", "--what\r\n\r\ntext\r\n--what--\r\n"),
		headed("empty-boundary", "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"\"\r\n", "--\r\n\r\ntext\r\n----\r\n"),
		headed("boundary-too-long", mixedType(strings.Repeat("l", 200)), joined(strings.Repeat("l", 200), plainPart("text\r\n"))),
		headed("same-boundary-inside", mixedType("same"), joined("same", part("Content-Type: multipart/mixed; boundary=same\r\n", joined("same", plainPart("text\r\n"))))),
		headed("cut-in-part-header", mixedType("cut"), "--cut\r\nContent-Type: text/pl\r\n"),
		headed("boundary-without-blank-line", mixedType("nb"), "--nb\r\nContent-Type: text/plain\r\n--nb--\r\n"),
		headed("type-without-subtype", "MIME-Version: 1.0\r\nContent-Type: text\r\n", "text\r\n"),
		headed("type-empty", "MIME-Version: 1.0\r\nContent-Type:\r\n", "text\r\n"),
		headed("type-garbage", "MIME-Version: 1.0\r\nContent-Type: ;;=\"/\r\n", "text\r\n"),
		headed("type-twice", "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n", "<p>text\r\n"),
		headed("type-unclosed-quote", "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=\"us-ascii\r\n", "text\r\n"),
		headed("type-unclosed-comment", "MIME-Version: 1.0\r\nContent-Type: text/plain (open\r\n", "text\r\n"),
		headed("type-many-parameters", "MIME-Version: 1.0\r\nContent-Type: text/plain"+numbered(";\r\n p%d=v", 500)+"\r\n", "text\r\n"),
		headed("version-missing", "Content-Type: multipart/mixed; boundary=nv\r\n", joined("nv", plainPart("text\r\n"))),
		headed("version-odd", "MIME-Version: 9.7\r\nContent-Type: text/plain\r\n", "text\r\n"),
		headed("rfc822-base64", "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n", wrapped([]byte(head("hidden")+"\r\nhidden\r\n"))),
		headed("multipart-base64", strings.TrimSuffix(mixedType("b64"), "\r\n")+"\r\nContent-Transfer-Encoding: base64\r\n", wrapped([]byte(joined("b64", plainPart("text\r\n"))))),
		headed("rfc822-empty", "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n", ""),
		headed("thousand-parts", mixedType("k"), joined("k", thousandParts()...)),
	)
}

func thousandParts() []string {
	parts := make([]string, 1000)
	for i := range parts {
		parts[i] = part("", "x\r\n")
	}
	return parts
}
