// Package peers starts mail servers that nobody here wrote, each in a folder of the test's own,
// on ports of loopback, with a configuration made for it. Nothing of the system's is touched.
// The Debian packages are installed by ./test/run.
package peers
