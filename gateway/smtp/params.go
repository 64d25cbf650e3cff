package smtp

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errParameter = errors.New("syntax error in a parameter")
	errTwice     = errors.New("a parameter is given twice")
)

// parameter is an esmtp-param of RFC 5321 §4.1.2.
type parameter struct {
	keyword  string // upper case
	value    string
	hasValue bool
}

// parseParameters parses what follows a path. More spaces than one between parameters are
// taken, as some clients send them.
func parseParameters(s string) ([]parameter, error) {
	if s != "" && s[0] != ' ' {
		return nil, errParameter
	}
	var parameters []parameter
	for field := range strings.SplitSeq(s, " ") {
		if field == "" {
			continue
		}
		p := parameter{}
		p.keyword, p.value, p.hasValue = strings.Cut(field, "=")
		p.keyword = strings.ToUpper(p.keyword)
		if !validKeyword(p.keyword) || p.hasValue && !validValue(p.value) {
			return nil, errParameter
		}
		for _, q := range parameters {
			if q.keyword == p.keyword {
				return nil, errTwice
			}
		}
		parameters = append(parameters, p)
	}
	return parameters, nil
}

func validKeyword(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

// validValue is esmtp-value of RFC 5321 §4.1.2, with RFC 6531 §3.3's letters.
func validValue(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == '=' || r >= 0x7f && r < 0xa0
	})
}

// parseSize is RFC 1870 §6: up to 20 digits. What no int64 holds is the largest one.
func parseSize(s string) (int64, error) {
	if s == "" || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return 0, errParameter
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return n, nil
	}
	return n, err
}
