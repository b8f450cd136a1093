use std::path::PathBuf;

use class::ClassName;
use engine::volume::VolumeId;
use engine::volume::report::{Cached, Outlook, Rotated, Withdrawn};
use metrics::Withdrawal;
use provider::{ErrorKind, Pod};
use tokio::task::JoinHandle;

use super::*;
use crate::fake_api::{FakeApi, Say, refusal, until};

struct Told {
    happenings: broadcast::Sender<Happening>,
    teller: Teller,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Told {
    fn start(api: &FakeApi) -> Self {
        let (happenings, metrics, stop) =
            (broadcast::Sender::new(64), Metrics::default(), CancellationToken::new());
        let (events, teller) = Events::new(api.client(), "node-1", happenings.subscribe(), metrics.clone());
        let task = tokio::spawn(events.run(stop.clone()));
        Self { happenings, teller, metrics, stop, task }
    }

    fn happens(&self, what: What) {
        self.happenings.send(happening(what)).unwrap();
    }

    fn counted(&self, outcome: &str) -> u64 {
        let text = self.metrics.exposition().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("secretfs_events_total{{outcome=\"{outcome}\"")));
        line.map_or(0, |line| line.split(' ').next_back().unwrap().parse().unwrap())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn happening(what: What) -> Happening {
    Happening {
        volume: VolumeId("csi-1".to_owned()),
        target: PathBuf::from("/target"),
        class: ClassName { namespace: "shop".to_owned(), name: "db".to_owned() },
        namespace: "shop".to_owned(),
        pod: Some(Pod { name: "web-1".to_owned(), uid: "u1".to_owned() }),
        what,
    }
}

/// An API server that accepts everything.
fn willing() -> FakeApi {
    FakeApi::new(|asked| Say::Json(200, asked.body.clone()))
}

fn paths(count: usize) -> Vec<provider::ObjectPath> {
    (0..count).map(|index| format!("f{index}").as_str().try_into().unwrap()).collect()
}

fn rotated(files: Vec<provider::ObjectPath>) -> What {
    What::Rotated(Rotated { files, objects: Vec::new() })
}

fn told(what: What) -> (String, String) {
    let notice = Notice::of(&happening(what)).unwrap();
    let event = notice.event();
    (event.reason, event.note.unwrap())
}

#[test]
fn each_happening_has_its_stable_reason() {
    let withdrawn = |reason| What::Withdrawn(Withdrawn { files: paths(1), reason, order: None });
    let failed = |kind| What::Failed(kind, "it said so".to_owned(), Outlook::Stay);
    let cached = Cached { age: Duration::from_secs(90), reason: "vault is away".to_owned() };
    for (what, reason) in [
        (What::Published, "Mounted"),
        (What::StartedCached(cached), "StartedCached"),
        (rotated(paths(1)), "Rotated"),
        (withdrawn(Withdrawal::Revoked), "Revoked"),
        (withdrawn(Withdrawal::Denied), "Denied"),
        (withdrawn(Withdrawal::Stale), "Stale"),
        (failed(ErrorKind::Unavailable), "StoreUnavailable"),
        (failed(ErrorKind::Denied), "Denied"),
        (failed(ErrorKind::Unauthenticated), "Denied"),
        (failed(ErrorKind::NotFound), "Denied"),
        (failed(ErrorKind::Revoked), "Revoked"),
        (failed(ErrorKind::Invalid), "RefreshFailed"),
        (What::SubPath(vec!["app".to_owned()]), "SubPath"),
        (What::Expiring("db expires".to_owned()), "Expiring"),
        (What::Recovered, "Recovered"),
        (What::Lost("the mounter has died".to_owned()), "Lost"),
    ] {
        assert_eq!(told(what.clone()).0, reason, "{what:?}");
    }
    assert!(Notice::of(&happening(What::Unpublished)).is_none());
}

#[test]
fn the_words_tell_class_age_and_files_and_are_never_longer_than_may_be() {
    let cached = Cached { age: Duration::from_secs(90), reason: "vault is away".to_owned() };
    let note = told(What::StartedCached(cached)).1;
    assert!(
        note.contains("class shop/db") && note.contains("90 s ago") && note.contains("vault is away"),
        "{note}"
    );
    assert!(told(rotated(paths(12))).1.ends_with("f9 and 2 more"));
    assert!(told(What::Failed(ErrorKind::Invalid, "é".repeat(2000), Outlook::Stay)).1.len() <= 1024);
}

#[test]
fn what_is_told_of_a_revocation_says_what_becomes_of_the_files() {
    let note =
        |outlook| told(What::Failed(ErrorKind::Revoked, "version 4 was destroyed".to_owned(), outlook)).1;

    let going = note(Outlook::GoWhenConfirmed);
    assert!(going.contains("taken away when the store says so again") && !going.contains("stays"), "{going}");
    assert!(note(Outlook::Stay).contains("what is mounted stays: version 4"), "{}", note(Outlook::Stay));
}

#[test]
fn what_a_store_said_stays_on_the_line_of_its_event() {
    let note = told(What::Failed(ErrorKind::Invalid, "no\n\u{1b}[2Jyes".to_owned(), Outlook::Stay)).1;

    assert!(note.ends_with(r"no\n\u{1b}[2Jyes"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_says_something_else_is_not_folded_into_one_that_came_before() {
    let api = willing();
    let told_of = Told::start(&api);
    let other = vec!["other".try_into().unwrap()];
    for files in [paths(1), other.clone(), paths(1), other] {
        told_of.happens(rotated(files));
    }
    until("four calls", || api.asked().len() == 4).await;

    let said: Vec<_> = api
        .asked()
        .iter()
        .map(|asked| (asked.method.clone(), asked.body["note"].as_str().unwrap().to_owned()))
        .collect();
    let [f0, other] = ["class shop/db: new versions of f0", "class shop/db: new versions of other"];
    let expected = [("POST", f0), ("POST", other), ("PATCH", f0), ("PATCH", other)];
    assert_eq!(said, expected.map(|(method, note)| (method.to_owned(), note.to_owned())));
    told_of.stop().await;
}

#[test]
fn a_volume_that_no_pod_mounts_has_no_events() {
    assert!(Notice::of(&Happening { pod: None, ..happening(What::Published) }).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_event_is_about_the_pod_and_one_that_repeats_is_counted_in_the_first() {
    let api = willing();
    let told_of = Told::start(&api);
    told_of.happens(rotated(paths(1)));
    told_of.happens(rotated(paths(1)));
    until("two calls", || api.asked().len() == 2).await;

    let asked = api.asked();
    let (first, second) = (&asked[0], &asked[1]);
    assert_eq!((first.method.as_str(), second.method.as_str()), ("POST", "PATCH"));
    assert!(first.path.starts_with("/apis/events.k8s.io/v1/namespaces/shop/events"), "{}", first.path);
    assert_eq!(first.body["regarding"]["uid"], "u1");
    assert_eq!(first.body["reportingController"], "secretfs");
    assert_eq!(first.body["reportingInstance"], "node-1");
    assert_eq!(second.body["series"]["count"], 2);
    told_of.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_an_api_server_that_is_away_and_not_for_ever() {
    let mut answers = [Say::Break, Say::Hang, refusal(500, "InternalError", "no")].into_iter();
    let api = FakeApi::new(move |asked| answers.next().unwrap_or(Say::Json(201, asked.body.clone())));
    let told_of = Told::start(&api);
    told_of.happens(What::Published);
    until("the event", || told_of.counted("ok") == 1).await;
    assert_eq!(told_of.counted("failed"), 3);
    told_of.stop().await;

    let told_of = Told::start(&FakeApi::new(|_| Say::Break));
    told_of.happens(What::Published);
    until("the end of patience", || told_of.counted("dropped") == 1).await;
    told_of.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_holds_up_no_other() {
    let mut answers = [refusal(403, "Forbidden", "the namespace is being terminated")].into_iter();
    let api = FakeApi::new(move |asked| answers.next().unwrap_or(Say::Json(201, asked.body.clone())));
    let told_of = Told::start(&api);
    told_of.happens(What::Published);
    told_of.happens(What::Recovered);
    until("the second", || told_of.counted("ok") == 1).await;

    assert_eq!(api.asked()[1].body["reason"], "Recovered");
    told_of.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_makes_noise_is_cut_short_and_others_may_tell_what_they_have() {
    let api = willing();
    let told_of = Told::start(&api);
    for _ in 0..40 {
        told_of.happens(What::Recovered);
        tokio::task::yield_now().await;
    }
    until("the rest", || told_of.counted("dropped") == 15).await;
    let pod = Pod { name: "web-2".to_owned(), uid: "u2".to_owned() };
    let reason = Reason::FailedToCreateSecret;
    told_of.teller.tell(Notice {
        namespace: "shop".to_owned(),
        pod,
        reason,
        secret: None,
        note: "no".to_owned(),
    });
    until("the other's", || told_of.counted("ok") == 26).await;
    told_of.stop().await;
}

#[tokio::test]
async fn a_namespace_with_many_events_leaves_room_for_those_of_others() {
    let (happenings, metrics) = (broadcast::Sender::new(1), Metrics::default());
    let (mut events, _teller) = Events::new(willing().client(), "node-1", happenings.subscribe(), metrics);
    let notice = |namespace: &str, uid: usize| {
        let pod = Pod { name: format!("web-{uid}"), uid: format!("{namespace}-{uid}") };
        Notice { namespace: namespace.to_owned(), pod, ..Notice::of(&happening(What::Published)).unwrap() }
    };

    (0..2 * WAITING).for_each(|uid| events.accept(notice("hostile", uid)));
    assert_eq!(events.waiting.len(), WAITING / 2);
    events.accept(notice("shop", 0));

    assert_eq!(events.waiting.back().unwrap().1.namespace, "shop");
}
