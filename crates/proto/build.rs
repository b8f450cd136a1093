//! Compiles the protocols without `protoc`.

const PROTOS: [&str; 4] =
    ["csi/csi.proto", "kms/v2.proto", "pluginregistration/v1.proto", "provider/v1alpha1.proto"];

/// Messages with credentials or values. `lib.rs` implements their `Debug`, so that it prints none of them.
const SECRET: [&str; 6] = [
    "csi.v1.NodePublishVolumeRequest",
    "v1alpha1.MountRequest",
    "v1alpha1.MountResponse",
    "v1alpha1.File",
    "v2.DecryptResponse",
    "v2.EncryptRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["."])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
