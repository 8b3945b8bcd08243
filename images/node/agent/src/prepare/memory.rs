//! Protection of the components from the kernel's out-of-memory killer.

use std::fs;

use crate::console::say;
use crate::facts::{Facts, PROTECTED};

/// Protects this process and those that it starts, if the machine allows it: that needs CAP_SYS_RESOURCE.
pub(super) fn protect(facts: &Facts) {
    if !facts.oom_adjustable {
        return;
    }
    if let Err(error) = fs::write("/proc/self/oom_score_adj", PROTECTED.to_string()) {
        say(format_args!("the components are not protected when memory runs out: {error}"));
    }
}
