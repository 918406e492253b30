// Package hostile holds tests alone: it runs the program as a user does, on
// input that means harm and on machines and networks that fail.
//
// Every run is a child process with a directory of its own, a time limit and a
// memory limit. What must hold for all of them is in check_test.go: an exit
// code that the help lists, one line of error and one of hint, nothing on a
// terminal that came from the input unescaped, nothing written outside, and
// nothing left behind by a run that failed.
//
//   - TestHostile: the tables of inputs (cases_*_test.go), one line or a few a
//     case: what is built, why, and what must come out.
//   - TestFault…: registries, engines and disks that fail at every request, and
//     signals at random moments (faults_*_test.go).
//   - TestTotals counts both.
//
// A result is judged by the plain overlay of reference_test.go, which shares
// no code with the program. The tables hold what must be, not what is.
//
// The tests need Linux, for limits of a process and for tmpfs. They assume that
// the environment variable DOCKER_FLATTEN_TIMEOUT (a Go duration, by default
// 1m) sets how long the program waits for a registry or an engine that is
// silent.
package hostile
