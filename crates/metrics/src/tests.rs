use super::*;

const DECLARATIONS: &[&Declaration] = &[&STORE, &VAULT];
static STORE: Declaration = declaration(&["secretfs"]);
static VAULT: Declaration = declaration(&["vault", "openbao"]);

const fn declaration(names: &'static [&'static str]) -> Declaration {
    Declaration {
        names,
        title: "",
        about: "",
        default_refresh: Duration::ZERO,
        credentials: &[],
        annotations: &[],
        parameters: &[],
        object: &[],
    }
}

/// The exposition without bucket lines, each family's samples in alphabetical order.
fn exposition(act: impl FnOnce(&Metrics)) -> String {
    let metrics = Metrics::of(DECLARATIONS);
    act(&metrics);
    let text = metrics.exposition().unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.contains("_bucket{")).collect();
    lines.chunk_by_mut(|a, b| a.starts_with('#') == b.starts_with('#')).for_each(|family| {
        if family.iter().all(|line| !line.starts_with('#')) {
            family.sort_unstable();
        }
    });
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_exposition_is_what_dashboards_query() {
    let text = exposition(|metrics| {
        metrics.publish(metrics.provider("openbao"), Code::Ok, None, Some(Duration::from_millis(500)));
        let failure = Some(ErrorType::GrpcProviderError);
        metrics.publish(metrics.provider("acme"), Code::PermissionDenied, failure, None);
        metrics.unpublish(Code::Ok);
        metrics.unpublish(Code::Internal);
        metrics.refresh(metrics.provider("secretfs"), Refresh::Rotated);
        metrics.refresh(metrics.provider("aws"), Refresh::Unchanged);
        metrics.refresh(metrics.provider("vault"), Refresh::Failed(ErrorKind::Unavailable));
        metrics.refresh_took(Duration::from_millis(250));
        metrics.secret_synced(metrics.provider("vault"), Duration::from_millis(250));
        metrics.set_classes(7, 1);
        metrics.set_class_watch(true);
        metrics.class_watch_failed();
        metrics.pod_status(Telling::Told);
        metrics.event(Telling::Dropped);
        metrics.secret_sync(Syncing::Refused);
        metrics.withdrawn(Withdrawal::Revoked, 2);
        metrics.task_restarted();
        metrics.set_watch_restarts(metrics.provider("vault"), 2);
        metrics.set_watch_restarts(metrics.provider("vault"), 3);
        metrics.set_volumes(3, 4096);
        metrics.set_tasks(17);
        metrics.set_staleness(Duration::from_millis(1500));
        metrics.set_fuse_stuck(1);
        metrics.store_call(metrics.provider("vault"), None, Duration::from_millis(250));
        metrics.store_call(metrics.provider("vault"), Some(ErrorKind::Denied), Duration::from_millis(250));
        metrics.retry(metrics.provider("vault"));
        metrics.budget_exhausted(metrics.provider("vault"));
        let of = |store: &str, namespace: Option<&str>| (store.to_owned(), namespace.map(str::to_owned));
        metrics.set_breakers(2, &[of("https://gone", None), of("https://vault", Some("shop"))]);
        metrics.set_breakers(2, &[of("https://vault", Some("shop"))]);
        metrics.lease_end(metrics.provider("vault"), None);
        metrics.insecure_store(true);
        metrics.insecure_store(false);
        metrics.set_registered(true);
        metrics.set_mounter_up(true);
        metrics.audit_dropped().inc();
        metrics.log_dropped().inc_by(2);
    });

    let golden = include_str!("../../../tests/golden/metrics.txt");
    assert_eq!(text, golden.replace("VERSION", env!("CARGO_PKG_VERSION")), "{text}");
}

#[test]
fn clones_count_together() {
    let text = exposition(|metrics| {
        metrics.clone().unpublish(Code::Ok);
        metrics.clone().unpublish(Code::Ok);
    });

    assert!(text.contains("secretfs_unpublish_total{code=\"ok\"} 2\n"), "{text}");
}
