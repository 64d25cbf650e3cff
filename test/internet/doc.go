// Package internet has the tests of the gateway as the Internet has it: hosts in network namespaces of their own, on
// one wire, with a DNS server that names them. Kifissia is the gateway in front of a store, pop3.dcnw.example is a mail
// server of Debian's, and Chris is far away, with a client of POP3 and SMTP. Nothing of it reaches the machine's network.
package internet
