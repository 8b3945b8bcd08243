//! The pool of addresses for Services.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::Ipv4Net;
use kcl_node_spec::{Addresses, PerFamily};

/// Ranges of addresses, in the order of their use; of IPv4 today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    ranges: Vec<RangeInclusive<u32>>,
}

impl Pool {
    /// Returns true if the pool contains an address.
    pub(crate) fn contains(&self, address: Addresses) -> bool {
        let PerFamily::V4(address) = address else { return false };
        self.ranges.iter().any(|range| range.contains(&address.to_bits()))
    }

    /// Returns all addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Addresses> {
        self.ranges.iter().cloned().flatten().map(|bits| Ipv4Addr::from_bits(bits).into())
    }
}

/// Parses ranges `a-b`, networks `a/n` and single addresses, separated by commas or spaces. The network address and the
/// broadcast address of a network are left out.
impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        let ranges = parts.map(range).collect::<Result<Vec<_>, _>>()?;
        if ranges.is_empty() { Err("the pool has no address".to_owned()) } else { Ok(Pool { ranges }) }
    }
}

fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let wrong = |why: &str| {
        format!("the pool's {text:?} {why}: write it as 10.0.0.200-10.0.0.250, as 10.0.0.192/27, or as one address")
    };
    let address = |part: &str| part.trim().parse::<Ipv4Addr>().map_err(|_| wrong("is not of IPv4 addresses"));
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(first)?, address(last)?);
        return if first <= last { Ok(first.to_bits()..=last.to_bits()) } else { Err(wrong("ends before it begins")) };
    }
    if text.contains('/') {
        let net: Ipv4Net = text.parse().map_err(|_| wrong("is no network"))?;
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        return Ok(if net.prefix_len() < 31 { first + 1..=last - 1 } else { first..=last });
    }
    let one = address(text)?.to_bits();
    Ok(one..=one)
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let (first, last) = (Ipv4Addr::from_bits(*range.start()), Ipv4Addr::from_bits(*range.end()));
            let comma = if index == 0 { "" } else { ", " };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_networks_and_single_addresses() {
        let pool: Pool = "10.0.0.200-10.0.0.202, 10.0.1.0/30 10.0.2.7".parse().expect("a pool");
        let all: Vec<_> = pool.addresses().map(|address| address.to_string()).collect();
        assert_eq!(all, ["10.0.0.200", "10.0.0.201", "10.0.0.202", "10.0.1.1", "10.0.1.2", "10.0.2.7"]);
        assert!(pool.contains([10, 0, 0, 201].into()));
        assert!(!pool.contains([10, 0, 1, 0].into()));
        assert_eq!(pool.to_string(), "10.0.0.200-10.0.0.202, 10.0.1.1-10.0.1.2, 10.0.2.7");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, why) in [
            ("10.0.0.9-10.0.0.1", "ends before it begins"),
            ("10.0.0.9/33", "is no network"),
            ("here", "is not of IPv4 addresses"),
            (" ,", "has no address"),
        ] {
            let error = text.parse::<Pool>().expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}
