package entity

import (
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// zones are those that stand in dates by their names: RFC 5322 §4.3, and Europe's, which are seen.
var zones = map[string]string{
	"UT": "+0000", "GMT": "+0000", "UTC": "+0000", "Z": "+0000", "WET": "+0000", "WEST": "+0100", "BST": "+0100",
	"CET": "+0100", "MET": "+0100", "CEST": "+0200", "MEST": "+0200", "EET": "+0200", "EEST": "+0300", "MSK": "+0300",
	"EST": "-0500", "EDT": "-0400", "CST": "-0600", "CDT": "-0500", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
	"JST": "+0900",
}

// ParseDate reads a date, RFC 5322 §3.3 and §4.3.
func ParseDate(value string) (time.Time, bool) {
	var words []string
	for rest := skipComments(value); rest != ""; {
		var word string
		word, rest = cutToken(rest, " \t")
		words = append(words, strings.Trim(word, ","))
		rest = skipComments(rest)
	}
	if len(words) > 0 && strings.Trim(words[0], "0123456789") != "" {
		words = words[1:] // the day of the week
	}
	if len(words) < 4 {
		return time.Time{}, false
	}
	zone := "-0000"
	if len(words) > 4 {
		if zone = words[4]; zones[strings.ToUpper(zone)] != "" {
			zone = zones[strings.ToUpper(zone)]
		} else if !numeric(zone) {
			zone = "-0000" // RFC 5322 §4.3: a zone that is not known
		}
	}
	at, err := mail.ParseDate(strings.Join([]string{words[0], words[1], year(words[2]), words[3], zone}, " "))
	return at, err == nil
}

func numeric(zone string) bool {
	digits := strings.TrimLeft(zone, "+-")
	_, err := strconv.Atoi(digits)
	return err == nil && len(digits) == 4 && len(zone) == 5
}

// year returns a year in four digits, RFC 5322 §4.3.
func year(text string) string {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 0 || len(text) > 3:
		return text
	case len(text) == 3:
		return strconv.Itoa(1900 + n)
	case n < 50:
		return strconv.Itoa(2000 + n)
	}
	return strconv.Itoa(1900 + n)
}
