use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::{Refusal, Result, invalid};

/// A target path in kubelet's form: `<pods>/<uid>/volumes/kubernetes.io~csi/<volume>/mount`.
pub(super) struct Target<'r> {
    pub(super) path: PathBuf,
    pod_uid: &'r str,
    volume_name: &'r str,
}

impl<'r> Target<'r> {
    /// Parses `path` without a look at the file system. The mounter refuses links on the way.
    pub(super) fn below(pods: &Path, path: &'r str) -> Result<Self> {
        let parts: Option<Vec<&str>> =
            pods.to_str().and_then(|pods| path.strip_prefix(pods)).map(|below| below.split('/').collect());
        match parts.as_deref() {
            Some(["", pod_uid, "volumes", "kubernetes.io~csi", volume_name, "mount"])
                if [pod_uid, volume_name].into_iter().all(|name| is_plain(name)) =>
            {
                Ok(Self { path: PathBuf::from(path), pod_uid, volume_name })
            }
            _ => invalid(format!(
                "target path {path:?} is not {}/<pod uid>/volumes/kubernetes.io~csi/<volume>/mount; \
                 is the driver told kubelet's root directory?",
                pods.display()
            )),
        }
    }

    /// Checks that the path belongs to this pod and volume id. Only kubelet knows all three in advance.
    pub(super) fn belongs_to(&self, pod_uid: &str, volume_id: &str) -> Result<()> {
        if self.pod_uid != pod_uid {
            return Err(Refusal::NoPodInfo(format!(
                "the target path is of pod {:?}, the attributes say {pod_uid:?}",
                self.pod_uid
            )));
        }
        if volume_id != inline_volume_id(self.pod_uid, self.volume_name) {
            return invalid(format!(
                "volume_id {volume_id:?} is not the one of inline volume {:?} of pod {pod_uid}",
                self.volume_name
            ));
        }
        Ok(())
    }
}

fn is_plain(component: &str) -> bool {
    !matches!(component, "" | "." | "..") && !component.contains('\0')
}

/// The id that kubelet gives to the inline volume `name` of a pod.
fn inline_volume_id(pod_uid: &str, name: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(pod_uid.as_bytes());
    context.update(name.as_bytes());
    let hash: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("csi-{hash}")
}
