package codepage

import (
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// ascii is US-ASCII alone. An octet above 127 is none of its characters.
type ascii struct{}

func (ascii) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: asciiDecoder{}}
}

func (ascii) NewEncoder() *encoding.Encoder {
	return &encoding.Encoder{Transformer: asciiEncoder{}}
}

type asciiDecoder struct{ transform.NopResetter }

func (asciiDecoder) Transform(dst, src []byte, _ bool) (written, read int, err error) {
	for read < len(src) {
		r := rune(src[read])
		if r >= utf8.RuneSelf {
			r = utf8.RuneError
		}
		if written+utf8.RuneLen(r) > len(dst) {
			return written, read, transform.ErrShortDst
		}
		written += utf8.EncodeRune(dst[written:], r)
		read++
	}
	return written, read, nil
}

type asciiEncoder struct{ transform.NopResetter }

func (asciiEncoder) Transform(dst, src []byte, _ bool) (written, read int, err error) {
	for read < len(src) {
		if src[read] >= utf8.RuneSelf {
			return written, read, encodingError("a character that US-ASCII does not have")
		}
		if written == len(dst) {
			return written, read, transform.ErrShortDst
		}
		dst[written] = src[read]
		written, read = written+1, read+1
	}
	return written, read, nil
}

// encodingError says what cannot be encoded.
type encodingError string

func (e encodingError) Error() string { return string(e) }
