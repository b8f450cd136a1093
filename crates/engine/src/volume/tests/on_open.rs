//! Files that are read when they are opened, in a mode that asks.

mod ending;
mod refusing;

use futures::future::join_all;
use manifest::{FetchWhen, Mode as Chosen};
use provider::SecretBytes;

use super::*;
use crate::mode::{self, Caller, Loan};

/// How long a caller of these tests waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long contents of opened files are held.
const HOLD: Duration = Duration::from_secs(30);

/// A node with tmpfs and a mode that asks for contents when a file is opened, and a class that chooses the latter.
fn asking() -> Node {
    asking_under(Limits { hold: HOLD, ..Limits::default() })
}

fn asking_under(limits: Limits) -> Node {
    let mounter = FakeMounter { other: Some(FakeMode::named("fuse")), ..FakeMounter::default() };
    let trail = |state: &Path| vec![Destination::File(state.join("audit"))];
    let node = Node::of(mounter, limits, trail);
    node.class("a,b", on_open);
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));
    node
}

fn on_open(settings: &mut Settings) {
    settings.mode = Chosen::Fuse;
    settings.fetch = FetchWhen::OnOpen;
}

async fn serving_on_open() -> Node {
    let node = asking();
    node.publish("v").await.unwrap();
    node
}

fn web() -> Caller {
    caller("web")
}

fn caller(container: &str) -> Caller {
    let pod = Some("uid-v".to_owned());
    Caller { pod, container: Some(container.to_owned()), uid: Some(1000), pid: Some(77) }
}

