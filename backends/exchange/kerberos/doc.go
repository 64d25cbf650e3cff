// Package kerberos gets a ticket for a service (RFC 4120), and signs in with it as SPNEGO wants it (RFC 4178, RFC 4121 §4.1). It is the
// client's side alone:
//
//	k, err := kerberos.New(kerberos.Config{Realm: "SAKES.EXAMPLE", KDCs: []string{"dc1.sakes.example"}})
//	ticket, err := k.Ticket(ctx, "george@sakes.example", kerberos.Password(password), "HTTP/mail.sakes.example")
//	login, token, err := ticket.Begin(binding) // what package channelbinding makes of the connection
//	err = login.Finish(answer)                 // what the server has answered: it proves that it is the service
//
// The messages and the cryptography are gokrb5's. The exchanges are not, as gokrb5's wait without a context, believe a KDC about the
// size of its reply, send a password that was refused again where it is asked to assume pre-authentication, and write no channel binding.
//
// # What a KDC is believed
//
// Replies are bounded, and so is the work that they ask for: the iterations of a key's derivation. Keys are derived for AES alone (RFC
// 3962, RFC 8009): what RC4 encrypts with a password is guessed too fast. The password goes into one request: it is
// not sent to another KDC when the reply is lost, as each of them counts.
package kerberos
