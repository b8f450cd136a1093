use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use testing::{Answer, FaultServer, in_private_mounts};

use super::{Host, Mounting, until};
use crate::support::Told;

/// A Vault that works.
fn vault() -> FaultServer {
    FaultServer::http(|seen| match seen.target.ends_with("/login") {
        true => Answer::json(200, &json!({"auth": {"client_token": "t", "lease_duration": 6000}})),
        false => Answer::json(200, &secret()),
    })
}

fn secret() -> serde_json::Value {
    json!({"data": {"data": {"token": "t1"}, "metadata": {"version": 1}}})
}

/// Starts a refresh of everything, and waits until it has reached the store.
fn refreshing(host: &Host, store: &FaultServer, mounting: &Mounting) -> Child {
    let before = store.seen().len();
    let mut command = host.secretfs(&["refresh", "--all"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until(&format!("the store is asked: {}", mounting.log()), || store.seen().len() > before);
    child
}

#[test]
fn a_process_that_is_stopped_in_the_middle_of_a_refresh_is_named_and_not_waited_for() {
    in_private_mounts(|| {
        let (host, store) = (Host::new(), vault());
        let mut mounting = host.start_on_vault(&store.url(), &[]);
        assert!(mounting.serves(), "{}", mounting.log());
        store.script(|_| Answer::Hang);
        let refresh = refreshing(&host, &store, &mounting);

        mounting.signal(Signal::STOP);
        let begun = Instant::now();
        let told = Told::from(refresh.wait_with_output().unwrap());
        let took = begun.elapsed();
        mounting.signal(Signal::CONT);

        println!("told after {took:?}: {}", told.err);
        // Much shorter than the two minutes that a refresh may take.
        assert!(took < Duration::from_secs(60), "{took:?}");
        let (pid, target) = (mounting.pid(), host.mount_point());
        let named = format!("process {pid}, which serves {}, does not answer within 2 s", target.display());
        assert!(told.err.contains(&named), "{told:?}");
        assert_eq!((told.code, told.out.as_str()), (Some(1), ""), "{told:?}");
        assert!(mounting.stopped_by(Signal::TERM).0.success(), "{}", mounting.log());
    });
}

#[test]
fn a_refresh_that_takes_long_is_waited_for_while_the_process_lives() {
    in_private_mounts(|| {
        let (host, store) = (Host::new(), vault());
        let mut mounting = host.start_on_vault(&store.url(), &[]);
        assert!(mounting.serves(), "{}", mounting.log());
        // The answer takes eight seconds: four times as long as the command waits for a process that is silent.
        store.script(|_| {
            let body = secret().to_string().into_bytes();
            let interval = Duration::from_secs(8) / u32::try_from(body.len()).unwrap();
            Answer::Drip(body, interval)
        });

        let told = host.run(&["refresh", "--all"]);

        assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{told:?}");
        assert!(told.out.ends_with(": unchanged\n"), "{told:?}");
        assert!(mounting.stopped_by(Signal::TERM).0.success(), "{}", mounting.log());
    });
}

crate::modes::again_in_mode_fuse! {
    a_process_that_is_stopped_in_the_middle_of_a_refresh_is_named_and_not_waited_for,
    a_refresh_that_takes_long_is_waited_for_while_the_process_lives,
}
