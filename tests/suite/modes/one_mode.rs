//! The tests that run in one mode only, and why.

/// Reasons, and what they hold for: whole modules, or single tests.
pub(super) const ONE_MODE: &[(&str, &[&str])] = &[
    (
        "They mount no volume, or none that a pod reads.",
        &[
            "suite::arrows",
            "suite::behaviours",
            "suite::check",
            "suite::docs",
            "suite::explain",
            "suite::healthz",
            "suite::hygiene",
            "suite::image",
            "suite::kubelet::registration",
            "suite::migrate",
            "suite::modes::guard",
            "suite::release",
            "suite::semantics",
            "suite::store",
            "cluster::api::identity",
            "cluster::chart",
            "cluster::doctor",
            "cluster::e2e::identity",
            "cluster::e2e::privileged",
            "cluster::e2e::registration",
            "cluster::e2e::upstream::a_class_that_is_missing_is_told_in_the_words_that_upstreams_users_look_for",
            "cluster::e2e::upstream::upstreams_resources_and_roles_are_there_under_their_names",
            "cluster::migrate",
        ],
    ),
    (
        "They have volumes of both modes, or are those of mode fuse.",
        &[
            "suite::audit_trail",
            "suite::canary",
            "suite::fuse",
            "suite::fuse_access",
            "suite::fuse_node",
            "suite::fuse_upgrade",
            "suite::modes::switching",
            "suite::on_a_host::fuse",
            "suite::on_a_host::rootless",
            "cluster::e2e::access",
            "cluster::e2e::fuse",
        ],
    ),
    (
        "They are about the verbs of the mounter, which have tests of their own for devices of FUSE.",
        &["suite::confined", "suite::kill", "suite::mount_identity", "suite::mounter"],
    ),
    (
        "They are about what a tmpfs alone has: options and sizes of its mount, old versions in its room, what its files \
         become when they are withdrawn, handles and mappings. Mode fuse has its own in suite::fuse, suite::fuse_node \
         and the tests of crate fuse-session; a process that serves files itself must not map them.",
        &[
            "suite::retired",
            "suite::rotation::a_held_handle_and_a_mapping_keep_the_version_they_opened",
            "suite::rotation::a_mapping_of_a_withdrawn_file_ends_its_process",
            "suite::rotation::a_watcher_sees_what_kubelets_own_writer_gives_it",
            "suite::rotation::a_withdrawn_file_has_no_name_and_a_held_handle_reads_its_end",
            "suite::rotation::a_withdrawn_file_that_is_shown_with_something_else_is_emptied_for_who_holds_the_old_one",
            "suite::rotation::of_a_million_opens_by_path_none_fails_while_the_volume_rotates",
            "suite::rotation::old_versions_that_are_held_open_leave_room_for_new_ones",
            "suite::subpath",
            "suite::tmpfs",
            "cluster::e2e::pods::a_container_that_mounts_by_subpath_is_told_that_it_sees_no_rotation",
        ],
    ),
    (
        "Their volumes outlive the process that fills them, or are mounted by one that ends (--once). Mode fuse is refused \
         there, or its files wait for the next process: suite::fuse_node and suite::on_a_host::fuse have that.",
        &[
            "suite::kubelet::lifecycle::a_stopped_driver_leaves_what_pods_read",
            "suite::on_a_host::adoption",
            "suite::on_a_host::foreign::an_unmount_takes_ours_and_leaves_what_others_mounted_under_our_name_or_from_our_files",
            "suite::on_a_host::owner::two_who_unmount_one_target_end_neither_each_other_nor_wait_for_it",
            "suite::on_a_host::random",
            "suite::on_a_host::waiting::what_is_mounted_once_is_listed_and_its_unmount_leaves_no_record",
            "suite::openbao::host::a_mount_that_nobody_tends_refuses_leases_unless_told_and_then_says_when_they_end",
            "suite::plain_host::a_volume_that_is_mounted_once_needs_no_process",
        ],
    ),
    (
        "They kill node at steps of a mount, or read its log alone. In mode fuse the mounter, which makes these steps, is \
         another process with the same log.",
        &["suite::crash", "suite::external::deaths", "suite::telling"],
    ),
    (
        "They take over what another driver, or an earlier version, left in a tmpfs.",
        &[
            "suite::on_a_host::upgrade",
            "suite::openbao::upgrade",
            "suite::takeover",
            "cluster::e2e::takeover",
        ],
    ),
    (
        "They are about what commands and the API server are told of a volume. That comes from the engine, which asks no \
         mode for it.",
        &[
            "suite::commands",
            "suite::plain_host::a_line_of_fstab_says_what_is_run_after_a_change",
            "suite::plain_host::a_stopped_process_is_named_and_makes_nobody_wait_long",
            "suite::plain_host::a_volume_that_cannot_be_mounted_says_why_with_the_code_of_mount",
            "cluster::api::classes",
            "cluster::api::events",
            "cluster::api::kubectl",
            "cluster::api::pod_status",
            "cluster::api::secret_sync",
            "cluster::docs",
            "cluster::e2e::rights",
            "cluster::native_secrets::a_pod_of_another_service_account_is_refused_and_told_why_though_the_node_holds_the_secret",
            "cluster::native_secrets::what_was_read_for_a_service_account_is_not_given_to_one_that_was_made_again",
        ],
    ),
    (
        "They are about waiting for stores, and take minutes, or compile a program. What is read there is read in both \
         modes by other tests of the same store.",
        &[
            "suite::chaos",
            "suite::keyvault::a_secret_that_expires_goes_from_a_mounted_volume_without_waiting_for_its_refresh",
            "suite::sample_store",
            "suite::tenants",
            "cluster::e2e::clouds",
            "cluster::e2e::crash",
            "cluster::e2e::outage",
            "cluster::e2e::pods::a_pods_own_secret_is_the_credential_where_the_class_says_so",
        ],
    ),
];
