// Command kubelet speaks to a driver as kubelet 1.35 does: with its dial options, its deadlines and
// its order of calls. It reads one JSON command a line and answers each with one JSON line.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Most bytes of a command: a request may be larger than a driver has to take.
const maxLine = 16 << 20

// A command and what it needs.
type command struct {
	Do string `json:"do"`
	// The CSI socket.
	Socket string `json:"socket"`
	// Kubelet's directory of registration sockets, and the end of the name of the one awaited.
	Directory string `json:"directory"`
	// A socket that was seen already, to await another.
	Seen string `json:"seen"`
	// What kubelet says of the registration, where it is not what NodeGetInfo comes to.
	Refuse string `json:"refuse"`
	// Ask what the plugin is and say nothing of what becomes of it.
	Silent bool `json:"silent"`
	// The whole name of a CSI method, as in /csi.v1.Node/NodePublishVolume, and its request in protobuf's JSON.
	Method  string          `json:"method"`
	Request json.RawMessage `json:"request"`
	// The deadline of the call in milliseconds; kubelet's two minutes where it is 0.
	TimeoutMs int `json:"timeout_ms"`
	// The authority to send where it is not kubelet's own.
	Authority string `json:"authority"`
	// What to do at once, where that is the command.
	Commands []command `json:"commands"`
}

// What a command came to.
type answer struct {
	// A gRPC code, as in INVALID_ARGUMENT; OK also where there was no call.
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	// How many details the status had. CSI allows none.
	Details int `json:"details"`
	// Whether kubelet takes the code for the end of the operation.
	Final bool `json:"final"`
	// The response in protobuf's JSON.
	Response json.RawMessage `json:"response,omitempty"`
	// Of a registration: the socket, which of its name it was, and what the plugin said.
	Socket string      `json:"socket,omitempty"`
	Which  string      `json:"which,omitempty"`
	Plugin *pluginInfo `json:"plugin,omitempty"`
	// What was done at once came to, in the order of the commands.
	Answers []answer `json:"answers,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked command
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fail(err)
		}
		done, err := asked.run()
		if err != nil {
			fail(err)
		}
		if err := answers.Encode(done); err != nil {
			fail(err)
		}
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
}

func (c command) run() (answer, error) {
	switch c.Do {
	case "call":
		return c.call()
	case "register":
		return c.register()
	case "together":
		return c.together()
	}
	return answer{}, fmt.Errorf("unknown command %q", c.Do)
}

// Runs commands at once, as kubelet does for different volumes.
func (c command) together() (answer, error) {
	answers, failures := make([]answer, len(c.Commands)), make([]error, len(c.Commands))
	var running sync.WaitGroup
	for i, one := range c.Commands {
		running.Go(func() { answers[i], failures[i] = one.run() })
	}
	running.Wait()
	return answer{Code: "OK", Answers: answers}, errors.Join(failures...)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "kubelet:", err)
	os.Exit(1)
}
