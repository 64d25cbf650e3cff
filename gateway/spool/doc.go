// Package spool is mail in transit: what was acknowledged to a client, or collected from a store, and is
// not delivered yet. It is on [state.DB], in a SQLite file or in a PostgreSQL database that several
// gateways share.
//
//	s, err := spool.Open(ctx, spool.Options{Log: log, DB: db, Folder: "/var/lib/dipylon/state/spool"})
//	defer s.Close()
//
// Taking in:
//
//	if err := s.Room(ctx, size); err != nil { … 452 … }
//	body, err := buffer.Fill(buffer.Options{Storage: s.Storage()}, data)
//	defer body.Discard()
//	err = s.Accept(ctx, spool.Message{Key: key, Envelope: envelope, Recipients: recipients}, body)
//	// nil: all of it is on the disk, and 250 may be said (I1); anything else: 4xx
//
// Taking out:
//
//	destination, err := s.Ready(ctx)             // waits until one has mail that is due
//	deliveries, err := s.Claim(ctx, destination, 100)
//	content, err := deliveries[0].Open(ctx)
//	if !deliveries[0].Held() { … }               // asked before the final dot
//	err = s.Settle(ctx, spool.Result{Delivery: deliveries[0], Outcomes: outcomes, New: reports})
//	s.Done(destination, again)
//
// # States
//
// Each recipient has a state: waiting until it is due; in flight from Claim to Settle; delivered or
// failed; uncertain where an attempt may have delivered it (I2); held until somebody releases it. A message
// leaves the spool when all of its recipients are delivered or have failed. Claim is committed before
// anything is sent, so what was in flight when a gateway ended is known, and comes back as uncertain.
//
// A row that cannot be read, or a message whose content is not there as a whole, is held and reported. It
// is never dropped, and costs nobody else.
//
// # Contents
//
// A content of up to 128 KiB is in its message's row. With SQLite a larger one is in a file whose name is
// the message's number: the file and the folder are synced before the row is written, and the file is
// removed after the row. A buffer whose [buffer.Storage] is the spool's becomes that file without a copy.
// A message that is written as it comes ([Spool.Incoming]) becomes such a file, too, with the header that it gets in
// front: it is written once, and synced once.
// With PostgreSQL a larger one is in parts of 256 KiB, each written in a transaction of its own before the message, and contents
// of both kinds come into a partition first (see PostgreSQL's tables). Where there is none they are in the message's row and in
// spool_chunks, as those are that wait long.
//
// Files, and parts in spool_chunks, whose message never came are swept after the start, and once a day. Parts have the name of the
// process that writes them, and are swept when it gives no sign of life: no clock decides that. A message whose parts were swept on
// its way in, as its gateway was frozen, is refused when it is to be taken in. [MoveContents] makes parts of files, and so does
// [CopyContents] for a copy of a SQLite database: where that is restored, its messages have parts.
//
// # Destinations
//
// Mail is handed out by destination: that is what back-off and limits are counted by. A destination has a
// row while it has mail that may be tried. Its due says when to look, and is never later than its earliest
// mail unless it is backed off. So the spool knows where to go on after any end, by one index, without
// looking at messages: a million of them cost nothing at the start, and those of a dead destination do not
// delay another one's. In memory is a bounded number of destinations, those that are due first.
//
// What was just taken in is handed out from memory, a bounded number of messages and octets. Whatever is
// beyond is read from the database by priority and time.
//
// Nothing is polled, with SQLite: the spool wakes when something is taken in, or the earliest is due.
//
// # Several gateways
//
// Destinations belong to one of 64 shards, by their names' hash. With PostgreSQL the shards are shared out
// among the gateways that give signs of life, so that the limits of a destination hold over all of them; each
// takes in mail for all shards, tells the others at once (LISTEN, NOTIFY), and finds what it was not told of by a look
// every ten seconds, or every second where it hears nothing, as behind a pooler, where it does not listen. A
// gateway that gives no sign for the time of a lease loses its shards. The epoch of a shard grows each time
// it is taken, and each transaction on it verifies the epoch: what a frozen gateway writes after it has
// thawed fails with [ErrLease]. The clock of a lease goes on while a machine is suspended. A gateway that joins is given
// shards of which nothing is in flight, as it would have to try that again; only where there are none for ten looks in a row is
// it given others.
//
// # Clocks that are set
//
// When mail is due is a time of the wall clock, as several gateways have to agree on it, and it has to outlive each of
// them. With PostgreSQL it is the server's clock ([Spool.Now]), whatever those of the gateways say. No gateway is taken for dead because
// that clock is set (servertime.go), unless another one starts in the seconds after it. A clock that is set forward has mail tried earlier, once. One that is set back has what was to wait, and what was
// taken in before and not yet handed out, wait as much longer ([Spool.Retry] ends that); what is taken in from then on is
// handed out at once, unless its destination is backed off.
//
// # Measured
//
// Messages of 4 KiB a second by go test -run '^$' -bench . ./gateway/spool, on two cores of 2026 on which 15 to
// 20 other processes wanted to run, the better of several runs. Through is taken in, handed out and settled at
// the same time:
//
//	callers          1      8     32
//	SQLite, Accept   900  1,800  5,600
//	SQLite, Through  460  1,500  3,600
//	PostgreSQL, Accept   135    930  1,070
//	PostgreSQL, Through  134    780    920
//
// SQLite costs the processor 80 to 110 µs a message that is taken in, 140 to 200 for all of it. To open a
// spool in which a million messages wait, and to hand out the first, takes 8 ms.
//
// Until a gateway gives out what another one has taken in for it, acceptance included (BenchmarkOtherNode): 18 ms told,
// 950 ms looked for.
//
// # PostgreSQL's tables
//
// What is large and never changes, the contents, is in spool_contents: its rows are inserted, and never updated or deleted. It has
// a partition for each minute in which mail comes, which is dropped two minutes after it was begun, at the latest, with all that is
// in it: no row of a content is ever dead, and none is vacuumed. Contents of what still waits then are put into the message's row or
// spool_chunks first, once: there they stay until the message leaves, and are deleted with it. So how long a message waits costs
// nothing again and again, and contents of mail that has left lie in the database for two minutes, or as long as no gateway runs,
// as somebody reads the table for hours, pg_dump is at work (which must find what it has listed: refuseDumped), or as contents are put elsewhere that wait (some thousand a second).
//
// What changes is small. Each message has a row without its content, and each recipient one with its state; they are updated and
// deleted. So a message is in the spool as long as its row is there, for everybody who looks, and its key is unique though
// partitions could not say so. Rows of outcomes that are only inserted would have to be found beside the recipients by each look
// for what is due, and a message's place and state have to change while it waits; they are not built. What is left to be
// vacuumed is less than a kilobyte a message: the row, and two versions of each recipient's.
//
// The gateway that has shard 0 makes and drops partitions (partitions.go, partition.go). A partition is closed by a trigger, emptied,
// detached beside those who use others, and dropped, with lock time-outs; each step is safe after any end of the one before, and
// beside a gateway that was frozen and does the same. Each message in a partition comes with a row of it in one transaction: a
// gateway that knows of no newer one cannot write into one that is closed; its message comes where those lie that wait. While a
// gateway of a version without partitions works on the mail, there are none. Where no further one can be made, as the role may not
// any more, the newest is written into for five minutes and dropped, too. Why they cannot be looked after is told by
// [Spool.PartitionFailure].
//
// Behind a pooler (package gateway/state) nothing can be detached beside those who use others: everybody waits for that, a tenth of a
// second at the most, and it is tried again as long as somebody reads the table for long.
//
// Rows that are deleted make room for what comes, once autovacuum has removed them. Indexes begin with what grows with time, or are
// small, and their empty pages are used again, too. So tables and indexes are as large as what waits and what passes between two
// looks of autovacuum (autovacuum_naptime, a minute), and the partitions as what passes in two minutes, for ever:
// TestTablesStayBounded has eight times as much pass as between two of them, and the size does not change from the second time on.
//
// The tables are vacuumed when 1,000 rows and a fiftieth of them are dead, at full speed (migration 17), so that what has
// passed does not lie beside what waits. What keeps autovacuum from it makes them grow: it is switched off, a transaction
// of the same database stays open for hours, or a prepared one or a replication slot is forgotten.
//
// While 8,000 messages of 4 KiB pass (go test -run '^$' -bench Vacuum -benchtime 8000x ./gateway/spool), beside the version before,
// which deleted contents one by one, at the same time on two cores that twenty others wanted, 2026-12-01:
//
//	                                   deleted   partitions
//	messages a second                      108          121
//	KB of log a message                    6.4          6.0
//	dead rows in the end                 9,978        3,663
//	MB of tables and indexes at most        37           65
//
// A content of up to 8 KB lies in its row (toast_tuple_target): that is what makes it faster, and two of 4 KiB do not fit into one
// page. Beside their rows, as large values are by default, it was 109 messages a second, 6.4 KB and 45 MB.
package spool
