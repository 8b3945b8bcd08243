// Prints the objects that kubectl reads from files, a file a line: {"file":…, "error":…, "objects":[…]}.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func read(file string) (objects []any, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := yaml.NewYAMLOrJSONDecoder(transform.NewReader(f, unicode.BOMOverride(unicode.UTF8.NewDecoder())), 4096)
	for {
		ext := runtime.RawExtension{}
		if err := d.Decode(&ext); err != nil {
			if err == io.EOF {
				return objects, nil
			}
			return objects, err
		}
		ext.Raw = bytes.TrimSpace(ext.Raw)
		if len(ext.Raw) == 0 || bytes.Equal(ext.Raw, []byte("null")) {
			continue
		}
		obj, _, err := unstructured.UnstructuredJSONScheme.Decode(ext.Raw, nil, nil)
		if err != nil {
			return objects, err
		}
		switch o := obj.(type) {
		case *unstructured.UnstructuredList:
			for _, i := range o.Items {
				objects = append(objects, i.Object)
			}
		case *unstructured.Unstructured:
			objects = append(objects, o.Object)
		}
	}
}

func main() {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, file := range os.Args[1:] {
		objects, err := read(file)
		line := map[string]any{"file": file, "objects": objects}
		if err != nil {
			line["error"] = fmt.Sprint(err)
		}
		_ = out.Encode(line)
	}
}
