package corpus

import (
	"encoding/base64"
	"fmt"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

type charset struct {
	name     string
	encoding encoding.Encoding
	sample   string
}

var charsets = []charset{
	{"utf-8", encoding.Nop, "Grüße aus Köln – Ελληνικά, Русский, עברית, 日本語, 한국어, 😀"},
	{"iso-8859-1", charmap.ISO8859_1, "Grüße aus Köln, garçon, niño, ÿ"},
	{"iso-8859-2", charmap.ISO8859_2, "Příliš žluťoučký kůň úpěl ďábelské ódy"},
	{"iso-8859-5", charmap.ISO8859_5, "Русский текст"},
	{"iso-8859-7", charmap.ISO8859_7, "Δίπυλον, η διπλή πύλη της Αθήνας"},
	{"iso-8859-8", charmap.ISO8859_8, "שלום עולם"},
	{"iso-8859-9", charmap.ISO8859_9, "Işık ılık süt içti"},
	{"iso-8859-15", charmap.ISO8859_15, "100 € für Œuvres, Žižek"},
	{"windows-1250", charmap.Windows1250, "Zażółć gęślą jaźń"},
	{"windows-1251", charmap.Windows1251, "Съешь ещё этих мягких французских булок"},
	{"windows-1252", charmap.Windows1252, "“Quotes” – dashes — € ™ …"},
	{"windows-1253", charmap.Windows1253, "Καλημέρα κόσμε €"},
	{"windows-1255", charmap.Windows1255, "שָׁלוֹם"},
	{"windows-1256", charmap.Windows1256, "مرحبا بالعالم"},
	{"koi8-r", charmap.KOI8R, "Русский в КОИ-8"},
	{"koi8-u", charmap.KOI8U, "Українська мова ґ є і ї"},
	{"macintosh", charmap.Macintosh, "Größe ƒ ∂ Ω"},
	{"ibm437", charmap.CodePage437, "äöü ░▒▓ ╔═╗"},
	{"ibm850", charmap.CodePage850, "äöü × ð"},
	{"windows-874", charmap.Windows874, "สวัสดีชาวโลก"},
	{"iso-2022-jp", japanese.ISO2022JP, "日本語のテキストです"},
	{"shift_jis", japanese.ShiftJIS, "表示とソート、ｶﾅ"},
	{"euc-jp", japanese.EUCJP, "日本語のテキスト"},
	{"euc-kr", korean.EUCKR, "안녕하세요 세계"},
	{"gb18030", simplifiedchinese.GB18030, "简体中文 𠀀 €"},
	{"gbk", simplifiedchinese.GBK, "简体中文"},
	{"hz-gb-2312", simplifiedchinese.HZGB2312, "简体中文"},
	{"big5", traditionalchinese.Big5, "繁體中文功能"},
}

// charsetMessages have text in each charset: as 8-bit body, encoded, and in an encoded word.
func charsetMessages() []Message {
	var all []Message
	for _, c := range charsets {
		all = append(all, made(c.name, func() []byte { return charsetMessage(c) }))
	}
	all = append(all,
		made("utf-16", func() []byte {
			return encodedText("utf-16", unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "Größe 😀\r\n")
		}),
		made("utf-16le", func() []byte {
			return encodedText("utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "Größe 😀\r\n")
		}),
		headed("utf-7", textType("utf-7", "7bit"), "Hi Mom -+Jjo--!\r\n"),
		headed("us-ascii-lie", textType("us-ascii", "8bit"), "Gr\xfc\xdfe\r\n"),
		headed("7bit-lie", textType("iso-8859-1", "7bit"), "Gr\xfc\xdfe\r\n"),
		headed("unknown", textType("x-user-defined", "8bit"), "Gr\xfc\xdfe\r\n"),
		headed("missing", "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n", "Gr\xfc\xdfe\r\n"),
		headed("no-mime", "", "Gr\xfc\xdfe without any declaration\r\n"),
		headed("raw-latin1-header", "X-Name: Gr\xfc\xdfe aus K\xf6ln\r\nComments: \xa4\r\n", "body\r\n"),
		headed("raw-koi8-header", "Comments: \xf2\xd5\xd3\xd3\xcb\xc9\xca\r\n", "body\r\n"),
		headed("raw-sjis-header", "Comments: \x95\x5c\x8e\xa6\r\n", "body\r\n"),
	)
	return inspected(all...)
}

func textType(charset, transfer string) string {
	return "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=" + charset + "\r\nContent-Transfer-Encoding: " + transfer + "\r\n"
}

func charsetMessage(c charset) []byte {
	encoded := encodeIn(c.encoding, c.sample)
	fields := fmt.Sprintf("Comments: =?%s?B?%s?=\r\n", c.name, base64.StdEncoding.EncodeToString(encoded)) + textType(c.name, "8bit")
	return []byte(head(c.name) + fields + "\r\n" + string(encoded) + "\r\n" + string(encoded) + "\r\n")
}

func encodedText(name string, e encoding.Encoding, sample string) []byte {
	return []byte(head(name) + textType(name, "base64") + "\r\n" + wrapped(encodeIn(e, sample)))
}

// encodeIn never fails: the samples fit their charsets, which a test sees to.
func encodeIn(e encoding.Encoding, sample string) []byte {
	encoded, err := encoding.ReplaceUnsupported(e.NewEncoder()).Bytes([]byte(sample))
	if err != nil {
		return []byte("cannot be encoded: " + err.Error())
	}
	return encoded
}

// utf8Messages have UTF-8 in header fields (RFC 6532), and so need SMTPUTF8.
func utf8Messages() []Message {
	all := inspected(asUTF8(
		headed("subject", "Comments: Grüße aus Köln 😀\r\n", "body\r\n"),
		headed("body-too", "Comments: Grüße\r\n"+textType("utf-8", "8bit"), "Grüße, κόσμε\r\n"),
		raw("addresses", "From: Ερικα <έρικα@παράδειγμα.example>\r\nTo: <用户@例子.example>\r\nSubject: utf8\r\nDate: Mon, 09 Nov 2026 08:01:02 +0100\r\nMessage-ID: <addresses@corpus.example>\r\n\r\nbody\r\n"),
		headed("message-id", "References: <größe@corpus.example>\r\n", "body\r\n"),
		headed("combining", "Comments: e\u0301 o\u0308 \u1100\u1161\r\n", "body\r\n"),
		headed("right-to-left", "Comments: \u202eמרחבא שלום\u202c\r\n", "body\r\n"),
		headed("folded", "Comments: über\r\n größe\r\n\tänderung\r\n", "body\r\n"),
		headed("long", "Comments: "+fold("日本語", 300)+"\r\n", "body\r\n"),
		headed("bom", "Comments: \ufeffbom\r\n", "body\r\n"),
		multipart("filename", "mixed", "", "utf8-filename", plainPart("top\r\n"),
			part("Content-Type: text/plain; name=\"größe.txt\"\r\nContent-Disposition: attachment; filename=\"größe.txt\"\r\n", "x\r\n")),
	)...)
	// In "filename" the UTF-8 stands in a part's header, which asks for SMTPUTF8 as well.
	all[len(all)-1].UTF8 = true
	return all
}

func asUTF8(messages ...Message) []Message {
	for i := range messages {
		messages[i].UTF8 = true
	}
	return messages
}

// fold is a word repeated, with a folded line after every tenth.
func fold(word string, times int) string {
	var folded []byte
	for n := range times {
		if n > 0 && n%10 == 0 {
			folded = append(folded, "\r\n "...)
		}
		folded = append(folded, word...)
	}
	return string(folded)
}
