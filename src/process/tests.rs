use super::*;

#[test]
fn processes_of_one_boot_have_the_same_keys_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lease.key");

    let first = Keys::of_this_boot(&path).unwrap();
    let second = Keys::of_this_boot(&path).unwrap();
    assert_eq!(first.seal, second.seal);
    assert_ne!(first.seal, first.fingerprint);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_task_that_ends_by_itself_is_noticed_and_one_that_is_told_to_is_not() {
    let (stop, early) = (CancellationToken::new(), CancellationToken::new());
    let one = End { name: "one", stop: stop.clone(), early: early.clone() };

    let ended = tokio::spawn(async move {
        let _end = one;
        panic!("hunter2");
    });
    assert!(ended.await.is_err());
    assert!(early.is_cancelled());

    let early = CancellationToken::new();
    let other = End { name: "other", stop: stop.clone(), early: early.clone() };
    stop.cancel();
    drop(other);
    assert!(!early.is_cancelled());
}

#[test]
fn a_key_file_of_the_wrong_length_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lease.key");
    std::fs::write(&path, b"short").unwrap();
    Keys::of_this_boot(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), KEY_BYTES);
}
