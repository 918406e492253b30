package oci

import v1 "github.com/google/go-containerregistry/pkg/v1"

// Names are the names of repositories that an entry of index.json gives what it
// describes.
func Names(entry v1.Descriptor) []string { return wholeNames(entryNames(entry)) }
