//! The two families of IP: an address or a network of something, in each family that it has.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value for each IP family, of which there is at least one. Its text, in JSON too, is one value or both with a comma
/// between them, the one of IPv4 first, as the flags of Kubernetes have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PerFamily<V4, V6> {
    /// IPv4 only.
    V4(V4),
    /// IPv6 only.
    V6(V6),
    /// Dual stack.
    Both(V4, V6),
}

/// The addresses of one interface or host.
pub type Addresses = PerFamily<Ipv4Addr, Ipv6Addr>;
/// The address ranges of one network.
pub type Subnets = PerFamily<Ipv4Net, Ipv6Net>;

impl<V4: Copy, V6: Copy> PerFamily<V4, V6> {
    /// Returns the value of IPv4.
    pub fn v4(self) -> Option<V4> {
        match self {
            PerFamily::V4(v4) | PerFamily::Both(v4, _) => Some(v4),
            PerFamily::V6(_) => None,
        }
    }

    /// Returns the value of IPv6.
    pub fn v6(self) -> Option<V6> {
        match self {
            PerFamily::V6(v6) | PerFamily::Both(_, v6) => Some(v6),
            PerFamily::V4(_) => None,
        }
    }
}

impl<V4: Copy + Display, V6: Copy + Display> PerFamily<V4, V6> {
    /// Returns the value of IPv4, for code that knows no other family.
    ///
    /// # Errors
    /// The value is of IPv6 only.
    pub fn require_v4(self) -> Result<V4, NoIpv4> {
        self.v4().ok_or_else(|| NoIpv4(self.to_string()))
    }
}

impl Addresses {
    /// Returns the address that stands for all: that of IPv4, else that of IPv6.
    pub fn primary(self) -> IpAddr {
        match self {
            PerFamily::V4(v4) | PerFamily::Both(v4, _) => v4.into(),
            PerFamily::V6(v6) => v6.into(),
        }
    }

    /// Returns the addresses as one type, that of IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.v4().map(IpAddr::V4).into_iter().chain(self.v6().map(IpAddr::V6))
    }

    /// Returns true if an address is in both.
    pub fn overlaps(self, other: Addresses) -> bool {
        self.iter().any(|own| other.iter().any(|address| own == address))
    }
}

impl Subnets {
    /// Returns the network that stands for all: that of IPv4, else that of IPv6.
    pub fn primary(self) -> IpNet {
        match self {
            PerFamily::V4(v4) | PerFamily::Both(v4, _) => v4.into(),
            PerFamily::V6(v6) => v6.into(),
        }
    }

    /// Returns the networks as one type, that of IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = IpNet> {
        self.v4().map(IpNet::V4).into_iter().chain(self.v6().map(IpNet::V6))
    }

    /// Returns true if the address is in one of the networks.
    pub fn contains(self, address: IpAddr) -> bool {
        self.iter().any(|net| net.contains(&address))
    }

    /// Returns true if an address is in networks of both.
    pub fn overlaps(self, other: Subnets) -> bool {
        let meet = |a: IpNet, b: IpNet| a.contains(&b.network()) || b.contains(&a.network());
        self.iter().any(|own| other.iter().any(|net| meet(own, net)))
    }

    /// Returns the address at this place in each network, counted from the network's own; none where a network is too small.
    pub fn nth(self, index: u32) -> Option<Addresses> {
        let v4 = |net: Ipv4Net| {
            let address = Ipv4Addr::from_bits(net.network().to_bits().checked_add(index)?);
            net.contains(&address).then_some(address)
        };
        let v6 = |net: Ipv6Net| {
            let address = Ipv6Addr::from_bits(net.network().to_bits().checked_add(index.into())?);
            net.contains(&address).then_some(address)
        };
        Some(match self {
            PerFamily::V4(net) => PerFamily::V4(v4(net)?),
            PerFamily::V6(net) => PerFamily::V6(v6(net)?),
            PerFamily::Both(a, b) => PerFamily::Both(v4(a)?, v6(b)?),
        })
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        PerFamily::V4(address)
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => PerFamily::V4(address),
            IpAddr::V6(address) => PerFamily::V6(address),
        }
    }
}

