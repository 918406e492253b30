package templates

import (
	"encoding/json"
	"io"
)

// WriteJSON writes the report as one JSON object, indented, with a line end.
// Its fields are Report's. A list that is always there ("images", "layers",
// "history") is [] when it is empty. Text that isn't UTF-8 gets U+FFFD for each
// broken byte, since JSON has no other way.
func WriteJSON(w io.Writer, r *Report) error {
	out := *r
	out.Headline, out.Savings = headlines(r), total(r)
	out.Images = make([]ImageReport, len(r.Images))
	for i, im := range r.Images {
		if im.Layers == nil {
			im.Layers = []LayerReport{}
		}
		if im.History == nil {
			im.History = []HistoryLine{}
		}
		im.Headline = headline(&im)
		out.Images[i] = im
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // instructions are full of && and <
	e.SetIndent("", "  ")
	return e.Encode(&out)
}
