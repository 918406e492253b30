package templates

import _ "embed"

// Usage is the text of --help.
//
//go:embed usage.txt
var Usage string
