// Package rebuild does the job: it opens an image, has its history understood
// and its layers merged, makes the image that comes of it, and stores that.
//
// # For other programs
//
// Flatten is what the command calls: it prints nothing, ends when its context
// does, and may run several times at once. The module's path is docker-flatten,
// which no proxy serves: a program that uses it has a copy, and a line such as
//
//	replace docker-flatten => ./third_party/docker-flatten
//
// in its go.mod.
//
// # What is stable
//
// Within a minor version, names and meanings stay, and fields are only added, of
//
//   - Flatten, Compare, their options, UsageError and PublishError here, with the
//     types of the options' fields and the functions that parse them;
//   - image.Ref and image.ParseRef; image.Error and the errors in package image;
//   - Parse, FindBase, Plan and Step.Dockerfile in package history, with the types
//     that they take and return;
//   - templates.Report and templates.Comparison, whose JSON forms are what --json prints.
//
// A result's digest is stable for one version of this module: a later one may
// compress better. All else is for this module's own use, and changes with it.
//
// # Errors
//
// Each is one line of text. With errors.As and errors.Is these can be told apart:
//
//   - *UsageError: the options don't go together;
//   - context.Canceled, context.DeadlineExceeded: the caller's context ended;
//   - image.ErrNoImage, fs.ErrNotExist, image.ErrSeveral: no such image or file, or
//     more images than one;
//   - image.ErrNoEngine, image.ErrUnauthorized, image.ErrPermission: the way there;
//   - *silence.Error: a registry or an engine fell silent;
//   - image.ErrExists: something stands there that may not be replaced;
//   - room.ErrShort: a disk can't hold what would be written;
//   - image.ErrDigest, image.ErrTruncated, image.ErrFormat, image.ErrNotArchive,
//     image.ErrNotLayout, *layer.Error: the image is damaged, or no image;
//   - layer.ErrLimit: a layer is beyond what is read, as SECURITY.md says;
//   - *layer.DifferenceError, *plan.ConfigError, image.ErrDiffers: the result is
//     not the same as the source, and has no name;
//   - *PublishError: the image has its names, and what comes after it failed.
//
// An *image.Error may have a hint for the user.
package rebuild
