//! The floor: etcd and kube-apiserver alone, from nothing to `/readyz`, with the certificates and the security of a
//! cluster's control plane, on loopback.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kcl::kubernetes::{self, Access};
use kcl::pki::{ClusterIdentity, NodeIdentity, Pki};
use kcl_node_spec::{Role, paths};

use crate::cluster::Cluster;

/// A process that is ended when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures the floor once. Certificates are created before, as they do not count.
pub(crate) fn measure(cluster: &Cluster) -> Result<Duration, Box<dyn Error>> {
    let binaries = cluster.artifacts()?.components.join("bin");
    let dir = tempfile::tempdir_in(cluster.directory())?;
    let root = dir.path();
    let access = certificates(root)?;
    let [client, peer, api] = free_ports()?;
    let pki = |name: &str| root.join(&paths::PKI[1..]).join(name).display().to_string();
    let log = |name: &str| -> std::io::Result<Stdio> { Ok(std::fs::File::create(root.join(name))?.into()) };

    let begun = Instant::now();
    let etcd = Command::new(binaries.join("etcd"))
        .args(["--name=floor", "--heartbeat-interval=10", "--election-timeout=100", "--log-level=warn"])
        .arg(format!("--data-dir={}", root.join("etcd").display()))
        .arg(format!("--listen-client-urls=https://127.0.0.1:{client}"))
        .arg(format!("--advertise-client-urls=https://127.0.0.1:{client}"))
        .arg(format!("--listen-peer-urls=https://127.0.0.1:{peer}"))
        .arg(format!("--initial-advertise-peer-urls=https://127.0.0.1:{peer}"))
        .arg(format!("--initial-cluster=floor=https://127.0.0.1:{peer}"))
        .args(["--client-cert-auth=true", "--peer-client-cert-auth=true"])
        .arg(format!("--trusted-ca-file={}", pki(paths::pki::ETCD_CA_CERT)))
        .arg(format!("--cert-file={}", pki(paths::pki::ETCD_SERVER_CERT)))
        .arg(format!("--key-file={}", pki(paths::pki::ETCD_SERVER_KEY)))
        .arg(format!("--peer-trusted-ca-file={}", pki(paths::pki::ETCD_CA_CERT)))
        .arg(format!("--peer-cert-file={}", pki(paths::pki::ETCD_PEER_CERT)))
        .arg(format!("--peer-key-file={}", pki(paths::pki::ETCD_PEER_KEY)))
        .stderr(log("etcd.log")?)
        .spawn()
        .map(Process)?;
    let api_server = Command::new(binaries.join("kube-apiserver"))
        // An API server does not advertise loopback; this address is reserved (RFC 5737).
        .args(["--bind-address=127.0.0.1", "--advertise-address=192.0.2.1"])
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
        .args(["--service-cluster-ip-range=10.96.0.0/16", "--profiling=false"])
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg(format!("--secure-port={api}"))
        .arg(format!("--etcd-servers=https://127.0.0.1:{client}"))
        .arg(format!("--etcd-cafile={}", pki(paths::pki::ETCD_CA_CERT)))
        .arg(format!("--etcd-certfile={}", pki(paths::pki::ETCD_CLIENT_CERT)))
        .arg(format!("--etcd-keyfile={}", pki(paths::pki::ETCD_CLIENT_KEY)))
        .arg(format!("--client-ca-file={}", pki(paths::pki::CA_CERT)))
        .arg(format!("--tls-cert-file={}", pki(paths::pki::API_SERVER_CERT)))
        .arg(format!("--tls-private-key-file={}", pki(paths::pki::API_SERVER_KEY)))
        .arg(format!("--service-account-key-file={}", pki(paths::pki::SA_PUB)))
        .arg(format!("--service-account-signing-key-file={}", pki(paths::pki::SA_KEY)))
        .arg(format!("--encryption-provider-config={}", root.join(&paths::ENCRYPTION_CONF[1..]).display()))
        .stderr(log("kube-apiserver.log")?)
        .spawn()
        .map(Process)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let access = Access { server: format!("https://127.0.0.1:{api}"), ..access };
    let ready = runtime.block_on(async {
        let client = kubernetes::connect(&access)?;
        let answers = async {
            while !kubernetes::ready(&client).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ready = tokio::time::timeout(Duration::from_secs(120), answers).await.map(|()| begun.elapsed());
        Ok::<_, Box<dyn Error>>(ready)
    })?;
    drop((api_server, etcd));
    ready.map_err(|_| "kube-apiserver alone did not become ready within 120 s".into())
}

/// Writes the files of a control plane below `root`.
fn certificates(root: &Path) -> Result<Access, Box<dyn Error>> {
    let now = jiff::Timestamp::now();
    let pki = Pki::open_or_create(&root.join("pki"), "floor", now)?;
    let node = NodeIdentity { name: "floor".to_owned(), role: Role::ControlPlane, address: Ipv4Addr::LOCALHOST.into() };
    let cluster = ClusterIdentity {
        cluster: "floor".to_owned(),
        dns_domain: "cluster.local".to_owned(),
        service_cidr: "10.96.0.0/16".parse()?,
        apiserver_names: Vec::new(),
        apiserver_ips: Vec::new(),
        expiration: Duration::from_secs(3600 * 24),
    };
    for file in pki.node_files(&node, &cluster, now)?.files {
        let path = root.join(file.path.strip_prefix("/")?);
        std::fs::create_dir_all(path.parent().ok_or("a file has a parent")?)?;
        std::fs::write(path, file.content)?;
    }
    Ok(Access { server: String::new(), credentials: pki.admin_credentials(cluster.expiration, now)? })
}

/// Returns free ports.
fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut sockets = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let socket = TcpListener::bind(("127.0.0.1", 0))?;
        *port = socket.local_addr()?.port();
        sockets.push(socket);
    }
    Ok(ports)
}
