//! A file of a pod's volume, served by `secretfs node`, which asks of each open which container it comes from and what the
//! rules of the class say, and may record it.

use std::fs;

use rustix::thread::sched_setaffinity;
use testing::{Cgroups, enter_container, in_own_mounts, prepare_last_words};

use super::{Cpus, Reads, SIZE, Seen, TASK, Task, stage};
use crate::world::{World, judged_class};

/// Of the pod's one container.
const CONTAINER: &str = "web";

/// What readers in the container see.
pub(super) async fn read(world: &World, cpus: Cpus, is_audited: bool, readers: usize, rounds: usize) -> Seen {
    world.put_item("page", std::iter::once(("value".to_owned(), "x".repeat(SIZE))));
    let mut node = world.prepare_with_mounter("1h");
    node.class("judged", &judged_class());
    if !is_audited {
        node.keep_no_trail();
    }
    // Whatever this thread starts inherits its processors.
    let all = (cpus == Cpus::One).then(stage::use_one_cpu);
    let bench = world.serving(node).await;
    let pod = world.pod("judged", 0, "judged");
    bench.publish(bench.request(&pod)).await;
    let target = bench.node.target(&pod);
    // Without links, so that a round is one open of one file.
    let edition = fs::read_link(target.join("..data")).expect("an edition");
    let file = target.join(edition).join("value").display().to_string();
    let reads = Reads { files: vec![file], readers, rounds };

    let mut cgroups = Cgroups::new();
    let cgroup = cgroups.make(&format!("pod{}/{}", pod.uid, "a".repeat(64)));
    let words = prepare_last_words(&bench.node.path("kubelet/pods").join(&pod.uid), CONTAINER);
    let place = bench.node.path("last-words");
    fs::write(&place, "").expect("a file");
    let program = std::env::current_exe().expect("this program").display().to_string();
    let mut container = in_own_mounts(&enter_container(&words, &place, &cgroup), &program);
    container.env(TASK, serde_json::to_string(&Task::Read(reads)).expect("JSON"));
    let seen = super::told(&mut container);
    if let Some(all) = all {
        sched_setaffinity(None, &all).expect("all processors");
    }
    bench.unpublish(&pod).await;
    let is_recorded = bench.node.audit().contains("\"operation\":\"open\"");
    assert_eq!(is_recorded, is_audited, "the rows are not about what they say");
    seen
}
