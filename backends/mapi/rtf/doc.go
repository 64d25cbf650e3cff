// Package rtf reads and writes the RTF bodies of Exchange's messages. It knows no network and no properties: it takes
// and gives plain octets.
//
// NewDecompressor reads the value of PidTagRtfCompressed, NewCompressor writes it (MS-OXRTFCP).
package rtf
