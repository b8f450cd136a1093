//! Containers of pods, as the node's kernel shows them.

/// A file as a container of the pod with this uid sees it. Asks no server.
pub(crate) fn seen(uid: &str, file: &str) -> Option<String> {
    let container = containers(uid).into_iter().next()?;
    std::fs::read_to_string(format!("/proc/{container}/root/secrets/{file}")).ok()
}

/// Pids of the containers of a pod, without the one that holds its namespaces.
pub(crate) fn containers(uid: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("cgroup").contains(&format!("pod{uid}")) && !read("cmdline").contains("2147483647")
    })
    .collect()
}
