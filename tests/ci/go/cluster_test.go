// Package sample shows a cluster for all tests of a package, made by the kcl command; kubectl comes with it.
package sample

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var name = fmt.Sprintf("go-%d", os.Getpid())

// kcl runs kcl for the cluster and returns what it wrote.
func kcl(arguments ...string) (string, error) {
	command := exec.Command("kcl", append([]string{"-p", name}, arguments...)...)
	written, err := command.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%v: %w: %s", command.Args, err, failed.Stderr)
	}
	return strings.TrimSpace(string(written)), err
}

// kubectl runs it for a test.
func kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	written, err := kcl(append([]string{"kubectl", "--"}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestMain(m *testing.M) {
	os.Exit(withCluster(m.Run))
}

// withCluster runs tests while there is a cluster.
func withCluster(run func() int) int {
	directory, err := os.MkdirTemp("", "kcl")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory)
	// The user's own kubeconfig is left alone.
	os.Setenv("KUBECONFIG", filepath.Join(directory, "kubeconfig"))
	// It ends with this process, also where that is killed.
	if _, err := kcl("start", "--until-exit-of", fmt.Sprint(os.Getpid())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer kcl("delete")
	return run()
}

func TestAnswers(t *testing.T) {
	serve := "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www"
	kubectl(t, "create", "deployment", "web", "--image=kcl.local/busybox:1.37", "--", "sh", "-c", serve)
	kubectl(t, "rollout", "status", "deployment/web", "--timeout=2m")
	if answer := kubectl(t, "exec", "deployment/web", "--", "wget", "-qO-", "http://127.0.0.1:8080/"); answer != "hello" {
		t.Errorf("answered %q", answer)
	}
}
