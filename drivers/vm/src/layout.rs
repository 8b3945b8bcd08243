//! The names and places of everything.
//!
//! Names outside of `$KCL_HOME` carry a hash of its random number and the cluster, so that clusters of the same name in
//! different homes never meet.

use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use kcl_driver_api::Result;
use kcl_driver_local::names;
use sha2::{Digest, Sha256};

/// The directories of a driver.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The home `$KCL_HOME`, canonical, as it goes into hashes.
    home: PathBuf,
    /// A directory that a reboot empties, with a short path: addresses of sockets have 107 bytes (unix(7)).
    run: PathBuf,
    /// The driver's word for a machine: it sees no machine of another driver.
    kind: &'static str,
}

/// The names of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterNames {
    /// The cluster's name.
    pub name: String,
    /// The hash: eight hexadecimal digits.
    pub hash: String,
    /// The directory `$KCL_HOME/clusters/<cluster>`.
    pub dir: PathBuf,
    /// The directory of the cluster that a reboot empties.
    pub run: PathBuf,
    kind: &'static str,
}

/// The names of a machine.
#[derive(Clone, Debug)]
pub struct MachineNames {
    /// The names of the cluster.
    pub cluster: ClusterNames,
    /// The machine's name.
    pub name: String,
    /// The hash: eight hexadecimal digits.
    pub hash: String,
    /// The directory `…/vms/<name>` or the like.
    pub dir: PathBuf,
    /// The directory of the machine that a reboot empties: sockets, the process's number.
    pub run: PathBuf,
    /// The hardware address of the machine's first interface. The next ones differ in the last byte.
    pub mac: [u8; 6],
}

impl Layout {
    /// Returns the layout of machines below `home` for the driver that calls them `kind`.
    pub fn new(home: &Path, run: &Path, kind: &'static str) -> Self {
        Layout { home: names::canonical(home), run: run.to_owned(), kind }
    }

    /// Returns `$KCL_HOME`, canonical.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Returns the directory of all clusters.
    pub fn clusters(&self) -> PathBuf {
        self.home.join("clusters")
    }

    /// Returns the names of a cluster.
    ///
    /// # Errors
    /// `State` for an invalid name.
    pub fn cluster(&self, cluster: &str) -> Result<ClusterNames> {
        names::check("cluster", cluster)?;
        let hash = encode_string(&self.digest(&[cluster])?[..4]);
        let (dir, run) = (self.clusters().join(cluster), self.run.join(&hash));
        Ok(ClusterNames { name: cluster.to_owned(), hash, dir, run, kind: self.kind })
    }

    /// Returns the names of a machine.
    ///
    /// # Errors
    /// `State` for an invalid name.
    pub fn machine(&self, cluster: &str, name: &str) -> Result<MachineNames> {
        names::check("machine", name)?;
        let cluster = self.cluster(cluster)?;
        let digest = self.digest(&[&cluster.name, name])?;
        let hash = encode_string(&digest[..4]);
        Ok(MachineNames {
            dir: cluster.machines().join(name),
            run: cluster.run.join(&hash),
            mac: [0x02, digest[4], digest[5], digest[6], digest[7], digest[8]],
            name: name.to_owned(),
            cluster,
            hash,
        })
    }

    /// Returns the digest of a cluster, or of a cluster and a machine.
    fn digest(&self, parts: &[&str]) -> Result<[u8; 32]> {
        let mut sha = Sha256::new();
        match names::identity(&self.home, parts.first().unwrap_or(&""))? {
            Some(number) => sha.update(number),
            None => sha.update(self.home.as_os_str().as_encoded_bytes()),
        }
        for part in parts {
            sha.update([0]);
            sha.update(part);
        }
        Ok(sha.finalize().into())
    }
}

impl ClusterNames {
    /// Returns the directory of the cluster's machines of this driver.
    pub fn machines(&self) -> PathBuf {
        self.dir.join(format!("{}s", self.kind))
    }

    /// Returns the record of the network as it was requested last, which a stopped cluster keeps.
    pub fn network_file(&self) -> PathBuf {
        self.dir.join(format!("{}-network.json", self.kind))
    }
}

impl MachineNames {
    /// Returns the file of the specification; a machine without it is broken.
    pub fn spec_file(&self) -> PathBuf {
        self.dir.join("machine.json")
    }

    /// Returns the disk that the machine writes to.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data.ext4")
    }

    /// Returns the initrd of the last boot.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// Returns the directory of files for the next boot.
    pub fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// Returns the console output of the machine's first process in the last boot.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Returns the messages of the kernel in the last boot.
    pub fn kernel_log(&self) -> PathBuf {
        self.dir.join("kernel.log")
    }

    /// Returns the mark that exists while the machine is asked to end.
    pub fn stopping(&self) -> PathBuf {
        self.run.join("stopping")
    }

    /// Returns the socket of the serial port of that number.
    pub fn port(&self, number: usize) -> PathBuf {
        self.run.join(format!("c{number}"))
    }

    /// Returns the hardware address of the interface of that number, as text.
    pub fn mac(&self, number: u8) -> String {
        let mut mac = self.mac;
        mac[5] = mac[5].wrapping_add(number);
        mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(home: &str) -> Layout {
        Layout { home: home.into(), run: "/run/kcl".into(), kind: "vm" }
    }

    #[test]
    fn names_differ_by_home_cluster_and_machine() {
        let a = layout("/a").machine("kcl", "kcl-m02").unwrap();
        let b = layout("/b").machine("kcl", "kcl-m02").unwrap();
        let c = layout("/a").machine("kcl", "kcl-m03").unwrap();
        assert_ne!(a.cluster.hash, b.cluster.hash);
        assert_ne!(a.run, b.run);
        assert_ne!(a.mac, c.mac);
        assert_eq!(a.mac[0] & 3, 2, "locally administered, unicast");
        assert!(a.port(15).as_os_str().len() < 107);
    }

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", "..", "a/b", ".hidden", "-flag", "a b"] {
            assert!(layout("/a").machine("kcl", name).is_err(), "{name:?}");
            assert!(layout("/a").cluster(name).is_err(), "{name:?}");
        }
    }
}
