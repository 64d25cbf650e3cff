//go:build race

package mime

// roundTripMost is how large a message of the corpus may be that goes there and back: with the race detector 20 MB take half a minute.
const roundTripMost = 1_500_000
