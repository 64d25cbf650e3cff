package maildir

import "fmt"

// runHelper is what the test binary does as another process.
func runHelper(name string) int {
	fmt.Println("no helper", name)
	return 2
}