fn text(loan: &Loan) -> Option<String> {
    loan.read(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn secret() -> SecretBytes {
    SecretBytes::from("hunter2".to_owned())
}

impl Node {
    fn asks(&self) -> &FakeMode {
        self.mounter.other.as_ref().unwrap()
    }

    async fn open(&self, path: &str) -> Result<Loan, mode::Error> {
        self.asks().open("/v", path, &web(), PATIENCE).await
    }

    fn logins(&self) -> usize {
        self.store.0.lock().unwrap().logins
    }

    async fn order(&self) -> Option<RefreshOutcome> {
        self.volumes.refresh(&VolumeId("v".to_owned()), Instant::now()).await
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_at_the_store_before_the_first_open() {
    let node = serving_on_open().await;
    node.publish("v").await.unwrap();
    sleep(Duration::from_secs(24 * 3600)).await;
    node.class("a,b,c", on_open);
    sleep(ROUND).await;
    let node = node.restart();
    assert_eq!(node.volumes.restore().await.unwrap(), 1);
    sleep(Duration::from_secs(3600)).await;

    let listed: Vec<_> = node.asks().listed("/v").unwrap().into_keys().map(|path| path.to_string()).collect();
    assert_eq!(listed, ["a", "b", "c"]);
    assert_eq!((node.store.reads(), node.logins()), (0, 0));
    assert_eq!(text(&node.open("a").await.unwrap()).as_deref(), Some("1"));
    assert_eq!(node.store.0.lock().unwrap().reads, ["a"], "and nothing else is");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_open_a_file_at_once_cost_one_reading() {
    let node = serving_on_open().await;
    node.store.say("a", Say::Secret(secret(), Duration::from_secs(3)));

    let opened = join_all((0..100).map(|_| node.open("a"))).await;

    assert!(opened.iter().all(|loan| text(loan.as_ref().unwrap()).as_deref() == Some("hunter2")));
    assert_eq!((node.store.reads(), node.logins()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn volumes_of_one_identity_share_what_is_read_for_one_of_them() {
    let node = serving_on_open().await;
    node.publish("w").await.unwrap();
    node.store.say("a", Say::Secret(secret(), Duration::from_secs(3)));
    let other = || async { node.asks().open("/w", "a", &web(), PATIENCE).await };

    let (one, two) = tokio::join!(node.open("a"), other());
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(node.store.reads(), 1);

    sleep(HOLD * 2).await;
    node.open("a").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    other().await.unwrap();
    assert_eq!(node.store.reads(), 2, "also when one comes a little later");
}

#[tokio::test(start_paused = true)]
async fn who_opens_a_file_waits_no_longer_than_it_said() {
    let node = serving_on_open().await;
    node.store.say("a", Say::Hang);
    let started = Instant::now();

    let late = node.asks().open("/v", "a", &web(), Duration::from_secs(5)).await.unwrap_err();

    assert!(matches!(late, mode::Error::TooLate(_)), "{late:?}");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(text(&node.open("b").await.unwrap()).as_deref(), Some("2"), "nobody waits behind it");
    node.store.say("a", Say::Value("1"));
    assert_eq!(text(&node.open("a").await.unwrap()).as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn who_has_more_patience_than_the_class_waits_as_long_as_the_class_says() {
    let node = asking();
    node.class("a", |settings| {
        on_open(settings);
        settings.timeout = Duration::from_secs(10);
    });
    node.publish("v").await.unwrap();
    node.store.say("a", Say::Hang);
    let started = Instant::now();

    let late = node.asks().open("/v", "a", &web(), Duration::from_secs(3600)).await.unwrap_err();

    assert!(matches!(late, mode::Error::TooLate(_)), "{late:?}");
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn what_was_opened_is_wiped_after_its_time_and_costs_no_call_within_it() {
    let node = serving_on_open().await;
    let value = secret();
    node.store.say("a", Say::Secret(value.clone(), Duration::ZERO));
    let loan = node.open("a").await.unwrap();

    sleep(HOLD - Duration::from_secs(1)).await;
    assert_eq!(text(&node.open("a").await.unwrap()), text(&loan));
    assert_eq!(node.store.reads(), 1);
    // Replaces the scripted answer, which holds the value too. After that, only the engine and the mode hold it.
    node.store.say("a", Say::Value("1"));
    assert!(value.is_held_elsewhere());

    sleep(Duration::from_secs(2)).await;
    assert!(text(&loan).is_none());
    assert!(!value.is_held_elsewhere(), "who holds it no more has wiped it");
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 0);
    assert_eq!(text(&node.open("a").await.unwrap()).as_deref(), Some("1"));
    assert_eq!(node.store.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_setting_holds_what_was_opened_for_longer_than_five_minutes() {
    let node = asking_under(Limits { hold: Duration::from_secs(86_400), ..Limits::default() });
    node.publish("v").await.unwrap();
    let loan = node.open("a").await.unwrap();

    sleep(Duration::from_secs(299)).await;
    assert!(text(&loan).is_some());
    sleep(Duration::from_secs(2)).await;
    assert!(text(&loan).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_composed_file_is_made_of_its_objects_and_of_no_other_when_it_is_opened() {
    let node = asking();
    node.class("a,b,c", |settings| {
        on_open(settings);
        settings.files = vec![Composed {
            path: "app.json".try_into().unwrap(),
            format: ComposedFormat::Json,
            from: vec![("A".to_owned(), "a".to_owned()), ("B".to_owned(), "b".to_owned())],
            mode: None,
        }];
    });
    node.publish("v").await.unwrap();

    let composed = text(&node.open("app.json").await.unwrap()).unwrap();

    assert!(composed.contains(r#""A": "1""#) && composed.contains(r#""B": "2""#), "{composed}");
    let mut reads = node.store.0.lock().unwrap().reads.clone();
    reads.sort();
    assert_eq!(reads, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_with_the_tokens_that_kubelet_brought_last() {
    let node = asking();
    node.store.0.lock().unwrap().wants_tokens = true;
    let [first, second] = ["first", "second"].map(|text| SecretBytes::from(text.to_owned()));
    node.volumes.publish(publish("v"), credentials::token(&first)).await.unwrap();
    node.volumes.publish(publish("v"), credentials::token(&second)).await.unwrap();
    assert!(!first.is_held_elsewhere());

    node.open("a").await.unwrap();
    sleep(HOLD * 2).await;
    let node = node.restart();
    node.volumes.restore().await.unwrap();
    sleep(Duration::from_secs(1)).await;

    let reads = node.store.reads();
    let lost = node.open("a").await.unwrap_err();
    assert!(matches!(lost, mode::Error::Unread(_)), "{lost:?}");
    assert!(lost.to_string().contains("kubelet brings a new one"), "{lost}");
    assert_eq!(node.store.reads(), reads);
    let kubelet = async {
        sleep(Duration::from_secs(3)).await;
        node.volumes.publish(publish("v"), credentials::token(&second)).await
    };
    let (opened, brought) = tokio::join!(node.open("a"), kubelet);
    assert!(brought.is_ok());
    assert_eq!(text(&opened.unwrap()).as_deref(), Some("1"), "who opens a file waits a while for kubelet");
}

#[tokio::test(start_paused = true)]
async fn each_delivery_is_audited_with_who_opened_what_in_which_version() {
    let node = serving_on_open().await;
    node.store.say("a", Say::Secret(secret(), Duration::ZERO));
    node.open("a").await.unwrap();
    node.asks().open("/v", "a", &caller("sidecar"), PATIENCE).await.unwrap();
    node.asks().open("/v", "a", &caller("stranger"), PATIENCE).await.unwrap_err();

    let trail = std::fs::read_to_string(node.state.path().join("audit")).unwrap();
    assert!(!trail.contains("hunter2"), "{trail}");
    let records: Vec<serde_json::Value> =
        trail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |record: &serde_json::Value| {
        let word =
            |pointer: &str| record.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default();
        ["/api/operation", "/status", "/actor/container", "/resources/0/name", "/resources/0/version"]
            .map(|pointer| word(pointer).to_owned())
    };
    let told: Vec<_> = records.iter().skip(1).map(told).collect();
    assert_eq!(
        told,
        [
            ["open", "success", "web", "a", "7"],
            ["open", "success", "sidecar", "a", "7"],
            ["deny", "failure", "stranger", "a", ""],
        ]
    );
    assert_eq!(records[1]["actor"]["process"], serde_json::json!({"uid": 1000, "pid": 77}));
    assert_eq!(records[1]["actor"]["pod"]["uid"], "uid-v");
    assert_eq!(records[1]["volume"], "v");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_asks_goes_on_to_after_a_restart_and_whatever_its_class_says_then() {
    let node = serving_on_open().await;
    assert!(node.volumes.parts().records.of(&VolumeId("v".to_owned())).unwrap().on_open);
    node.class("a,b", |_| {});
    sleep(ROUND).await;
    let node = node.restart();
    node.volumes.restore().await.unwrap();
    node.publish("v").await.unwrap();
    sleep(ROUND * 3).await;

    assert_eq!(node.store.reads(), 0);
    assert_eq!(text(&node.open("b").await.unwrap()).as_deref(), Some("2"));
    let state = node.volumes.states().remove(&VolumeId("v".to_owned())).unwrap();
    assert_eq!((state.files, state.failure, state.provider.as_deref()), (2, None, Some("fake")));
}
