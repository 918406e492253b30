package image

import (
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ParsePlatform reads a platform as os/arch[/variant].
func ParsePlatform(s string) (v1.Platform, error) {
	p, err := v1.ParsePlatform(s)
	if strings.ContainsAny(s, ", ") { // as other tools have several
		return v1.Platform{}, fmt.Errorf("platform %q: must be one os/arch[/variant]; all of an index are the default", s)
	}
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, fmt.Errorf("platform %q: must be os/arch[/variant]", s)
	}
	return *p, nil
}

// PlatformMatches tells whether have is what want asks for. arm64 and
// arm64/v8 are the same, as are arm and arm/v7, where one side leaves the
// variant open (containerd's platforms.Normalize).
func PlatformMatches(want, have v1.Platform) bool {
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	if want.OSVersion != "" && want.OSVersion != have.OSVersion {
		return false
	}
	return want.Variant == "" || want.Variant == have.Variant ||
		have.Variant == "" && (want.Architecture == "arm64" && want.Variant == "v8" || want.Architecture == "arm" && want.Variant == "v7" || want.Architecture == "amd64" && want.Variant == "v1")
}

// SamePlatform tells whether two images are for one platform: arm64 and arm64/v8
// are the same (containerd's platforms.Normalize).
func SamePlatform(a, b v1.Platform) bool {
	return withVariant(a) == withVariant(b)
}

// withVariant is how a platform is written with the variant that is meant where
// there is none.
func withVariant(p v1.Platform) string {
	if p.Variant == "" {
		p.Variant = map[string]string{"arm64": "v8", "arm": "v7", "amd64": "v1"}[p.Architecture]
	}
	return p.String()
}

// CheckPlatform refuses an image that isn't for the platform asked for, "" =
// any. Object is what the error calls the image.
func CheckPlatform(want string, have v1.Platform, object string) error {
	if want == "" {
		return nil
	}
	p, err := ParsePlatform(want)
	if err != nil {
		return err
	}
	if !PlatformMatches(p, have) {
		return &Error{Op: "open", Object: object, Err: Detail(ErrNoImage, "the image is for %s, not for %s", have.String(), want)}
	}
	return nil
}
