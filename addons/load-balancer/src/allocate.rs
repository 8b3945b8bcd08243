//! Allocates the addresses of the pool to Services: a pure function of the requests and of the current addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kcl_node_spec::Addresses;

use crate::objects::Key;
use crate::pool::Pool;

/// A Service that needs an address. Requests are sorted oldest first: of two with the same claim, the older one wins.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The key of the Service.
    pub key: Key,
    /// The address that the Service requests, as written.
    pub wanted: Option<String>,
    /// The address that the Service has.
    pub held: Option<Addresses>,
}

/// The reason why a request is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// All addresses are in use.
    Exhausted {
        /// The pool of the load balancer.
        pool: String,
    },
    /// The address belongs to another Service.
    Taken {
        /// The requested address.
        address: Addresses,
        /// The Service that has the address.
        by: Key,
    },
    /// The address belongs to a node.
    OfANode {
        /// The requested address.
        address: Addresses,
    },
    /// The pool does not have the address.
    Outside {
        /// The requested address.
        wanted: String,
        /// The pool of the load balancer.
        pool: String,
    },
    /// Another Service has the port on the nodes' addresses.
    PortTaken {
        /// The port, with its protocol.
        port: String,
        /// The owner of the port.
        by: String,
    },
}

impl Problem {
    /// Returns the machine-readable reason of the Event.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Problem::Exhausted { .. } => "AddressPoolExhausted",
            Problem::Taken { .. } | Problem::OfANode { .. } => "AddressTaken",
            Problem::Outside { .. } => "AddressOutsidePool",
            Problem::PortTaken { .. } => "PortTaken",
        }
    }
}

/// Formats the problem and its remedy.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Exhausted { pool } => write!(
                f,
                "all addresses of the pool {pool} are in use; delete a Service of type LoadBalancer, or give the \
                 addon a larger pool: kcl addons configure load-balancer"
            ),
            Problem::Taken { address, by } => {
                write!(f, "{address} is the address of Service {by}; request another one, or none for any")
            }
            Problem::OfANode { address } => {
                write!(f, "{address} is the address of a node; request another one, or none for any")
            }
            Problem::Outside { wanted, pool } => write!(
                f,
                "{wanted:?} is not an address of the pool {pool}; request one of these, or give the addon another pool: \
                 kcl addons configure load-balancer"
            ),
            Problem::PortTaken { port, by } => write!(
                f,
                "port {port} is in use by {by}, and Services have the addresses of the nodes in this cluster; choose \
                 another port"
            ),
        }
    }
}

/// The address that a Service gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The address of the Service.
    pub address: Option<Addresses>,
    /// The reason why it is not the requested one.
    pub problem: Option<Problem>,
}

/// Allocates addresses, except those of `nodes`. A Service keeps a valid address until it requests another one that is
/// available.
pub(crate) fn allocate(pool: &Pool, nodes: &BTreeSet<Addresses>, requests: &[Request]) -> BTreeMap<Key, Grant> {
    let usable = |address: &Addresses| pool.contains(*address) && !is_of_a_node(nodes, *address);
    let mut owners: BTreeMap<Addresses, &Key> = BTreeMap::new();
    let mut grants: BTreeMap<Key, Grant> = BTreeMap::new();
    for request in requests {
        let held = request.held.filter(usable).filter(|address| !owners.contains_key(address));
        if let Some(address) = held {
            owners.insert(address, &request.key);
        }
        grants.insert(request.key.clone(), Grant { address: held, problem: None });
    }
    for request in requests {
        let (Some(wanted), Some(grant)) = (&request.wanted, grants.get_mut(&request.key)) else { continue };
        match claim(wanted, pool, nodes, &owners, &request.key) {
            Ok(address) => {
                if let Some(before) = grant.address.replace(address) {
                    owners.remove(&before);
                }
                owners.insert(address, &request.key);
            }
            Err(problem) => grant.problem = Some(problem),
        }
    }
    let mut free = pool.addresses().filter(usable);
    for request in requests.iter().filter(|request| request.wanted.is_none()) {
        let Some(grant) = grants.get_mut(&request.key).filter(|grant| grant.address.is_none()) else { continue };
        grant.address = free.find(|address| !owners.contains_key(address));
        if grant.address.is_none() {
            grant.problem = Some(Problem::Exhausted { pool: pool.to_string() });
        }
    }
    grants
}

fn is_of_a_node(nodes: &BTreeSet<Addresses>, address: Addresses) -> bool {
    nodes.iter().any(|node| node.overlaps(address))
}

