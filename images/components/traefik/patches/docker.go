// Package docker stands in for the providers of Docker and Swarm and the engine's client.
package docker

import (
	"errors"

	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// The names in the configuration.
const (
	DockerName = "docker"
	SwarmName  = "swarm"
)

// Provider provides nothing. It has the fields that the configuration's own code asks for.
type Provider struct {
	HTTPClientTimeout ptypes.Duration
}

// SwarmProvider provides nothing.
type SwarmProvider struct {
	Provider
	RefreshSeconds ptypes.Duration
}

// Init fails.
func (*Provider) Init() error {
	return errors.New("this build of Traefik has no provider for Docker")
}

// Provide is not called.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error {
	return nil
}
