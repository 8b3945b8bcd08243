//! Names everything, and its location.
//!
//! Names on the host contain a hash of `$KCL_HOME` and the cluster, so that clusters of the same name in different
//! homes never collide.

use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use kcl_driver_api::{MachineSpec, Result};
use kcl_driver_local::names;
use sha2::{Digest, Sha256};

/// The directories of the driver.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The canonical `$KCL_HOME`, as it is hashed.
    pub home: PathBuf,
    /// The directory on a tmpfs.
    pub run: PathBuf,
}

/// The names of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterNames {
    /// The hash: eight hexadecimal digits.
    pub hash: String,
    /// The directory `$KCL_HOME/clusters/<cluster>`.
    pub dir: PathBuf,
    /// The name of the bridge; at most 15 characters, the kernel's limit.
    pub bridge: String,
    /// The name of the nftables table.
    pub table: String,
    /// The cluster's directory on the tmpfs.
    pub run: PathBuf,
}

/// The names of a machine.
#[derive(Clone, Debug)]
pub struct MachineNames {
    /// The names of the cluster.
    pub cluster: ClusterNames,
    /// The name of the cluster itself.
    pub cluster_name: String,
    /// The machine's name, which is also its id for runc.
    pub name: String,
    /// The directory `…/nodes/<name>`.
    pub dir: PathBuf,
    /// The host's end of the link.
    pub link: String,
    /// The machine's end, until it moves in and becomes `eth0`.
    pub peer: String,
    /// The machine's hardware address, which is stable so that neighbours keep it through a power cycle.
    pub mac: [u8; 6],
}

impl Layout {
    /// Returns a layout with the clusters below `home` and what a reboot removes below `run`.
    pub fn new(home: &Path, run: &Path) -> Self {
        Layout { home: names::canonical(home), run: run.to_owned() }
    }

    /// Returns the directory of all clusters.
    pub fn clusters(&self) -> PathBuf {
        self.home.join("clusters")
    }

    /// Returns the names of a cluster; an error if its own name cannot be part of them.
    pub fn cluster(&self, cluster: &str) -> Result<ClusterNames> {
        names::check("cluster", cluster)?;
        let hash = encode_string(&self.digest(&[cluster])[..4]);
        Ok(ClusterNames {
            dir: self.clusters().join(cluster),
            bridge: format!("kcl-{hash}"),
            table: format!("kcl_{hash}"),
            run: self.run.join(&hash),
            hash,
        })
    }

    /// Returns the names of a machine; an error if its own name cannot be part of them.
    pub fn machine(&self, cluster: &str, name: &str) -> Result<MachineNames> {
        names::check("machine", name)?;
        let names = self.cluster(cluster)?;
        let digest = self.digest(&[cluster, name]);
        let hash = encode_string(&digest[..4]);
        Ok(MachineNames {
            dir: names.nodes().join(name),
            cluster: names,
            cluster_name: cluster.to_owned(),
            name: name.to_owned(),
            link: format!("kv{hash}"),
            peer: format!("kp{hash}"),
            mac: mac(&digest[4..]),
        })
    }

    fn digest(&self, parts: &[&str]) -> [u8; 32] {
        let mut sha = Sha256::new();
        sha.update(self.home.as_os_str().as_encoded_bytes());
        for part in parts {
            sha.update([0]);
            sha.update(part);
        }
        sha.finalize().into()
    }
}

impl ClusterNames {
    /// Returns the directory of the cluster's machines.
    pub fn nodes(&self) -> PathBuf {
        self.dir.join("nodes")
    }

    /// Returns the file with the network as it was last requested, which a stopped cluster keeps.
    pub fn network_file(&self) -> PathBuf {
        self.dir.join("network.json")
    }

    /// Returns runc's `--root`.
    pub fn runc_root(&self) -> PathBuf {
        self.run.join("runc")
    }

    /// Returns the bridge's hardware address: without its own, a bridge takes that of a port and changes it with the
    /// ports.
    pub fn mac(&self) -> [u8; 6] {
        mac(&Sha256::digest(&self.hash))
    }
}

impl MachineNames {
    /// Returns the file of the specification; a machine without it is broken.
    pub fn spec_file(&self) -> PathBuf {
        self.dir.join("machine.json")
    }

    /// Returns the directory of what the machine wrote outside its volumes.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// Returns the overlay's work directory.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Returns the mount point of the root file system, which is mounted in namespaces of kcl only; on the host it is
    /// an empty directory.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Returns the file with the machine's console output.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Returns runc's directory for the machine.
    pub fn runc_state(&self) -> PathBuf {
        self.cluster.runc_root().join(&self.name)
    }

    /// Returns a file that exists while the machine is asked to end. It is on the tmpfs and removed with runc's state,
    /// so it ends with this run.
    pub fn stopping(&self) -> PathBuf {
        self.runc_state().join("kcl-stopping")
    }

    /// Returns the directory behind a volume, escaped as systemd escapes paths, so that no two collide.
    pub fn volume(&self, target: &Path) -> PathBuf {
        let target = target.to_string_lossy();
        let escaped: Vec<String> =
            target.split('/').filter(|part| !part.is_empty()).map(|part| part.replace('-', "\\x2d")).collect();
        self.dir.join("volumes").join(escaped.join("-"))
    }

    /// Returns the location on the host, while the machine does not run, of what is at `target` in the machine: in the
    /// innermost volume around it, or in the overlay's upper directory.
    pub fn backing(&self, spec: &MachineSpec, target: &Path) -> PathBuf {
        let volume =
            spec.volumes.iter().filter(|volume| target.starts_with(volume)).max_by_key(|v| v.components().count());
        match volume {
            Some(volume) => self.volume(volume).join(target.strip_prefix(volume).unwrap_or(target)),
            None => self.upper().join(target.strip_prefix("/").unwrap_or(target)),
        }
    }
}

/// Returns a locally administered unicast address.
fn mac(seed: &[u8]) -> [u8; 6] {
    [0x02, seed[0], seed[1], seed[2], seed[3], seed[4]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(home: &str) -> Layout {
        Layout { home: home.into(), run: "/run/kcl".into() }
    }

    #[test]
    fn names_fit_the_kernel_and_differ_by_home_cluster_and_machine() {
        let a = layout("/a").machine("kcl", "kcl-m02").unwrap();
        let b = layout("/b").machine("kcl", "kcl-m02").unwrap();
        let c = layout("/a").machine("kcl", "kcl-m03").unwrap();
        for names in [&a, &b, &c] {
            assert!(names.link.len() <= 15 && names.peer.len() <= 15 && names.cluster.bridge.len() <= 15);
            assert_eq!(names.mac[0] & 3, 2, "locally administered, unicast");
        }
        assert_ne!(a.cluster.bridge, b.cluster.bridge);
        assert_ne!(a.link, b.link);
        assert_eq!(a.cluster.bridge, c.cluster.bridge);
        assert_ne!(a.link, c.link);
        assert_ne!(a.mac, c.mac);
    }

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", "..", "a/b", ".hidden", "-flag", "a b"] {
            assert!(layout("/a").machine("kcl", name).is_err(), "{name:?}");
            assert!(layout("/a").cluster(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn volumes_do_not_collide() {
        let names = layout("/a").machine("kcl", "kcl").unwrap();
        assert_ne!(names.volume(Path::new("/a/b-c")), names.volume(Path::new("/a-b/c")));
        assert_eq!(names.volume(Path::new("/var/lib/etcd")), names.dir.join("volumes/var-lib-etcd"));
    }
}
