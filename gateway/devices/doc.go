// Package devices keeps the machines that send and read mail without a person: scanners, ticket systems, alarm boxes. To
// the login each is an application password (package passwords), one mechanism and not two; what is more, is here: how it
// proves itself without a password, what it may send to whom and how much, what is done to its mail, and who is told of
// what became of it.
//
//	registry := devices.New(devices.Options{Log: log, DB: db, Passwords: kept, Counts: counts})
//	made, password, err := registry.Add(ctx, devices.Device{Name: "scanner", Owner: "it@sakes.example", …})
//	session, err := registry.Session(ctx, "scanner") // once it has logged in
//	err = session.Over(ctx)                      // at each command: it may be off by now
//	wait, err := session.Take(ctx, 3)            // a message for three recipients may go, after wait
//	registry.Note("scanner", devices.Use{From: "192.0.2.7"})
//
// Every process has a table of all devices. What is said of a device is at most a quarter of a second old: whoever finds the
// table older asks the database for one number, which tells whether it is still so, and all others wait for that answer. So
// no command of a device asks by itself, and what one process changes counts for all of them after that time, on SQLite and on
// PostgreSQL alike; [Registry.Settle] waits for it. What is only of interest, when a device was used and what went wrong last, is
// written seldom, by [Registry.Run].
//
// # Which device it is
//
// A password is its device's, wherever it comes from, unless the device has networks. A certificate is the device's whose
// fingerprint it has, or else of the one whose authority has signed it for its name. A network is the device's that has the
// smallest one around an address: a scanner can have an address within the network of others. Two devices cannot
// have the same network, and a network without a password is small, or private: I12. An IPv4 address is the same one
// when it comes as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
package devices
