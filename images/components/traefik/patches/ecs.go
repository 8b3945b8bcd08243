// Package ecs stands in for the provider of Amazon's ECS, whose client of EC2 takes a minute to compile.
package ecs

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// ProviderName is the name in the configuration.
const ProviderName = "ecs"

// Provider provides nothing.
type Provider struct{}

// Init fails.
func (*Provider) Init() error {
	return errors.New("this build of Traefik has no provider for ECS")
}

// Provide is not called.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error {
	return nil
}
