// Command example-go is a backend for a store of the simplest kind: a folder for each account,
// and in it each message as a file that ends in ".eml". plugins/afternoon.md builds it step by
// step; this is what comes out.
//
//	root/
//	  accounts                 one line each: an address and the hash of its password
//	  anna@sakes.example/      her inbox
//	    4f1d….eml              a message; other programs may put files here, and take them away
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"

	"github.com/dipylon/dipylon/plugins/serve"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "hash" {
		printHash(os.Args[2:])
		return
	}
	serve.Store(&store{})
}

// printHash prints the hash of the password on standard input, for the accounts file.
func printHash(args []string) {
	rounds := usualRounds
	if len(args) > 0 {
		rounds, _ = strconv.Atoi(args[0])
	}
	password, _, err := bufio.NewReader(os.Stdin).ReadLine()
	if err != nil || rounds < 1 {
		fmt.Fprintln(os.Stderr, "usage: example-go hash [ROUNDS] <PASSWORD")
		os.Exit(2)
	}
	fmt.Println(newHash(string(password), rounds))
}
