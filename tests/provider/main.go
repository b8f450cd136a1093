// Command provider is an external provider as the upstream driver's are, and a caller as that driver is:
// the messages and the atomic writer are upstream's own.
//
//	provider serve SOCKET CONTROL LOG   serves; what it does is in the file CONTROL, what it was asked goes to LOG
//	provider call SOCKET                sends the MountRequest on standard input, in JSON, and prints the answer
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "serve":
		return serve(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "call":
		answer, err := call(args[1], os.Stdin)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(answer)
	default:
		return fmt.Errorf("usage: provider serve SOCKET CONTROL LOG | provider call SOCKET")
	}
}
