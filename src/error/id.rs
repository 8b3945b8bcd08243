//! The ids of expected errors, each with its family and its meaning.

use super::family::Family;

/// Defines [`Id`] by its families, and in each by variant, id and meaning.
macro_rules! ids {
    ($($family:ident { $($id:ident $text:literal $meaning:literal,)+ })+) => {
        /// The id of an expected error, which stays the same whatever its message says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Id {
            $($(#[doc = concat!("`", $text, "`: ", $meaning, ".")] $id,)+)+
        }

        impl Id {
            /// All ids, family by family.
            pub const ALL: &[Id] = &[$($(Id::$id,)+)+];

            /// Returns the id as programs see it, such as `cluster.not-found`.
            pub fn as_str(self) -> &'static str {
                match self { $($(Id::$id => $text,)+)+ }
            }

            /// Returns the family, which has the exit code.
            pub fn family(self) -> Family {
                match self { $($(Id::$id => Family::$family,)+)+ }
            }

            /// Returns the meaning, for the documentation.
            pub fn meaning(self) -> &'static str {
                match self { $($(Id::$id => $meaning,)+)+ }
            }
        }
    };
}

ids! {
    Usage {
        FlagInvalid "flag.invalid" "a flag, an argument or a variable is unknown, missing, or has a wrong value",
        FileUnusable "file.unusable" "a file or directory that was named is missing, of the wrong kind, or cannot be used",
        ConfigInvalid "config.invalid" "the cluster file cannot be read, or has a wrong key or value",
        ConfigConflict "config.conflict" "settings contradict each other, or kcl makes no such cluster",
        NetworkConflict "network.conflict" "networks of a cluster overlap, or have no room for its nodes",
        MountInvalid "mount.invalid" "a directory of this host cannot be mounted so in the nodes",
        ClusterNameInvalid "cluster.name-invalid" "a text is not a valid name for a cluster",
        ClusterExists "cluster.exists" "there is a cluster of that name already",
        NodeIndispensable "node.indispensable" "the cluster cannot be without the node",
        ClusterUnchangeable "cluster.unchangeable" "a setting cannot be changed once the cluster exists",
        NodeWithoutHost "node.without-host" "no host is named for a node whose driver needs one",
        DriverUnknown "driver.unknown" "this kcl does not have the driver",
        VersionUnknown "version.unknown" "this kcl does not have the version of Kubernetes",
        ArtifactUnknown "artifact.unknown" "the catalog has no artifact or image of that name",
        BundleUnusable "bundle.unusable" "a bundle cannot be opened, or has another format",
        ImageNameInvalid "image.name-invalid" "a text is not a valid name for an image",
        ImageBuildInvalid "image.build-invalid" "a build of an image is described wrongly",
        ManifestInvalid "manifest.invalid" "a manifest is malformed",
        AddonUnknown "addon.unknown" "there is no addon of that name",
        AddonInvalid "addon.invalid" "an addon, or a value for one, is wrong",
        AddonConflict "addon.conflict" "an addon does not fit the others or the version of Kubernetes",
        AddonDataUnreachable "addon.data-unreachable" "data of an addon cannot be removed while the cluster is stopped",
        ComponentUnknown "component.unknown" "there is no component of that name",
        DirectoryForeign "directory.foreign" "`KCL_HOME` or `KCL_CACHE` is a directory with files of others",
    }
    Artifact {
        ArtifactUnavailable "artifact.unavailable" "an artifact can be neither downloaded nor built here",
        ArtifactDownload "artifact.download-failed" "a download failed",
        ArtifactDigest "artifact.digest-mismatch" "a file has another digest than it should have",
        ArtifactBuild "artifact.build-failed" "a build of an artifact, or a program that it needs, failed",
        ArtifactIncomplete "artifact.incomplete" "an artifact lacks a file that it should have",
        CacheFailed "cache.failed" "a file of the cache cannot be read or written",
        CacheBusy "cache.busy" "another kcl uses the cache",
        BundleDamaged "bundle.damaged" "a bundle is damaged",
        BundleIncomplete "bundle.incomplete" "a bundle lacks an artifact that is needed",
        ProgramUnusable "program.unusable" "a program of the cache is missing or does not run",
        ImageDamaged "image.damaged" "an image, its archive or its layout is damaged or cannot be read",
        ImageForeign "image.foreign" "an image is missing in its archive, or not for the platform of the nodes",
        AddonUnavailable "addon.unavailable" "an addon or its chart cannot be pulled or read",
    }
    Host {
        HostUnfit "host.unfit" "the host lacks something that the driver or the build needs",
        HostFailed "host.failed" "an operation on this host failed",
        HostConflict "host.conflict" "something on the host has the same name or address",
        HostUnreachable "host.unreachable" "a host or an engine cannot be reached, or refuses the login",
        HostKeyUnknown "host.key-unknown" "the key of a host is unknown, or another one than before",
        DriverNone "driver.none" "no driver works on this host",
        PortTaken "port.taken" "a port of this host is in use",
        SubnetTaken "subnet.taken" "a network is in use, or no free one is left",
        DiskFull "disk.full" "a disk is full",
        FileUnwritable "file.unwritable" "a file or a pipe cannot be written",
        BackgroundFailed "background.failed" "a process that stays in the background does not start",
        TrustStoreFailed "trust-store.failed" "this system's store of trusted certificates cannot be changed",
    }
    Internal {
        Internal "internal.error" "anything unexpected: a bug, or a new kind of failure",
    }
    Driver {
        DriverFailed "driver.failed" "an engine refused or failed",
        MachineState "machine.state" "a machine or a network is in the wrong state",
        DriverUnfinished "driver.unfinished" "a transfer was interrupted; the same command resumes it",
    }
    State {
        StateUnreadable "state.unreadable" "a file of kcl's state is damaged, too new, or cannot be read",
        StateUnwritable "state.unwritable" "a file of kcl's state cannot be written or removed",
        NodeLeaving "node.leaving" "the node is being deleted",
        StateLocked "state.locked" "the lock of a cluster cannot be taken",
        ClusterIncomplete "cluster.incomplete" "a part of the cluster is lost: its state, or the machine of its control plane",
        PkiUnusable "pki.unusable" "keys or certificates of a cluster cannot be read or written",
    }
    Timeout {
        ClusterNotReady "cluster.not-ready" "the nodes were not ready in time",
        NodeNotEmptied "node.not-emptied" "the pods or volumes of a node were not gone in time",
        AddonNotReady "addon.not-ready" "addons were not ready in time",
        AddonNotRemoved "addon.not-removed" "an addon was not removed in time",
        ManifestNotApplied "manifest.not-applied" "objects could not be applied in time",
    }
    Cluster {
        NodeFailed "node.failed" "a node does not come up",
        NodeDamaged "node.damaged" "the data of etcd or containerd on a node are damaged",
        NodeOccupied "node.occupied" "the node has pods or data that would be lost",
        NodeNotJoined "node.not-joined" "a new node does not join the cluster",
        NodeNotRestarted "node.not-restarted" "a node does not come up with a changed configuration",
        ApiFailed "api.failed" "the Kubernetes API did not do what was requested",
        ManifestRefused "manifest.refused" "the API server refuses an object",
        AddonFailed "addon.failed" "an addon does not come up, or cannot be installed or removed",
        ContainerdFailed "containerd.failed" "containerd of a node failed or cannot be reached",
        ImageBuild "image.build-failed" "an image could not be built",
        ServiceUnreachable "service.unreachable" "a Service cannot be reached",
        CopyFailed "copy.failed" "files of a node cannot be copied",
        ClusterFailed "cluster.failed" "a cluster does not start",
    }
    Kubeconfig {
        KubeconfigUnusable "kubeconfig.unusable" "the kubeconfig cannot be read or written",
        KubeconfigConflict "kubeconfig.conflict" "the kubeconfig has an entry of the cluster's name that is not kcl's",
    }
    NotFound {
        ClusterNotFound "cluster.not-found" "there is no cluster of that name",
        ClusterStopped "cluster.stopped" "the cluster does not run",
        NodeUnknown "node.unknown" "the cluster has no node of that name",
        NodeStopped "node.stopped" "the node does not run",
        MachineNotFound "machine.not-found" "there is no such machine, or no such file in it",
        ImageNotFound "image.not-found" "there is no such image",
        PodNotFound "pod.not-found" "there is no such pod",
        ServiceNotFound "service.not-found" "there is no such Service",
        MountNotFound "mount.not-found" "nothing of this host is mounted there",
        AddonDisabled "addon.disabled" "the addon is not enabled",
        AddonWithoutPage "addon.without-page" "the addon has no page",
        LogNotFound "log.not-found" "the component has no log on the node",
    }
    Interrupted {
        Interrupted "command.interrupted" "the user interrupted the command",
    }
}

