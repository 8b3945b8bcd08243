//! The context that every part of the driver shares.

use std::path::PathBuf;

use kcl_driver_oci::layout::Layout;

/// The settings that every part of the driver uses.
pub(crate) struct Context {
    pub layout: Layout,
    pub runc: Option<PathBuf>,
    pub rootfs: Option<PathBuf>,
}
