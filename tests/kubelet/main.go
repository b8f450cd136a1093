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

// The longest command, in bytes. A request may be larger than a driver must accept.
const maxLine = 16 << 20

// A command with its arguments.
type command struct {
	Do string `json:"do"`
	// The CSI socket.
	Socket string `json:"socket"`
	// Kubelet's directory of registration sockets. The awaited socket's name ends with this text.
	Directory string `json:"directory"`
	// A socket that was seen before, if another one is awaited.
	Seen string `json:"seen"`
	// The error that kubelet reports to the plugin, instead of the outcome of NodeGetInfo.
	Refuse string `json:"refuse"`
	// Ask the plugin for its name, and do not tell it the outcome.
	Silent bool `json:"silent"`
	// The full name of a CSI method, as in /csi.v1.Node/NodePublishVolume, and its request in protobuf's JSON.
	Method  string          `json:"method"`
	Request json.RawMessage `json:"request"`
	// The deadline of the call in milliseconds; 0 means kubelet's two minutes.
	TimeoutMs int `json:"timeout_ms"`
	// The authority to send instead of kubelet's own.
	Authority string `json:"authority"`
	// The commands to run at the same time.
	Commands []command `json:"commands"`
}

// The result of a command.
type answer struct {
	// A gRPC code, as in INVALID_ARGUMENT. It is OK if there was no call.
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	// The number of details in the status. CSI allows none.
	Details int `json:"details"`
	// Whether kubelet takes the code as the end of the operation.
	Final bool `json:"final"`
	// The response in protobuf's JSON.
	Response json.RawMessage `json:"response,omitempty"`
	// For a registration: the socket, which instance of it was found, and the plugin's answer.
	Socket string      `json:"socket,omitempty"`
	Which  string      `json:"which,omitempty"`
	Plugin *pluginInfo `json:"plugin,omitempty"`
	// The results of the commands that ran at the same time, in their order.
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

// Runs commands at the same time, as kubelet does for different volumes.
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
