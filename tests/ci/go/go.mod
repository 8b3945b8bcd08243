module kcl.dev/sample

go 1.22
