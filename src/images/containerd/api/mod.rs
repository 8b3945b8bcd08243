//! The clients and messages of containerd's API (`containerd/api`) and of the CRI (`cri-api`), both under the Apache
//! License 2.0. `make containerd-api` generates them from the definitions in the versions of
//! `images/components/containerd/go.mod`.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

pub mod containerd {
    pub mod services {
        pub mod content {
            pub mod v1 {
                include!("containerd.services.content.v1.rs");
            }
        }
        pub mod diff {
            pub mod v1 {
                include!("containerd.services.diff.v1.rs");
            }
        }
        pub mod images {
            pub mod v1 {
                include!("containerd.services.images.v1.rs");
            }
        }
        pub mod leases {
            pub mod v1 {
                include!("containerd.services.leases.v1.rs");
            }
        }
        pub mod snapshots {
            pub mod v1 {
                include!("containerd.services.snapshots.v1.rs");
            }
        }
        pub mod streaming {
            pub mod v1 {
                include!("containerd.services.streaming.v1.rs");
            }
        }
        pub mod transfer {
            pub mod v1 {
                include!("containerd.services.transfer.v1.rs");
            }
        }
    }
    pub mod types {
        include!("containerd.types.rs");

        pub mod transfer {
            include!("containerd.types.transfer.rs");
        }
    }
}

pub mod google {
    pub mod protobuf {
        include!("google.protobuf.rs");
    }
}

pub mod runtime {
    pub mod v1 {
        include!("runtime.v1.rs");
    }
}