fn claim(
    wanted: &str,
    pool: &Pool,
    nodes: &BTreeSet<Addresses>,
    owners: &BTreeMap<Addresses, &Key>,
    own: &Key,
) -> Result<Addresses, Problem> {
    let within = wanted.trim().parse().ok().filter(|address| pool.contains(*address));
    let outside = || Problem::Outside { wanted: wanted.to_owned(), pool: pool.to_string() };
    let address = within.ok_or_else(outside)?;
    match owners.get(&address) {
        Some(owner) if *owner != own => Err(Problem::Taken { address, by: (*owner).clone() }),
        _ if is_of_a_node(nodes, address) => Err(Problem::OfANode { address }),
        _ => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ip, key};

    fn request(name: &str, wanted: Option<&str>, held: Option<u8>) -> Request {
        Request { key: key(name), wanted: wanted.map(str::to_owned), held: held.map(ip) }
    }

    fn run(requests: &[Request]) -> BTreeMap<Key, Grant> {
        let pool = "10.0.0.200-10.0.0.203".parse().expect("a pool");
        allocate(&pool, &[ip(2), ip(202)].into(), requests)
    }

    fn address(grants: &BTreeMap<Key, Grant>, name: &str) -> Option<Addresses> {
        grants[&key(name)].address
    }

    #[test]
    fn each_gets_its_own_and_nodes_keep_theirs() {
        let grants = run(&[request("a", None, None), request("b", None, None), request("c", None, None)]);
        assert_eq!(address(&grants, "a"), Some(ip(200)));
        assert_eq!(address(&grants, "b"), Some(ip(201)));
        assert_eq!(address(&grants, "c"), Some(ip(203)), "202 is a node's");
        assert!(grants.values().all(|grant| grant.problem.is_none()));
    }

    #[test]
    fn what_is_held_is_kept() {
        let grants = run(&[request("a", None, None), request("b", None, Some(200)), request("c", None, Some(203))]);
        assert_eq!(address(&grants, "a"), Some(ip(201)));
        assert_eq!(address(&grants, "b"), Some(ip(200)));
        assert_eq!(address(&grants, "c"), Some(ip(203)));
    }

    #[test]
    fn what_is_held_must_be_of_the_pool_and_the_older_one_has_it() {
        let requests =
            [request("old", None, Some(201)), request("young", None, Some(201)), request("moved", None, Some(9))];
        let grants = run(&requests);
        assert_eq!(address(&grants, "old"), Some(ip(201)));
        assert_eq!(address(&grants, "young"), Some(ip(200)));
        assert_eq!(address(&grants, "moved"), Some(ip(203)));
    }

    #[test]
    fn an_exhausted_pool_is_told_and_the_next_free_address_is_given() {
        let mut requests: Vec<_> = [200, 201, 203].map(|last| request(&format!("has-{last}"), None, Some(last))).into();
        requests.push(request("late", None, None));
        let grants = run(&requests);
        assert_eq!(address(&grants, "late"), None);
        let problem = grants[&key("late")].problem.clone().expect("a problem");
        assert_eq!(problem.reason(), "AddressPoolExhausted");
        assert!(problem.to_string().contains("10.0.0.200-10.0.0.203"), "{problem}");
        requests.remove(1);
        assert_eq!(address(&run(&requests), "late"), Some(ip(201)));
    }

    #[test]
    fn a_wanted_address_goes_before_any_other() {
        let grants = run(&[request("any", None, None), request("picky", Some("10.0.0.200"), None)]);
        assert_eq!(address(&grants, "picky"), Some(ip(200)));
        assert_eq!(address(&grants, "any"), Some(ip(201)));
    }

    #[test]
    fn a_wanted_address_that_cannot_be_had() {
        let requests = [
            request("has", None, Some(200)),
            request("late", Some("10.0.0.200"), None),
            request("keeps", Some("10.0.0.200"), Some(201)),
            request("out", Some("10.0.0.9"), None),
            request("node", Some("10.0.0.202"), None),
            request("word", Some("mine"), None),
        ];
        let grants = run(&requests);
        let reason = |name: &str| grants[&key(name)].problem.as_ref().map(Problem::reason);
        assert_eq!((address(&grants, "late"), reason("late")), (None, Some("AddressTaken")));
        assert_eq!((address(&grants, "keeps"), reason("keeps")), (Some(ip(201)), Some("AddressTaken")));
        assert_eq!((address(&grants, "out"), reason("out")), (None, Some("AddressOutsidePool")));
        assert_eq!((address(&grants, "node"), reason("node")), (None, Some("AddressTaken")));
        assert_eq!((address(&grants, "word"), reason("word")), (None, Some("AddressOutsidePool")));
    }

    #[test]
    fn who_moves_frees_what_it_had() {
        let grants = run(&[request("moves", Some("10.0.0.203"), Some(200)), request("next", None, None)]);
        assert_eq!(address(&grants, "moves"), Some(ip(203)));
        assert_eq!(address(&grants, "next"), Some(ip(200)));
    }
}
