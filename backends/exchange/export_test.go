package exchange

import (
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
)

// Patient gives the server time to end session contexts, however busy the machine is.
func Patient(s *Store) { s.disconnectMost = time.Minute }

// IdentityByEWS is the id of a message that EWS lists.
func IdentityByEWS(i ews.Item) (backends.MessageID, error) { return messageIdentity(i) }

// KeepLanes is for how long a maildrop keeps the session contexts that it has made to read many messages.
func KeepLanes(s *Store, idle time.Duration) { s.lanesIdle = idle }

// KnowIDs is how many Ids of EWS a maildrop remembers, twice, and how far a message may move to the front in the list.
func KnowIDs(s *Store, most, shift int) { s.webBounds = webBounds{most, shift} }

// Hasty takes files of a Drop folder that have not changed for so long. It is called before the settings are given.
func Hasty(s *Store, quiet time.Duration) { s.quiet = quiet }

// CountedTogether is how many octets of messages that were counted a store keeps.
const CountedTogether = countedTogether

// CountedOctets is how many it does keep.
func CountedOctets(s *Store) int64 { return s.counted.Load() }

// FillCounted leaves no room for them.
func FillCounted(s *Store) { s.counted.Store(countedTogether) }
