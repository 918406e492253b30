package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
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
	return encodeJSON(w, &out)
}

func encodeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // instructions are full of && and <
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	return escapeUnprintable(w, b.Bytes())
}

// escapeUnprintable writes JSON with the characters of its strings escaped that
// steer a terminal and that the encoder leaves: C1, DEL, and marks that change
// the direction of text.
func escapeUnprintable(w io.Writer, js []byte) error {
	out := make([]byte, 0, len(js))
	for _, r := range string(js) {
		switch {
		case r == '\n' || unicode.IsPrint(r) || r == utf8.RuneError:
			out = utf8.AppendRune(out, r)
		case r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		}
	}
	_, err := w.Write(out)
	return err
}
