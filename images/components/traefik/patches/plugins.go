// Package plugins stands in for what runs Traefik's plugins: interpreters of Go and of WebAssembly.
package plugins

import (
	"context"
	"errors"
	"net/http"

	"github.com/traefik/traefik/v3/pkg/provider"
)

var errNone = errors.New("this build of Traefik runs no plugins")

// Constructor makes a middleware.
type Constructor func(context.Context, http.Handler) (http.Handler, error)

// Builder makes nothing.
type Builder struct{}

// NewBuilder fails where there are plugins.
func NewBuilder(_ *Manager, remote map[string]Descriptor, local map[string]LocalDescriptor) (*Builder, error) {
	if len(remote)+len(local) > 0 {
		return nil, errNone
	}
	return &Builder{}, nil
}

// Build fails.
func (Builder) Build(string, map[string]any, string) (Constructor, error) {
	return nil, errNone
}

// BuildProvider fails.
func (Builder) BuildProvider(string, map[string]any) (provider.Provider, error) {
	return nil, errNone
}
