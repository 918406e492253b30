package templates

// Report is what a run did, or with DryRun would do: the data behind the
// summary, the --json object and the --report page. The JSON names are stable:
// fields are added, never renamed. Every size is in bytes; a digest is written
// "sha256:…".
type Report struct {
	// Headline and Savings sum the images up; WriteJSON fills them in.
	Headline string  `json:"headline"`
	Savings  Savings `json:"savings"`

	Source   string        `json:"source"`            // the image as it was asked for, in canonical form
	Output   string        `json:"output,omitempty"`  // where the result went
	Tags     []string      `json:"tags,omitempty"`    // the names that the result got
	ID       string        `json:"id,omitempty"`      // image ID, or digest reference at a registry; "" for a dry run
	DryRun   bool          `json:"dry_run"`           // nothing was built
	Reused   bool          `json:"reused"`            // an earlier result of the same job was found, and only tagged
	Builder  string        `json:"builder,omitempty"` // native or engine
	Verify   string        `json:"verify"`            // structure, content or off
	Checked  Checked       `json:"checked,omitempty"` // how the image is known to be the same as the source; "" for a dry run
	Context  string        `json:"context,omitempty"` // the directory of the written build context
	Images   []ImageReport `json:"images"`            // one a platform
	Warnings []string      `json:"warnings,omitempty"`
	Needs    Needs         `json:"needs"`

	Recovered bool `json:"-"` // the Dockerfile is the original one: nothing was merged

	Stages string `json:"-"` // the Dockerfiles of several platforms as one, which has a stage for each; "" for one
}

// Checked says how a result is known to be the same as the source.
type Checked string

const (
	CheckedNow    Checked = "now"    // this run made it, and compared it with the source
	CheckedBefore Checked = "before" // an earlier run made it, and compared it as it was told to
	CheckedAgain  Checked = "again"  // an earlier run made it, and this run compared it again
	CheckedNot    Checked = "not"    // with --verify off
)

// ImageReport is the job on one platform's image.
type ImageReport struct {
	Headline string   `json:"headline"` // Savings as a sentence; WriteJSON fills it in
	Savings  Savings  `json:"savings"`
	Choices  []Choice `json:"choices,omitempty"` // what --base could be, the chosen one first
	Gates    []Gate   `json:"gates,omitempty"`   // the limits that --max-waste, --max-layers and --max-size set

	Platform      string        `json:"platform"`
	SourceID      string        `json:"source_id"` // digest of the source's config document
	ID            string        `json:"id,omitempty"`
	Base          BaseReport    `json:"base"`
	Unchanged     bool          `json:"unchanged"` // nothing to flatten: 0 or 1 layer above the base
	Layers        []LayerReport `json:"layers"`    // of the source, lowest first
	Merged        *MergedReport `json:"merged,omitempty"`
	Before        Totals        `json:"before"`
	After         Totals        `json:"after"`
	Deleted       []DeletedPath `json:"deleted_from_base,omitempty"`
	DeletedTotal  Sum           `json:"deleted_from_base_total"` // Deleted lists the largest of them
	Causes        []Cause       `json:"causes,omitempty"`        // why bytes are wasted, largest first
	OtherCauses   Sum           `json:"other_causes"`            // those that Causes leaves out
	Wasted        []WastedPath  `json:"wasted,omitempty"`        // the largest files
	WastedTotal   Sum           `json:"wasted_total"`            // all of them
	Directories   []Directory   `json:"directories,omitempty"`   // the largest, in the order of their paths
	AllDirs       int           `json:"directories_total"`       // how many directories there are
	Disagreements []string      `json:"disagreements,omitempty"`
	Cleared       []string      `json:"cleared,omitempty"` // what no Dockerfile can undo in the base's config
	Losses        []string      `json:"add_cannot_keep,omitempty"`
	History       []HistoryLine `json:"history"` // of the source, oldest first
	NewHistory    []HistoryLine `json:"new_history,omitempty"`
	Dockerfile    string        `json:"dockerfile"`
}

// Savings are an image's bytes, and how many of them could go. Wasted is what
// layers hold and the image doesn't show; what goes is less where some of it lies
// in the base.
type Savings struct {
	Bytes       int64   `json:"bytes"`         // of all layers
	Wasted      int64   `json:"wasted_bytes"`  // the base's included
	WastedShare float64 `json:"wasted_share"`  // of Bytes, from 0 to 1
	Goes        int64   `json:"goes_bytes"`    // with the base as it is chosen
	GoesShare   float64 `json:"goes_share"`    // of Bytes
	Scratch     int64   `json:"scratch_bytes"` // what would go with --base scratch
	More        int64   `json:"scratch_saves_more_bytes"`
	BaseLayers  int     `json:"base_layers"` // that the result shares with its base
}

// Choice is what one --base would give.
type Choice struct {
	Base         string `json:"base"`           // what --base is given
	Name         string `json:"name,omitempty"` // of the base, where it has one
	Chosen       bool   `json:"chosen"`
	Layers       int    `json:"layers"` // of the result
	Bytes        int64  `json:"bytes"`  // of the result
	SharedLayers int    `json:"shared_layers"`
	SharedBytes  int64  `json:"shared_bytes"`
	Evidence     string `json:"evidence,omitempty"`
}

