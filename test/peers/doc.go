// Package peers starts mail servers and a database that nobody here wrote, each in a folder of the test's own,
// on ports of loopback or a unix socket, with a configuration made for it. Nothing of the system's is touched.
// The Debian packages are installed by ./test/run.
package peers
