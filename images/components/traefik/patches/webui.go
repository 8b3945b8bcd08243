// Package webui stands in for the files of Traefik's dashboard, which are not in its module. It stays off.
package webui

import "embed"

// FS is empty.
var FS embed.FS
