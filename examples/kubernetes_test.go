package examples

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKubernetesJobs(t *testing.T) {
	for _, c := range []struct {
		file      string
		document  int
		onFailure string
	}{
		{"kubernetes/job.yaml", 0, "FailJob"},
		{"kubernetes/many.yaml", 1, "FailIndex"},
	} {
		t.Run(c.file, func(t *testing.T) {
			job := readYAML(t, c.file)[c.document]
			pod := at(job, "spec", "template", "spec")
			container := at(pod, "containers", 0)
			for _, want := range []struct {
				what     string
				got, val any
			}{
				{"apiVersion", at(job, "apiVersion"), "batch/v1"},
				{"kind", at(job, "kind"), "Job"},
				{"restartPolicy", at(pod, "restartPolicy"), "Never"}, // podFailurePolicy asks for it
				{"service account token", at(pod, "automountServiceAccountToken"), false},
				{"non-root", at(pod, "securityContext", "runAsNonRoot"), true},
				{"seccomp", at(pod, "securityContext", "seccompProfile", "type"), "RuntimeDefault"},
				{"privilege escalation", at(container, "securityContext", "allowPrivilegeEscalation"), false},
				{"read-only root", at(container, "securityContext", "readOnlyRootFilesystem"), true},
				{"the message of a pod that failed", at(container, "terminationMessagePolicy"), "FallbackToLogsOnError"},
				{"capabilities", at(container, "securityContext", "capabilities", "drop", 0), "ALL"},
				{"on a drained node", at(job, "spec", "podFailurePolicy", "rules", 0, "action"), "Ignore"},
				{"on exit codes", at(job, "spec", "podFailurePolicy", "rules", 1, "action"), c.onFailure},
				{"their container", at(job, "spec", "podFailurePolicy", "rules", 1, "onExitCodes", "containerName"), at(container, "name")},
			} {
				if want.got != want.val {
					t.Errorf("%s: %v, want %v", want.what, want.got, want.val)
				}
			}
			for _, r := range [][]any{{"requests", "cpu"}, {"requests", "memory"}, {"requests", "ephemeral-storage"}, {"limits", "memory"}, {"limits", "ephemeral-storage"}} {
				if at(container, append([]any{"resources"}, r...)...) == nil {
					t.Errorf("no resources: %v", r)
				}
			}
			// Every mount has its volume, the spool's can be written, and the
			// environment names places that are mounted.
			mounts, _ := at(container, "volumeMounts").([]any)
			volumes, _ := at(pod, "volumes").([]any)
			var paths []string
			for _, m := range mounts {
				i := slices.IndexFunc(volumes, func(v any) bool { return at(v, "name") == at(m, "name") })
				if i < 0 {
					t.Fatalf("no volume %v", at(m, "name"))
				}
				if at(volumes[i], "emptyDir") == nil && at(m, "readOnly") != true {
					t.Errorf("%v can be written", at(m, "name"))
				}
				paths = append(paths, fmt.Sprint(at(m, "mountPath")))
			}
			if len(mounts) != len(volumes) {
				t.Errorf("%d mounts of %d volumes", len(mounts), len(volumes))
			}
			for i, name := range []string{"DOCKER_CONFIG", "TMPDIR"} {
				e := at(container, "env", i)
				if at(e, "name") != name || !slices.Contains(paths, fmt.Sprint(at(e, "value"))) {
					t.Errorf("env %v isn't %s with a place that is mounted: %v", e, name, paths)
				}
			}
			secret := volumes[slices.IndexFunc(volumes, func(v any) bool { return at(v, "name") == "credentials" })]
			if at(secret, "secret", "items", 0, "key") != ".dockerconfigjson" || at(secret, "secret", "items", 0, "path") != "config.json" {
				t.Errorf("credentials: %v", secret)
			}
		})
	}
}

