//! Nodes as OCI containers run by the bundled runc.
