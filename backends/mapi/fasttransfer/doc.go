// Package fasttransfer reads and writes FastTransfer streams, MS-OXCFXICS §2.2.4: whole messages, with
// recipients, attachments, and messages in messages, as one run of octets.
//
//	r := fasttransfer.NewReader(stream, fasttransfer.Options{Keep: keep})
//	for {
//		m, err := r.Message()
//		if err == io.EOF {
//			break
//		}
//
// A stream that RopFastTransferSourceCopyTo made of a message is the content of one message, and one of
// RopFastTransferSourceCopyMessages a list of them: Message reads either. [Writer] writes them.
//
// A value that is larger than Options.ValueMost is not held in memory: it goes to Options.Keep, as the
// data of attachments does. What is held in memory is bounded by Options.MemoryMost, whatever
// the stream announces.
//
// [Scanner] is the lexical structure alone (§2.2.4.1): markers and properties one by one, for streams of
// folders and of synchronisation.
package fasttransfer
