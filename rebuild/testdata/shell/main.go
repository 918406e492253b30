// Command shell is all the programs that the engine tests' images have: a
// shell for commands joined by && and the few tools that they use, by the name
// it is called by, as busybox does it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	args := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	if args[0] == "sh" {
		if len(args) != 3 || args[1] != "-c" {
			fail(fmt.Errorf("usage: sh -c COMMAND"))
		}
		for _, command := range strings.Split(args[2], "&&") {
			fail(tool(strings.Fields(command)))
		}
		return
	}
	fail(tool(args))
}

// tool runs echo TEXT [> FILE], cat FILE, rm [-rf] [--] PATH…, mkdir, ln, mv
// and chmod.
func tool(args []string) error {
	name, args := args[0], args[1:]
	switch name {
	case "echo":
		if n := len(args); n >= 2 && args[n-2] == ">" {
			return os.WriteFile(args[n-1], []byte(strings.Join(args[:n-2], " ")+"\n"), 0o644)
		}
		fmt.Println(strings.Join(args, " "))
		return nil
	case "cat":
		b, err := os.ReadFile(args[0])
		os.Stdout.Write(b)
		return err
	case "rm":
		for _, p := range args {
			if strings.HasPrefix(p, "-") {
				continue
			}
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
		return nil
	case "mkdir":
		return os.MkdirAll(args[0], 0o755)
	case "ln":
		if args[0] == "-s" {
			return os.Symlink(args[1], args[2])
		}
		return os.Link(args[0], args[1])
	case "mv":
		return os.Rename(args[0], args[1])
	case "chmod":
		var mode os.FileMode
		if _, err := fmt.Sscanf(args[0], "%o", &mode); err != nil {
			return err
		}
		return os.Chmod(args[1], mode)
	}
	return fmt.Errorf("%s: not found", name)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
