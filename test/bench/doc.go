// Package bench measures the gateway beside other servers on the same work in the same run. Its
// tests are built with the tag "bench"; ./test/bench/run runs them. README.md has the results.
package bench
