//! Paths made of the node spec's.

use std::path::{Path, PathBuf};

pub use kcl_node_spec::paths::*;

/// A program among the components.
pub fn binary(name: &str) -> PathBuf {
    Path::new(COMPONENTS).join("bin").join(name)
}

/// The plugins of the container network.
pub fn cni_plugins() -> PathBuf {
    Path::new(COMPONENTS).join("cni")
}

/// A certificate or a key, of [`pki`].
pub fn pki_file(name: &str) -> String {
    format!("{PKI}/{name}")
}

/// A configuration file that is written anew at each start.
pub fn rendered(name: &str) -> PathBuf {
    Path::new(RENDERED).join(name)
}

/// A component's log.
pub fn log(component: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{component}.log"))
}

/// Where programs are looked for by the components and by those whom they start.
pub const PATH: &str = "/opt/kcl/components/bin:/opt/kcl/components/cni:\
                        /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
