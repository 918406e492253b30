package maker

import "docker-flatten/rebuild/image"

// Native returns the image whose layer this program writes by itself: the base,
// the merged layer, which is verified while it is written, and the exact config
// document. An image with nothing to flatten comes back as it is.
func Native(o Order) image.NewImage {
	made := o.result()
	if !o.Plan.Unchanged() {
		made.Write = o.writeChecked
	}
	return made
}
