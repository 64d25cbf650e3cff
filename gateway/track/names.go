package track

import "bytes"

// nameFields are the fields that an event is looked for by, as Event.names has them.
var nameFields = map[string]bool{"transaction": true, "key": true, "message_id": true, "from": true, "recipient": true}

// namesOf are the names that an event is looked for by. All that has to be known of an event to keep it are these, and
// reading the rest of it costs several times as much. A line that is not as simple as the log's lines are (RFC 8259: an
// object of texts without escapes in these fields, of numbers and of words) is read as any other JSON.
func namesOf(line []byte) ([]string, error) {
	if names, simple := simpleNames(line); simple {
		return names, nil
	}
	e, err := parse(line)
	if err != nil {
		return nil, err
	}
	return e.names(), nil
}

// simpleNames is namesOf for a simple line; simple says whether it is one.
func simpleNames(line []byte) (names []string, simple bool) {
	rest, is := bytes.CutPrefix(line, []byte("{"))
	for is {
		var field, value []byte
		if field, _, rest, is = text(rest); !is || !isPlain(field) {
			break
		}
		if rest, is = bytes.CutPrefix(rest, []byte(":")); !is {
			break
		}
		escaped := false
		if value, escaped, rest, is = text(rest); is {
			if nameFields[string(field)] {
				if escaped {
					return nil, false
				}
				names = append(names, string(value))
			}
		} else if rest, is = word(rest); !is {
			break
		}
		if string(rest) == "}" {
			return names, true
		}
		rest, is = bytes.CutPrefix(rest, []byte(","))
	}
	return nil, false
}

// isPlain says whether a field is one of small letters, as all of the log's are: others may be read as one of them.
func isPlain(field []byte) bool {
	for _, c := range field {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// text cuts a text off a line. Its escapes stay as they are; if it is none, nothing is cut off.
func text(line []byte) (content []byte, escaped bool, rest []byte, is bool) {
	if len(line) == 0 || line[0] != '"' {
		return nil, false, line, false
	}
	for at := 1; at < len(line); at++ {
		switch line[at] {
		case '"':
			return line[1:at], escaped, line[at+1:], true
		case '\\':
			escaped = true
			at++
		}
	}
	return nil, escaped, line, false
}

// word cuts a number, true, false or null off a line.
func word(line []byte) (rest []byte, is bool) {
	end := bytes.IndexAny(line, ",}")
	if end <= 0 || bytes.IndexByte([]byte("-0123456789tfn"), line[0]) < 0 {
		return line, false
	}
	return line[end:], true
}
