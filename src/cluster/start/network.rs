//! The network of a start, and the address of its API.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use kcl_driver_api::{Driver, ErrorKind, Network, NetworkSpec, Reach};
use kcl_node_spec::Subnets;

use super::planned::planned;
use super::state::save;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::plan::{Journal, Made, Observed, Plan, plan};
use crate::state::{ApiEndpoint, ClusterState};

/// Creates or repairs the network. If the subnet of a new cluster was taken since it was found free, plans again with the
/// one that is free now, and returns that plan and its state. It may be the same subnet: its taker may be gone by then.
/// Refused twice, it is no race: the driver proposes a subnet that it does not take.
pub(super) async fn ensure(
    app: &App,
    driver: &dyn Driver,
    plan: &Plan,
    state: ClusterState,
    journal: &Journal,
) -> Result<(Plan, ClusterState, Network)> {
    let (mut plan, mut state) = (plan.clone(), state);
    if plan.new {
        journal.record(Made::Network);
    }
    let mut refused = None;
    loop {
        let wanted = NetworkSpec::new(plan.cluster.clone(), plan.subnet);
        let conflict = match driver.ensure_network(&wanted).await {
            Ok(network) => return Ok((plan, state, network)),
            Err(error) if error.kind == ErrorKind::SubnetTaken && plan.new && state.spec.subnet.is_none() => error,
            Err(error) => return Err(error.into()),
        };
        let free_subnet = driver.propose_subnet(&plan.cluster).await?;
        if free_subnet == plan.subnet && refused == Some(free_subnet) {
            return Err(conflict.into());
        }
        refused = Some(plan.subnet);
        (plan, state) = elsewhere(app, driver, free_subnet, state).await?;
    }
}

/// Plans a new cluster again, in another subnet.
async fn elsewhere(
    app: &App,
    driver: &dyn Driver,
    free_subnet: Subnets,
    state: ClusterState,
) -> Result<(Plan, ClusterState)> {
    let addresses = driver.addresses().await?;
    let observed = Observed { state: None, machines: Vec::new(), free_subnet, addresses };
    let plan = plan(&state.spec, &observed)?;
    let mut nodes = planned(&plan, state.spec.clone(), Some(&state)).nodes;
    for node in &mut nodes {
        node.artifacts = state.node(&node.name).and_then(|record| record.artifacts.clone());
    }
    let state = ClusterState { subnet: plan.subnet, api_address: plan.api_address, nodes, ..state };
    save(app, &state, None)?;
    Ok((plan, state))
}

/// Gives the API of a new cluster a port that is free now, if this host does not reach its control plane by address.
pub(super) async fn publish_api(app: &App, driver: &dyn Driver, state: ClusterState) -> Result<ClusterState> {
    let Some(api) = api_endpoint(driver, &state).await?.filter(|_| state.api.is_none()) else { return Ok(state) };
    let state = ClusterState { api: Some(api), ..state };
    save(app, &state, None)?;
    Ok(state)
}

/// Returns where the API is reached if not at the address of its control plane: at a port that is free now.
async fn api_endpoint(driver: &dyn Driver, state: &ClusterState) -> Result<Option<ApiEndpoint>> {
    let Some(control_plane) = state.control_planes().next() else { return Ok(None) };
    let Reach::Published { bind, at } = driver.capabilities(&state.spec.name, &control_plane.machine).await?.reach
    else {
        return Ok(None);
    };
    // On another machine the port may be in use; the engine says so.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let port = free.map_err(|error| {
        Error::new(Id::PortTaken, format!("no free port for the API was found on {}: {error}", Ipv4Addr::LOCALHOST))
    })?;
    Ok(Some(ApiEndpoint { address: SocketAddr::new(at, port.port()), bind }))
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::DriverKind;
    use kcl_driver_fake::FakeDriver;

    use super::*;
    use crate::cluster::start::target::observe;
    use crate::config::ClusterSpec;
    use crate::progress::Progress;
    use crate::state::{Paths, Store};

    /// Ensures the network of a new cluster; each of `refusals` is the beginning of a call that ends with a conflict.
    async fn made(refusals: &[&str]) -> (Result<Network>, FakeDriver) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths { home: home.path().to_owned(), cache: home.path().join("cache") };
        let app = App { store: Store::open(paths), progress: Progress::silent() };
        let driver = FakeDriver::new();
        for call in refusals {
            driver.fail_with(call, kcl_driver_api::Error::new(ErrorKind::SubnetTaken, "eth9 has it"));
        }
        let spec = ClusterSpec { driver: Some(DriverKind::Fake), ..ClusterSpec::with_defaults("kcl") };
        let observed = observe(&driver, &spec, None).await.unwrap();
        let plan = plan(&spec, &observed).unwrap();
        let state = planned(&plan, spec, None);
        let ensured = ensure(&app, &driver, &plan, state, &Journal::default()).await;
        if let Ok((plan, state, _)) = &ensured {
            assert_eq!(plan.subnet, state.subnet);
        }
        let network = ensured.map(|(_, _, network)| network);
        (network, driver)
    }

    #[tokio::test]
    async fn a_taker_of_the_subnet_that_is_gone_is_no_reason_to_give_up() {
        let (network, driver) = made(&["ensure-network"]).await;
        assert_eq!(network.unwrap().subnet.to_string(), "10.89.0.0/24");
        assert_eq!(driver.calls(), ["ensure-network kcl 10.89.0.0/24"; 2]);
    }

    #[tokio::test]
    async fn a_driver_that_refuses_its_own_proposal_is_an_error() {
        let (network, driver) = made(&["ensure-network"; 3]).await;
        assert!(network.unwrap_err().to_string().contains("eth9 has it"));
        assert_eq!(driver.calls().len(), 2);
    }
}