impl From<Ipv4Net> for Subnets {
    fn from(net: Ipv4Net) -> Self {
        PerFamily::V4(net)
    }
}

impl From<IpNet> for Subnets {
    fn from(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => PerFamily::V4(net),
            IpNet::V6(net) => PerFamily::V6(net),
        }
    }
}

impl<V4: Display, V6: Display> Display for PerFamily<V4, V6> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            PerFamily::V4(v4) => v4.fmt(f),
            PerFamily::V6(v6) => v6.fmt(f),
            PerFamily::Both(v4, v6) => write!(f, "{v4},{v6}"),
        }
    }
}

impl<V4: FromStr, V6: FromStr> FromStr for PerFamily<V4, V6> {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let both = || {
            let (v4, v6) = text.split_once(',')?;
            Some(PerFamily::Both(v4.parse().ok()?, v6.parse().ok()?))
        };
        let v4 = || text.parse().ok().map(PerFamily::V4);
        let v6 = || text.parse().ok().map(PerFamily::V6);
        v4().or_else(v6).or_else(both).ok_or_else(|| ParseError(text.to_owned()))
    }
}

impl<V4: Display, V6: Display> Serialize for PerFamily<V4, V6> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, V4: FromStr, V6: FromStr> Deserialize<'de> for PerFamily<V4, V6> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The error of a text that is of neither family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl Display for ParseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not of IPv4, of IPv6, or of both with a comma between them", self.0)
    }
}

impl std::error::Error for ParseError {}

/// The error of a value without IPv4 where that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoIpv4(String);

impl Display for NoIpv4 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} is of IPv6 only, where IPv4 is needed", self.0)
    }
}

impl std::error::Error for NoIpv4 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_one_value_or_both() {
        for text in ["10.0.0.1", "fd00::1", "10.0.0.1,fd00::1"] {
            let addresses: Addresses = text.parse().unwrap();
            assert_eq!(addresses.to_string(), text);
            let json = serde_json::to_string(&addresses).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Addresses>(&json).unwrap(), addresses);
        }
        for text in ["10.0.0.0/8", "fd00::/64", "10.0.0.0/8,fd00::/64"] {
            assert_eq!(text.parse::<Subnets>().unwrap().to_string(), text);
        }
        for text in ["", ",", "x", "10.0.0.1,", "fd00::1,10.0.0.1", "10.0.0.1,10.0.0.2", "10.0.0.0/8"] {
            assert!(text.parse::<Addresses>().unwrap_err().to_string().contains(&format!("\"{text}\"")));
        }
    }

    #[test]
    fn ipv4_stands_for_all_where_there_is_some() {
        let both: Addresses = "10.0.0.1,fd00::1".parse().unwrap();
        assert_eq!(both.primary(), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(both.iter().count(), 2);
        assert!(both.overlaps("fd00::1".parse().unwrap()));
        let v6: Addresses = "fd00::1".parse().unwrap();
        assert_eq!((v6.primary().to_string(), v6.v4()), ("fd00::1".to_owned(), None));
        assert!(!v6.overlaps("10.0.0.1".parse().unwrap()));
        assert!(v6.require_v4().unwrap_err().to_string().starts_with("fd00::1 is of IPv6 only"));
    }

    #[test]
    fn networks_contain_addresses_of_their_family() {
        let both: Subnets = "10.0.0.0/24,fd00::/64".parse().unwrap();
        assert!(both.contains([10, 0, 0, 9].into()) && both.contains("fd00::9".parse().unwrap()));
        assert!(!both.contains([10, 0, 1, 9].into()) && !both.contains("fd01::9".parse().unwrap()));
        assert!(both.overlaps("fd00::/16".parse().unwrap()) && !both.overlaps("10.1.0.0/16".parse().unwrap()));
        assert_eq!(both.primary().to_string(), "10.0.0.0/24");
    }

    #[test]
    fn addresses_of_a_network_are_counted_from_its_own() {
        let both: Subnets = "10.0.0.0/24,fd00::/64".parse().unwrap();
        assert_eq!(both.nth(10).unwrap().to_string(), "10.0.0.10,fd00::a");
        assert_eq!(both.nth(256), None);
        assert_eq!("255.255.255.255/32".parse::<Subnets>().unwrap().nth(1), None);
    }
}
