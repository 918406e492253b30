package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// PageHead is how many bytes of a file IsPage needs.
const PageHead = 4096

// IsPage tells from a file's beginning whether WriteHTML or WriteSVG wrote it
// about the same source.
func IsPage(head []byte, source string) bool {
	return bytes.Contains(head, []byte("docker-flatten "+pageMark(source)))
}

// pageMark is what a page says of its source so that IsPage knows it again: a
// digest, which no text of an image can imitate by chance.
func pageMark(source string) string {
	sum := sha256.Sum256([]byte(source))
	return hex.EncodeToString(sum[:8])
}
