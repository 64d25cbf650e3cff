// Package stores tests the built gateway in front of mail systems that nobody here wrote: what
// comes in by SMTP and goes out by POP3, with a real store in between.
package stores
