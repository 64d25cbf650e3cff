package routing

// DetailsMost bounds the look-ups of a session.
const DetailsMost = detailsMost
