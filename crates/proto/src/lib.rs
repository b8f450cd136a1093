//! The protocols that a node plugin serves and calls, generated from the `.proto` files of this crate.
//!
//! Messages that carry credentials or values print only the names and sizes of these fields.

mod redact;

/// Container Storage Interface 1.12: Identity and Node.
#[allow(clippy::all, unreachable_pub, missing_docs)]
pub mod csi {
    tonic::include_proto!("csi.v1");
}

/// Kubelet's plugin registration, version 1.
#[allow(clippy::all, unreachable_pub, missing_docs)]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// The provider protocol of the Secrets Store CSI driver.
#[allow(clippy::all, unreachable_pub, missing_docs)]
pub mod provider {
    tonic::include_proto!("v1alpha1");
}

/// Encryption at rest by a plugin of the API server, version 2.
#[allow(clippy::all, unreachable_pub, missing_docs)]
pub mod kms {
    tonic::include_proto!("v2");
}
