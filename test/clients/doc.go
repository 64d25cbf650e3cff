// Package clients has tests in which clients that nobody here wrote read and send mail through
// the built gateway: over plain connections, over STLS and STARTTLS, and over TLS from the first
// octet, with the server's certificate verified.
//
// The programs are Debian's, two are Node packages; `./test/run install` installs them, and a
// test whose program is missing fails. Those with windows show them on an X server that has no
// screen, and pictures of it are kept: in test/.work/screenshots, or in the folder that
// $DIPYLON_ARTEFACTS names.
package clients
