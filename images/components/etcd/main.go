// Command etcd is the etcd server. Its own module cannot be installed by
// version, because its go.mod has replace lines; this one can be built.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
