// Command python puts CPython 3.14, which comes as a Go module, into a directory and prints where its interpreter is.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kluctl/go-embed-python/python"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: python DIRECTORY")
		os.Exit(2)
	}
	embedded, err := python.NewEmbeddedPythonWithTmpDir(os.Args[1], false)
	if err != nil {
		fmt.Fprintln(os.Stderr, "CPython cannot be unpacked:", err)
		os.Exit(1)
	}
	fmt.Println(filepath.Join(embedded.GetExtractedPath(), "bin", "python3"))
}
