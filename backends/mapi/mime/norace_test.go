//go:build !race

package mime

// roundTripMost is how large a message of the corpus may be that goes there and back: as large as any.
const roundTripMost = 1 << 30
