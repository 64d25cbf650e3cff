//go:build linux

// Command powercut is a file system that loses what was not synced, as a disk does whose power is cut.
//
//	powercut --backing DIR --mount DIR [--seed N]
//
// It reads commands from its standard input, a line each, and answers each with a line, "ok" or what went wrong.
// When its input ends, or with SIGTERM, it unmounts itself and ends.
//
//	freeze              from now on everything fails with EIO: this is the moment of the cut
//	cut                 loses what was not synced, and mounts what is left anew. Whoever uses the file
//	                    system is ended before, between freeze and cut
//	settle              makes everything durable
//	full on|off         what needs room fails with ENOSPC
//	fail write|sync P   so many of the writes, or of the syncs, fail with EIO (0.01: each hundredth); 0: none
//	ignore on|off       syncs do nothing, and say that they did: what a test must find. The environment
//	                    variable FAULTS_IGNORE_SYNC=1 is the same from the start
//
// # What is lost
//
// It promises what fsync(2) and the kernel's documentation of ext4 (admin-guide/ext4.rst, data=ordered,
// auto_da_alloc) promise, and nothing that ext4 merely happens to do:
//
//   - fsync and fdatasync of a file make its content and its length durable, and no name of it.
//   - fsync of a folder makes the names in it durable: what was created, linked, renamed and removed there, and,
//     as the journal is in order, every change of names before the last of those.
//   - Of the changes of names that were not synced, those up to a random one survive: no later one without
//     the earlier ones.
//   - What is renamed over an existing file has its content before it has the name (auto_da_alloc).
//   - Of writes that were not synced each page of 4 KiB survives or does not, whatever the order of the writes: in
//     any state that it had since the last sync, or torn: each of its sectors of 512 octets is the old one or
//     the new one. A sector is whole.
//   - A length that was cut or extended survives or does not; a length that was written to is as long as what survives.
//   - After a failed fsync, what it should have written is clean for the kernel and not on the disk: a later
//     fsync that succeeds does not bring it there.
//
// Real kernels write back what is old; here 64 MiB of what is not synced are kept, and beyond that it is synced.
// Owners and permissions are durable at once. syncfs and sync are not heard of. Special files, symbolic links and
// extended attributes are not built.
package main
