package codepage

import (
	"bytes"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"
)

// gb18030 is GB 18030 without characters of private use on the way out.
//
// QUIRK: x/text writes U+E000 to U+E864 as octets that it reads as other characters.
type gb18030 struct{ encoding.Encoding }

var withoutPrivate = gb18030{simplifiedchinese.GB18030}

func (g gb18030) NewEncoder() *encoding.Encoder {
	return &encoding.Encoder{Transformer: transform.Chain(privateUse{}, g.Encoding.NewEncoder())}
}

// hz is HZ (RFC 1843), which is read and not written.
//
// QUIRK: x/text writes a tilde between Chinese characters as two of them without leaving their mode, and does not leave it at
// the end of a text.
type hz struct{ encoding.Encoding }

var onlyRead = hz{simplifiedchinese.HZGB2312}

func (hz) NewEncoder() *encoding.Encoder { return &encoding.Encoder{Transformer: refusal{}} }

type refusal struct{ transform.NopResetter }

func (refusal) Transform(_, src []byte, _ bool) (written, read int, err error) {
	if len(src) > 0 {
		err = encodingError("HZ is not written")
	}
	return 0, 0, err
}

// privateUse passes UTF-8 on and fails at U+E000 to U+EFFF, which are those that have this octet.
type privateUse struct{ transform.NopResetter }

const privateOctet = 0xEE

func (privateUse) Transform(dst, src []byte, _ bool) (written, read int, err error) {
	n := min(len(dst), len(src))
	if n < len(src) {
		err = transform.ErrShortDst
	}
	if private := bytes.IndexByte(src[:n], privateOctet); private >= 0 {
		n, err = private, encodingError("a character of private use")
	}
	return copy(dst, src[:n]), n, err
}
