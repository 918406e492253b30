package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/distribution/reference"
)

// The transports of a Ref, under the names that skopeo and podman use.
const (
	Daemon        = "docker-daemon"  // an image of the Docker Engine: Name
	Archive       = "docker-archive" // a file as docker save writes it: Path, Name
	Layout        = "oci"            // an OCI image layout directory: Path, Name
	LayoutArchive = "oci-archive"    // an OCI image layout in a tar file: Path, Name
	Registry      = "docker"         // an image in a registry: Name
	AnyFile       = "file"           // a path given without a transport: its contents tell
)

// Ref says where an image is, or where one is to be stored.
type Ref struct {
	Transport string
	Path      string // file or directory; "-" is stdin or stdout
	Name      string // the image's name, digest or ID in the engine or registry; which image of a file or layout, "" for the only one
}

// archiveExtensions mark a bare argument as a file.
var archiveExtensions = []string{
	".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst",
}

// ParseRef reads a reference as it is written on the command line:
//
//	docker-daemon:NAME        docker://NAME
//	docker-archive:PATH[:REF] oci:DIR[:REF]     oci-archive:PATH[:REF]
//
// An argument without a transport is a path if it starts with /, ./ or ../ or
// ends in an archive's extension; "-" is a docker-archive on stdin or stdout;
// everything else is an image of the Docker Engine. Nothing is looked up.
func ParseRef(s string) (Ref, error) {
	if s == "" {
		return Ref{}, errors.New("image reference is empty")
	}
	if s == "-" {
		return Ref{Transport: Archive, Path: "-"}, nil
	}
	if name, ok := strings.CutPrefix(s, "docker://"); ok {
		return parseRegistryName(s, name)
	}
	transport, rest, found := strings.Cut(s, ":")
	if found {
		switch transport {
		case Daemon:
			return parseEngineName(rest)
		case Archive, Layout, LayoutArchive:
			r := Ref{Transport: transport}
			r.Path, r.Name = splitPath(rest)
			if r.Path == "" {
				return Ref{}, fmt.Errorf("%s: a path is missing after the colon", s)
			}
			if r.Path == "-" && transport == Layout {
				return Ref{}, fmt.Errorf("%s: a layout is a directory, it can't be read from stdin or written to stdout", s)
			}
			return r, nil
		}
		if err := checkTransport(s, transport, rest); err != nil {
			return Ref{}, err
		}
	}
	if looksLikePath(s) {
		r := Ref{Transport: AnyFile}
		r.Path, r.Name = splitPath(s)
		return r, nil
	}
	return parseEngineName(s)
}

// String returns the reference in the form with a transport, which ParseRef
// reads back; a bare path stays one.
func (r Ref) String() string {
	path := r.Path
	if r.Name != "" && r.Path != "" {
		path += ":" + r.Name
	}
	switch r.Transport {
	case Registry:
		return "docker://" + r.Name
	case Daemon:
		return Daemon + ":" + r.Name
	case AnyFile:
		return path
	default:
		return r.Transport + ":" + path
	}
}

// keeper names what keeps the image: the file or directory, or the repository.
func (r Ref) keeper() string {
	if r.Transport != Registry {
		return r.Path
	}
	named, err := reference.ParseNormalizedNamed(r.Name)
	if err != nil {
		return r.String()
	}
	return Registry + "://" + named.Name()
}

func looksLikePath(s string) bool {
	for _, prefix := range []string{"/", "./", "../", `.\`, `..\`} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	if s == "." || s == ".." || hasDrive(s) {
		return true
	}
	lower := strings.ToLower(s)
	for _, ext := range archiveExtensions {
		if strings.HasSuffix(lower, ext) {
			return true
		}
	}
	return false
}

// hasDrive tells whether s starts with a Windows drive: one letter, a colon
// and a separator. No image is named so.
func hasDrive(s string) bool {
	return len(s) > 2 && s[1] == ':' && (s[2] == '\\' || s[2] == '/') &&
		(s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

// splitPath splits PATH[:REF] at the first colon, as skopeo does.
func splitPath(s string) (path, name string) {
	skip := 0
	if hasDrive(s) {
		skip = 2
	}
	if i := strings.IndexByte(s[skip:], ':'); i >= 0 {
		return s[:skip+i], s[skip+i+1:]
	}
	return s, ""
}

func parseEngineName(s string) (Ref, error) {
	if s == "" {
		return Ref{}, errors.New(Daemon + ": an image's name or ID is missing after the colon")
	}
	if _, err := reference.ParseAnyReference(s); err != nil {
		return Ref{}, fmt.Errorf("%q isn't an image reference: %w", s, err)
	}
	return Ref{Transport: Daemon, Name: s}, nil
}

func parseRegistryName(s, name string) (Ref, error) {
	if name == "" {
		return Ref{}, errors.New("docker://: an image's name is missing")
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Ref{}, fmt.Errorf("%s isn't an image reference: %w", s, err)
	}
	// Without a slash it would be an image of Docker Hub's, where none is called so.
	if host, _, _ := strings.Cut(name, ":"); !strings.Contains(name, "/") && (strings.Contains(host, ".") || host == "localhost") {
		return Ref{}, fmt.Errorf("%s: names a registry, and no image in it: docker://%s/NAME", s, name)
	}
	return Ref{Transport: Registry, Name: reference.FamiliarString(reference.TagNameOnly(named))}, nil
}

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
	if near == "" && (word == "http" || word == "https") {
		near = "docker:" + rest
	}
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
