//! Describes the capabilities that the engine can give to a container: not all if the engine itself runs in a container
//! or a sandbox. There, `privileged` fails, and so does adding a capability that is not available.

use caps::Capability;

/// A bounding set: bit n is capability n (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds(pub u64);

/// The capabilities that every kernel and every engine knows, up to CAP_AUDIT_READ of Linux 3.16. An engine refuses
/// names that are newer than itself, and of newer capabilities gives only those that it has.
const KNOWN: u64 = (1 << 38) - 1;

impl Bounds {
    /// Reads the set from the line `CapBnd:` of proc_pid_status(5).
    pub(crate) fn of_status(status: &str) -> Option<Self> {
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
        Bounds::parse(line.trim())
    }

    /// Reads the set from hexadecimal digits.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        u64::from_str_radix(digits, 16).ok().map(Bounds)
    }

    /// Tells whether nothing is withheld: the set has every capability up to the last that the kernel knows.
    pub(crate) fn all(self) -> bool {
        let up_to_last = self.0 & self.0.wrapping_add(1) == 0;
        up_to_last && self.0 >= KNOWN
    }

    /// Returns the names of the withheld capabilities as engines accept them: `CAP_SYS_RESOURCE`.
    pub(crate) fn withheld(self) -> Vec<String> {
        let mut withheld: Vec<Capability> =
            caps::all().into_iter().filter(|one| KNOWN & one.bitmask() & !self.0 != 0).collect();
        withheld.sort_by_key(Capability::index);
        withheld.iter().map(ToString::to_string).collect()
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withheld_capabilities_are_found() {
        let whole = Bounds::of_status("Name:\tshim\nCapBnd:\t000001ffffffffff\n").unwrap();
        assert!(whole.all());
        let bounded = Bounds::of_status("CapBnd:\t000001fffeffffff\n").unwrap();
        assert!(!bounded.all());
        assert_eq!(whole.withheld(), [""; 0]);
        assert_eq!(bounded.withheld(), ["CAP_SYS_RESOURCE"]);
        assert_eq!(Bounds::parse(&bounded.to_string()), Some(bounded));
        assert!(Bounds(0x3f_ffff_ffff).all(), "an older kernel");
        assert!(!Bounds(0xa804_25fb).all(), "what Docker gives by default");
    }
}
