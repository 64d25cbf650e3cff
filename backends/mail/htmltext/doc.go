// Package htmltext makes plain text of HTML, and HTML of plain text, as one mail program does for another: for readers
// who have no HTML, and HTML of text/enriched (RFC 1896). All are streams of UTF-8, and cost memory for one tag or one line.
//
//	err := htmltext.Text(w, html)    // links, lists and tables are kept as text
//	err := htmltext.HTML(w, text)
//	w := htmltext.NewWrapper(out, 72) // lines of 72 columns at the most, where there are blanks
//
// What no reader would see is left out: scripts, styles, comments, what the head has. It is no browser: styles that hide
// something are not looked at, so that no text is lost.
package htmltext
