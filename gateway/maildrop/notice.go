package maildrop

import (
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/gateway/folder"
)

// notice is the message that is served in place of one that is held (RFC 5322 §3.6, from the postmaster
// of RFC 5321 §4.5.1). It is the same in every session, because its size and unique-id are told again
// (I6, I7).
func (d *drop) notice(i int, e folder.QuarantineEntry) string {
	date := ""
	if d.o.Quarantine != nil {
		date = "Date: " + e.First.Format(time.RFC1123Z) + "\n"
	}
	deleting := "Deleting this notice hides the message from mail programs. The store keeps it."
	if d.policy.NoticeRemoves {
		deleting = "Deleting this notice deletes the message."
	}
	return strings.ReplaceAll(fmt.Sprintf(`From: Mail gateway <postmaster@%s>
%sSubject: A message that could not be shown
Message-ID: <%s.notice@%s>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

There is a message here that the mail gateway could not bring to this mail
program. The reason that it was given:

    %s

The message itself is still in the mail store, as it was. To read it, open
the mailbox in another way, or ask the administrator, quoting this number:

    %s

Its unique-id is %s

%s
`, d.o.Hostname, date, e.Number, d.o.Hostname, asciiOnly(e.Reason), e.Number, d.list.uidl(i), deleting), "\n", "\r\n")
}

func asciiOnly(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}
