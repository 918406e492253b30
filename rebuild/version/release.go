//go:build release

package version

const archived = ""