// Sum is a number of files or paths, and their bytes.
type Sum struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// Cause is waste that has one reason.
type Cause struct {
	Why    string `json:"why"`     // changed, owner, mode, xattrs, times, again, deleted or moved
	InBase bool   `json:"in_base"` // the base's layers hold it, and keep it
	Low    int    `json:"low"`     // the lowest layer that holds some of it, 0 the lowest of the image …
	High   int    `json:"high"`    // … and the highest
	By     int    `json:"by"`      // the layer that made it waste; -1 for several
	Dir    string `json:"dir"`     // that all of it is in
	Path   string `json:"path"`    // the largest file
	Copies bool   `json:"copies"`  // all of the files are at Path, in several layers
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	Remedy string `json:"remedy,omitempty"` // what the Dockerfile's author could do
}

// Directory is what the layers hold at and below a directory.
type Directory struct {
	Path             string `json:"path"`
	Files            int    `json:"files"`
	KeptBytes        int64  `json:"kept_bytes"`
	OverwrittenBytes int64  `json:"overwritten_bytes"`
	DeletedBytes     int64  `json:"deleted_bytes"`
}

// BaseReport says where the base ends, and how that is known.
type BaseReport struct {
	Name     string `json:"name"` // "" when the base has no name
	Layers   int    `json:"layers"`
	Kind     string `json:"kind"` // user, parent, local, annotation, comment, guess, none
	Evidence string `json:"evidence"`
}

// LayerReport is one layer of the source and what becomes of it. Kept,
// Overwritten and Deleted add up to Bytes: contents of regular files that the
// final tree shows, that a layer above replaces, and that one removes.
type LayerReport struct {
	DiffID           string `json:"diff_id"`
	Instruction      string `json:"instruction"` // one line; what made it
	Dialect          string `json:"dialect,omitempty"`
	Fate             string `json:"fate"` // base or merged
	Paths            int    `json:"paths"`
	Bytes            int64  `json:"bytes"`
	KeptBytes        int64  `json:"kept_bytes"`
	OverwrittenBytes int64  `json:"overwritten_bytes"`
	DeletedBytes     int64  `json:"deleted_bytes"`
	Files            []File `json:"files,omitempty"` // the largest
	FileCount        int    `json:"file_count"`      // all of them
}

// File is a file of a layer.
type File struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Fate  string `json:"fate"`         // kept, overwritten or deleted
	By    int    `json:"by,omitempty"` // where it isn't kept: the layer that did it, 0 the lowest
}

// MergedReport is the one new layer.
type MergedReport struct {
	DiffID     string `json:"diff_id,omitempty"`
	Digest     string `json:"digest,omitempty"` // of the blob as stored; "" in an engine that keeps it unpacked
	MediaType  string `json:"media_type,omitempty"`
	Paths      int    `json:"paths"`
	TarBytes   int64  `json:"tar_bytes"`                           // length of the uncompressed tar
	Compressed int64  `json:"compressed_bytes,omitempty"`          // length of the blob as stored; 0 when it isn't compressed
	Estimate   int64  `json:"compressed_estimate_bytes,omitempty"` // about what Compressed would be with gzip
	FromLayers int    `json:"from_layers"`
}

// Totals are an image's figures: Bytes is the sum over its layers of the
// contents of their regular files, Paths that of their entries.
type Totals struct {
	Layers     int   `json:"layers"`
	Bytes      int64 `json:"bytes"`
	Compressed int64 `json:"compressed_bytes,omitempty"`          // 0 when the source or destination doesn't say
	Estimate   int64 `json:"compressed_estimate_bytes,omitempty"` // about what Compressed would be with gzip, by samples of the layers
	Paths      int   `json:"paths"`
}

// DeletedPath is a path of the base that the image no longer has.
type DeletedPath struct {
	Path     string `json:"path"`
	Dir      bool   `json:"dir"`
	Replaced bool   `json:"replaced"` // something new stands in its place
	How      string `json:"how"`      // deleted; emptied: the directory is another one now; replaced: by something that is no directory, or is one where there was none
	Paths    int    `json:"paths"`
	Bytes    int64  `json:"bytes"`
}

// WastedPath is a file that a layer holds and the final tree doesn't show.
type WastedPath struct {
	Path  string `json:"path"`
	Layer int    `json:"layer"` // the layer that holds it: its index in Layers, 0 the lowest
	By    int    `json:"by"`    // the layer that hides it, likewise
	How   string `json:"how"`   // overwritten or deleted
	Bytes int64  `json:"bytes"`

	InBase bool `json:"in_base"` // the base holds it, and keeps it
}

// HistoryLine is one history entry.
type HistoryLine struct {
	Created   string `json:"created,omitempty"`
	CreatedBy string `json:"created_by"`
	Comment   string `json:"comment,omitempty"`
	Layer     int    `json:"layer"` // the layer that it made, 0 the lowest; -1 for none
}