// TestKubernetesJobRuns runs the command of job.yaml against a registry of the
// test's.
func TestKubernetesJobRuns(t *testing.T) {
	registry := startRegistry(t)
	push(t, "no-daemon/app.oci.tar", registry+"/app:1")
	var args []string
	given, _ := at(readYAML(t, "kubernetes/job.yaml")[0], "spec", "template", "spec", "containers", 0, "args").([]any)
	for _, a := range given {
		args = append(args, strings.ReplaceAll(fmt.Sprint(a), "registry.example", registry))
	}
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkFlat(t, registry+"/app:1", registry+"/app:flat")
}

// TestKubernetesManyRuns runs the script of many.yaml as the pods of the Job
// would, each index twice.
func TestKubernetesManyRuns(t *testing.T) {
	sh := tool(t, "sh")
	documents := readYAML(t, "kubernetes/many.yaml")
	list, _ := at(documents[0], "data", "images").(string)
	script, _ := at(documents[0], "data", "run").(string)
	job := documents[1]
	count := strings.Count(list, "\n")
	if at(job, "spec", "completionMode") != "Indexed" || at(job, "spec", "completions") != count {
		t.Fatalf("%d lines, but the Job has %v completions, %v", count, at(job, "spec", "completions"), at(job, "spec", "completionMode"))
	}
	if at(job, "spec", "template", "spec", "volumes", 0, "configMap", "name") != at(documents[0], "metadata", "name") {
		t.Error("the list that is mounted isn't the ConfigMap's")
	}
	if got := fmt.Sprint(at(job, "spec", "template", "spec", "containers", 0, "command")); got != "[/bin/sh /list/run]" {
		t.Errorf("command: %s", got)
	}
	checkScript(t, "kubernetes/many.yaml", script, help(t))

	registry := startRegistry(t)
	list = strings.ReplaceAll(list, "registry.example", registry)
	mounted := t.TempDir()
	for name, text := range map[string]string{"images": list, "run": script} {
		if err := os.WriteFile(filepath.Join(mounted, name), []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	pod := func(index int) error {
		cmd := exec.Command(sh, filepath.Join(mounted, "run"))
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), fmt.Sprintf("JOB_COMPLETION_INDEX=%d", index), "TMPDIR="+t.TempDir(),
			"PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
		var log, second bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &second
		err := cmd.Run()
		t.Logf("index %d: %s%s", index, log.Bytes(), second.Bytes())
		if err == nil {
			// "kubectl logs --tail=1" shows the last line, and that only of what one stream has in order.
			if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); second.Len() > 0 || !strings.Contains(lines[len(lines)-1], "@sha256:") {
				t.Errorf("index %d: %d bytes in a second stream, and this ends the first: %s", index, second.Len(), lines[len(lines)-1])
			}
		}
		return err
	}
	for index, line := range strings.Split(strings.TrimSpace(list), "\n") {
		source, destination, _ := strings.Cut(line, " ")
		push(t, "no-daemon/app.oci.tar", source)
		if err := pod(index); err != nil {
			t.Fatal(err)
		}
		checkFlat(t, source, destination)
		first, _ := pulled(t, destination)
		if err := pod(index); err != nil {
			t.Fatal(err)
		}
		if second, _ := pulled(t, destination); first != second {
			t.Errorf("%s: %s the first time, %s the second", destination, first, second)
		}
	}
	if err := pod(count); err == nil || err.Error() != "exit status 2" {
		t.Errorf("an index that the list doesn't have: %v", err)
	}
}

// checkFlat holds an index in a registry against the one that it was made from:
// the same platforms, each with its base's layer as it was and one more.
func checkFlat(t *testing.T, source, destination string) {
	t.Helper()
	_, before := pulled(t, source)
	_, after := pulled(t, destination)
	if len(before) != len(after) {
		t.Fatalf("%d platforms became %d", len(before), len(after))
	}
	for i := range before {
		was, err := before[i].Manifest()
		if err != nil {
			t.Fatal(err)
		}
		is, err := after[i].Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(is.Layers) != 2 || is.Layers[0].Digest != was.Layers[0].Digest || is.Layers[0].MediaType != was.Layers[0].MediaType {
			t.Errorf("platform %d: %+v became %+v", i, was.Layers, is.Layers)
		}
	}
}
