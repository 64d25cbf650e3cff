package routing

// LookupsMost bounds the look-ups of a session.
const LookupsMost = lookupsMost
