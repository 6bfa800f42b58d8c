// A current etcd for the tests, beside the oldest one that is supported. `go install` refuses the original, whose go.mod
// replaces its siblings by folders beside it; as a dependency it builds. go.mod pins the version.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