impl Id {
    /// Returns kcl's exit code.
    pub fn exit_code(self) -> u8 {
        self.family().exit_code()
    }

    /// Returns the id that programs see as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Id::ALL.iter().copied().find(|id| id.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_have_one_form() {
        let ids: HashSet<_> = Id::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(ids.len(), Id::ALL.len());
        for id in Id::ALL {
            let (subject, what) = id.as_str().split_once('.').unwrap();
            let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            assert!(is_word(subject) && is_word(what), "{id:?}");
            assert_eq!(Id::parse(id.as_str()), Some(*id));
        }
    }

    #[test]
    fn the_documentation_has_all_ids() {
        const BEGIN: &str = "| id | exit code | meaning |\n| --- | --- | --- |\n";
        let row = |id: &Id| format!("| `{}` | {} | {} |\n", id.as_str(), id.exit_code(), id.meaning());
        let rows: String = Family::ALL
            .iter()
            .flat_map(|family| Id::ALL.iter().filter(move |id| id.family() == *family).map(row))
            .collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("the table");
        let end: usize = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
        // As golden files are updated.
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(path, [before, BEGIN, &rows, &rest[end..]].concat()).unwrap();
            return;
        }
        assert_eq!(&rest[..end], rows, "update docs/errors.md: INSTA_UPDATE=always cargo test --lib error::");
    }
}
