// Package ext is where Traefik's makers add to its configuration in products of theirs. It is a module of its own that is
// not published; in Traefik both types are empty.
package ext

// HTTP adds nothing.
type HTTP struct{}

// Router adds nothing.
type Router struct{}
