package oci

// EntryNames is what the tests look at, which belongs to nobody else.
var EntryNames = entryNames
