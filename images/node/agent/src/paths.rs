//! Paths derived from those of the node spec.

use std::path::{Path, PathBuf};

pub(crate) use kcl_node_spec::paths::*;

/// Returns the path of a component's program.
pub(crate) fn binary(name: &str) -> PathBuf {
    Path::new(COMPONENTS).join("bin").join(name)
}

/// Returns the directory of the plugins of the container network.
pub(crate) fn cni_plugins() -> PathBuf {
    Path::new(COMPONENTS).join("cni")
}

/// Returns the path of a certificate or a key of [`pki`].
pub(crate) fn pki_file(name: &str) -> String {
    format!("{PKI}/{name}")
}

/// Returns the path of a configuration file, which is written at each start.
pub(crate) fn rendered(name: &str) -> PathBuf {
    Path::new(RENDERED).join(name)
}

/// Returns the path of a component's log.
pub(crate) fn log(component: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{component}.log"))
}

/// The search path for programs, for the components and their children.
pub(crate) const PATH: &str = "/opt/kcl/components/bin:/opt/kcl/components/cni:\
                        /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
