//! The two families of IP: an address or a network of something, in each family that it has.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value for one or both IP families. Its text, also in JSON, is one value or both separated by a comma, with that of
/// IPv4 first, as in the flags of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PerFamily<V4, V6> {
    /// The value of IPv4 only.
    V4(V4),
    /// The value of IPv6 only.
    V6(V6),
    /// The values of a dual stack.
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

    /// Returns the networks of all addresses in the same families.
    pub fn everywhere(self) -> Subnets {
        self.map(|_| Ipv4Net::default(), |_| Ipv6Net::default())
    }

    /// Changes the value of each family.
    pub fn map<A, B>(self, v4: impl FnOnce(V4) -> A, v6: impl FnOnce(V6) -> B) -> PerFamily<A, B> {
        match self {
            PerFamily::V4(a) => PerFamily::V4(v4(a)),
            PerFamily::V6(b) => PerFamily::V6(v6(b)),
            PerFamily::Both(a, b) => PerFamily::Both(v4(a), v6(b)),
        }
    }
}

impl<V4, V6> PerFamily<Option<V4>, Option<V6>> {
    /// Returns the values, if there is one for each family.
    pub fn transpose(self) -> Option<PerFamily<V4, V6>> {
        Some(match self {
            PerFamily::V4(a) => PerFamily::V4(a?),
            PerFamily::V6(b) => PerFamily::V6(b?),
            PerFamily::Both(a, b) => PerFamily::Both(a?, b?),
        })
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
    /// Returns the first address of each family, if there is any.
    pub fn first_of(addresses: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        addresses.into_iter().map(Addresses::from).reduce(|all, next| match (all, next) {
            (PerFamily::V4(v4), PerFamily::V6(v6)) | (PerFamily::V6(v6), PerFamily::V4(v4)) => PerFamily::Both(v4, v6),
            (all, _) => all,
        })
    }

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

    /// Returns true if each of the addresses is in the network of its family.
    pub fn contains(self, addresses: impl Into<Addresses>) -> bool {
        addresses.into().iter().all(|address| self.iter().any(|net| net.contains(&address)))
    }

    /// Returns true if an address is in networks of both.
    pub fn overlaps(self, other: Subnets) -> bool {
        let meet = |a: IpNet, b: IpNet| a.contains(&b.network()) || b.contains(&a.network());
        self.iter().any(|own| other.iter().any(|net| meet(own, net)))
    }

    /// Returns the networks without the bits that their prefixes do not cover.
    pub fn trunc(self) -> Subnets {
        self.map(|net| net.trunc(), |net| net.trunc())
    }

    /// Returns the first addresses, which are the networks' own.
    pub fn network(self) -> Addresses {
        self.map(|net| net.network(), |net| net.network())
    }

    /// Returns the addresses that hosts can have, in order; of dual stack, as many as both networks have.
    pub fn hosts(self) -> impl Iterator<Item = Addresses> {
        let mut v4 = self.v4().map(|net| net.hosts());
        // The first address of an IPv6 network is that of all its routers (RFC 4291, 2.6.1).
        let mut v6 = self.v6().map(|net| net.hosts().skip(1));
        std::iter::from_fn(move || {
            let next = (v4.as_mut().map(Iterator::next), v6.as_mut().map(Iterator::next));
            match next {
                (Some(v4), Some(v6)) => PerFamily::Both(v4, v6).transpose(),
                (Some(v4), None) => v4.map(PerFamily::V4),
                (None, Some(v6)) => v6.map(PerFamily::V6),
                (None, None) => None,
            }
        })
    }

    /// Returns each network with the router of the same family.
    pub fn via(self, router: Addresses) -> impl Iterator<Item = (IpNet, IpAddr)> {
        let v4 = self.v4().zip(router.v4()).map(|(net, router)| (net.into(), router.into()));
        let v6 = self.v6().zip(router.v6()).map(|(net, router)| (net.into(), router.into()));
        v4.into_iter().chain(v6)
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        PerFamily::V4(address)
    }
}

impl From<[u8; 4]> for Addresses {
    fn from(octets: [u8; 4]) -> Self {
        PerFamily::V4(octets.into())
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
    fn the_first_address_of_each_family_counts() {
        let first = |text: &str| {
            let all = text.split_whitespace().map(|address| address.parse().unwrap());
            Addresses::first_of(all).map(|addresses| addresses.to_string())
        };
        assert_eq!(first("fd00::1 10.0.0.1 10.0.0.2 fd00::2").as_deref(), Some("10.0.0.1,fd00::1"));
        assert_eq!(first("10.0.0.1 10.0.0.2").as_deref(), Some("10.0.0.1"));
        assert_eq!(first(""), None);
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
        assert!(both.contains(Ipv4Addr::new(10, 0, 0, 9)) && !both.contains(Ipv4Addr::new(10, 0, 1, 9)));
        let contains = |text: &str| both.contains(text.parse::<Addresses>().unwrap());
        assert!(contains("fd00::9") && !contains("fd01::9"));
        assert!(contains("10.0.0.9,fd00::9") && !contains("10.0.0.9,fd01::9"));
        assert!(both.overlaps("fd00::/16".parse().unwrap()) && !both.overlaps("10.1.0.0/16".parse().unwrap()));
        assert_eq!(both.primary().to_string(), "10.0.0.0/24");
    }

    #[test]
    fn hosts_of_both_families_go_together() {
        let hosts = |text: &str| -> Vec<String> {
            text.parse::<Subnets>().unwrap().hosts().map(|host| host.to_string()).take(3).collect()
        };
        assert_eq!(hosts("10.0.0.0/24"), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(hosts("fd00::/64"), ["fd00::1", "fd00::2", "fd00::3"]);
        assert_eq!(hosts("10.0.0.0/30,fd00::/64"), ["10.0.0.1,fd00::1", "10.0.0.2,fd00::2"]);
    }

    #[test]
    fn networks_have_routers_of_their_family() {
        let via = |net: &str, router: &str| -> Vec<String> {
            let pairs = net.parse::<Subnets>().unwrap().via(router.parse().unwrap());
            pairs.map(|(to, via)| format!("{to} {via}")).collect()
        };
        assert_eq!(via("0.0.0.0/0,::/0", "10.0.0.1,fd00::1"), ["0.0.0.0/0 10.0.0.1", "::/0 fd00::1"]);
        assert_eq!(via("0.0.0.0/0,::/0", "fd00::1"), ["::/0 fd00::1"]);
        assert!(via("0.0.0.0/0", "fd00::1").is_empty());
    }
}
