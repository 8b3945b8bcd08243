//! Three nodes, and all that people do with them.

mod command;
mod crashes;
mod nodes;
mod reach;
mod security;

use crate::policies::Guarded;
use crate::support::Home;

#[test]
fn three_nodes() {
    let home = Home::new("three-nodes");
    let cluster = home.start("three", &["--nodes", "3"]);
    home.step("nodes are what the list says");
    nodes::are_what_the_list_says(&cluster);

    let web = reach::Web::deploy(&cluster);
    home.step("pods reach pods and services on all nodes");
    web.every_pod_reaches_every_pod_and_service();
    home.step("names");
    web.names_resolve();
    home.step("large bodies between nodes");
    web.large_bodies_cross_nodes();
    home.step("ports of nodes");
    web.node_ports_and_host_ports_answer_the_host();
    home.step("URLs of services");
    web.services_have_urls_that_work();
    home.step("pods reach the host");
    web.pods_reach_the_host_by_its_name();
    home.step("exec, logs, cp, port-forward");
    web.exec_logs_cp_and_port_forward();
    home.step("stateful set");
    reach::a_stateful_set_has_names_and_places(&cluster);

    home.step("network policies");
    let guarded = Guarded::deploy(&cluster);
    guarded.policies_hold();

    home.step("strangers");
    security::strangers_are_refused(&cluster);
    home.step("a kubelet's credentials");
    security::a_kubelet_may_only_speak_for_its_own_node(&cluster);
    home.step("secrets at rest");
    security::secrets_are_encrypted_at_rest(&cluster);
    home.step("nothing listens on the host");
    security::nothing_listens_on_the_host(&cluster);

    home.step("status, ssh, logs");
    command::status_is_an_array_of_good_news(&cluster);
    command::ssh_passes_arguments_and_exit_codes(&cluster);
    command::logs_are_shown_and_packed(&cluster);
    home.step("a second start");
    command::a_second_start_changes_nothing(&cluster);

    home.step("components are killed");
    crashes::every_component_comes_back(&cluster);
    guarded.policies_still_hold();
    home.step("etcd is killed under load");
    crashes::etcd_loses_nothing_that_was_acknowledged(&cluster);
}
