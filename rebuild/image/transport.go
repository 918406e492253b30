package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// transports are the transports as people write them.
var transports = []string{Daemon + ":", Archive + ":", Layout + ":", LayoutArchive + ":", Registry + "://"}

// foreignTransports are what other tools call places that this one doesn't know.
// Nobody names an image so.
var foreignTransports = []string{
	"containers-storage", "ostree", "sif", "tarball", "docker-tar", "docker-registry", "oci-dir", "oci-layout", "oci-tar", "s3", "http", "https", "ftp", "ssh", "containerd",
}

// checkTransport refuses a word before a colon that was meant for a transport:
// a known foreign one, a word that differs little from one of ours or is said to
// be one, and any word before "://" or before a path. The names of images have
// tags after their colon.
func checkTransport(s, word, rest string) error {
	if strings.ContainsAny(word, "/@") || hasDrive(s) {
		return nil
	}
	near := nearTransport(word, rest)
	switch {
	case strings.HasPrefix(rest, "//"), slices.Contains(foreignTransports, word), near != "", strings.Contains(word, "transport"):
	case len(word) > 0 && !strings.Contains(word, ".") && looksLikePath(rest):
	default:
		return nil
	}
	err := &Error{Op: "understand", Object: s, Err: fmt.Errorf("%q is no transport", word), Hint: "the transports are " + strings.Join(transports, ", ") + "; a path starts with / or ./"}
	if near != "" {
		err.Hint = "did you mean " + near + "? " + err.Hint
	}
	return err
}

// nearTransport is the transport that a word was probably meant for, "" if none.
// Short words are names of images as well.
func nearTransport(word, rest string) string {
	for _, t := range transports {
		name := strings.TrimRight(t, ":/")
		telling := strings.Contains(name, "-") || strings.HasPrefix(rest, "//")
		if telling && word != name && levenshtein.Distance(strings.ToLower(word), name, nil) <= 2 {
			return t
		}
	}
	return ""
}
