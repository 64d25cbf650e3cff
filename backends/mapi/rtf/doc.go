// Package rtf reads and writes the RTF bodies of Exchange's messages. It knows no network and no properties: it takes
// and gives octets.
//
// The value of PidTagRtfCompressed is read with NewDecompressor and written with NewCompressor (MS-OXRTFCP). What is
// inside is opened, and asked what it was made from:
//
//	d, err := rtf.OpenCompressed(value, rtf.Options{Picture: keep})
//	if d.Kind() == rtf.FromText {
//		report, err = d.WriteText(w)
//	} else {
//		report, err = d.WriteHTML(w)
//	}
//
// A document that was made from HTML or text gives back that HTML or text (MS-OXRTFEX); EncapsulateHTML and
// EncapsulateText make such documents. Of any other document, WriteHTML and WriteText write what it looks like (RTF
// 1.9.1). Documents are read and written as streams, in bounded memory and with work in proportion to their length. What
// is wrong with one costs what is wrong: the rest of it is shown.
//
// # What is kept
//
// Paragraphs with alignment, indentation and direction; lists with the kind and start of their numbers, as lists of
// HTML; tables, and tables in tables up to eight; bold, italic, underlined, struck, raised and lowered text, capitals;
// the names and sizes of fonts, colours of text and background; links (http, https, mailto, ftp: the addresses of others are reported, and are no links); pictures,
// which Options.Picture is given octet by octet, PNG and JPEG shown in HTML where it gives them a Content-ID, WMF, EMF
// and bitmaps kept and reported alone; footnotes, in brackets where they are referred to; the text of shapes, the
// results of fields and of OLE objects; places of attachments (\objattph), as Options.Attachment has them.
//
// # What is lost
//
// Style sheets, so that headings are the larger text that they look like; headers, footers, comments, bookmarks and
// indices; merged cells, widths and borders of tables; tabulator stops; hidden text; the data of OLE objects, which is
// an attachment's; page and section breaks, which end a paragraph; the look of what is deleted or inserted by revisions
// (deleted text is struck).
//
// # Code pages
//
// Those of package codepage in which ASCII is what it is: 437, 850, 852, 855, 858, 860, 862, 863, 865, 866, 874, 932,
// 936, 949, 950, 1250 to 1258, 10000, 10007, 20127, 20866, 20932, 20936, 21866, 28591 to 28600, 28603 to 28606, 38598,
// 50220 to 50222, 51932, 51936, 51949, 52936, 54936, 65001; and the fonts Symbol and Wingdings. The octets of others
// (1361, 864, …) become U+FFFD, and are in the Report with the number of their code page.
package rtf
