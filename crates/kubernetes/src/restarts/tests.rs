//! Rounds against a scripted API server. It keeps one Deployment, as a real one would: whoever writes with an older version
//! is told of a conflict. What it cannot show is admission and rights: tests in `tests/cluster` do.

use std::sync::{Arc, Mutex};

use class::ClassName;
use engine::snapshot::{Asked as AskedFor, FingerprintKey, Made};
use engine::volume::VolumeId;
use provider::{Origin, Scope};
use serde_json::{Value, json};

use super::*;
use crate::fake_api::{Asked, FakeApi, Say, refusal, status};

const EVERY: Duration = Duration::from_secs(300);

fn cause(volume: &str, pod: &str, secret: &str, version: &str) -> Cause {
    let origin =
        Origin { address: "https://v".to_owned(), scope: Scope::Whole, path: secret.to_owned(), key: None };
    Cause {
        volume: VolumeId(volume.to_owned()),
        class: ClassName { namespace: "shop".to_owned(), name: "db".to_owned() },
        pod: Pod { name: pod.to_owned(), uid: format!("uid-{pod}") },
        provider: "vault".to_owned(),
        versions: BTreeMap::from([(secret.to_owned(), version.to_owned())]),
        digests: BTreeSet::from([Digest::of("vault", &origin, version)]),
    }
}

fn owned(name: &str, owner: &Value) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "ownerReferences": [owner]}})
}

fn owner(kind: &str, name: &str) -> Value {
    let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    json!({"apiVersion": version, "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true})
}

/// The Deployment, as an API server keeps it.
#[derive(Debug, Default, Clone)]
struct Kept {
    version: u64,
    mark: Option<String>,
    /// How often somebody else changes it between a read and a write.
    disturbed: u64,
}

impl Kept {
    fn answer(&mut self, asked: &Asked) -> Say {
        if asked.method == "GET" {
            let read = Say::Json(200, self.object());
            if self.disturbed > 0 {
                (self.disturbed, self.version) = (self.disturbed - 1, self.version + 1);
            }
            return read;
        }
        let version = asked.body["metadata"]["resourceVersion"].as_str();
        if version != Some(&self.version.to_string()) {
            return refusal(409, "Conflict", "the object has been modified");
        }
        let annotations = &asked.body["spec"]["template"]["metadata"]["annotations"];
        self.mark = annotations[mark::ANNOTATION].as_str().map(str::to_owned);
        self.version += 1;
        Say::Json(200, self.object())
    }

    fn object(&self) -> Value {
        let annotations = self.mark.as_ref().map(|mark| json!({mark::ANNOTATION: mark})).unwrap_or_default();
        json!({
            "metadata": {"name": "web", "uid": "uid-web", "resourceVersion": self.version.to_string()},
            "spec": {"template": {"metadata": {"annotations": annotations}}},
        })
    }
}

/// An API server with pods `web-1`, `web-2` of Deployment `web`, with a Job's pod and one of nobody.
fn cluster(kept: &Arc<Mutex<Kept>>) -> FakeApi {
    let kept = Arc::clone(kept);
    FakeApi::new(move |asked| match asked.path.rsplit('/').next().unwrap().split('?').next().unwrap() {
        pod @ ("web-1" | "web-2") => Say::Json(200, owned(pod, &owner("ReplicaSet", "web-rs"))),
        "web-rs" => Say::Json(200, owned("web-rs", &owner("Deployment", "web"))),
        "web" => kept.lock().unwrap().answer(asked),
        "job-1" => Say::Json(200, owned("job-1", &owner("Job", "job"))),
        "alone" => Say::Json(200, json!({"metadata": {"name": "alone", "uid": "uid-alone"}})),
        "other" => Say::Json(200, json!({"metadata": {"name": "other", "uid": "another by now"}})),
        path => Say::Json(404, status(404, "NotFound", path)),
    })
}

async fn round(api: &FakeApi, causes: Vec<Cause>) -> Vec<Verdict> {
    let round = Round {
        namespace: "shop".to_owned(),
        allowance: queue::Allowance::new(Instant::now()),
        owners: Owners::default(),
        verdicts: Vec::new(),
    };
    let round = round.run(api.client(), causes, EVERY).await;
    round.verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn patches(api: &FakeApi) -> Vec<Value> {
    api.asked().into_iter().filter(|asked| asked.method == "PATCH").map(|asked| asked.body).collect()
}

fn is_rolled_out(verdicts: &[Verdict]) -> bool {
    matches!(verdicts, [Verdict::RolledOut(workload)] if workload.to_string() == "Deployment web")
}

#[tokio::test(start_paused = true)]
async fn of_many_nodes_that_see_a_version_at_once_one_has_the_workload_rolled_out() {
    let kept = Arc::default();
    let api = cluster(&kept);
    let nodes = (0..16).map(|node| {
        let pod = if node % 2 == 0 { "web-1" } else { "web-2" };
        round(&api, vec![cause(&format!("csi-{node}"), pod, "db", "2")])
    });

    let verdicts = futures::future::join_all(nodes).await;

    assert_eq!(kept.lock().unwrap().version, 1, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdicts| is_rolled_out(verdicts)).count(), 1, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdicts| **verdicts == [Verdict::Done]).count(), 15, "{verdicts:?}");
}

#[tokio::test(start_paused = true)]
async fn all_that_is_new_in_the_volumes_of_a_workload_is_one_rollout() {
    let kept = Arc::default();
    let api = cluster(&kept);
    let causes =
        vec![cause("a", "web-1", "db", "2"), cause("b", "web-1", "tls", "7"), cause("c", "web-2", "db", "2")];

    assert!(is_rolled_out(&round(&api, causes.clone()).await));

    let sent = patches(&api);
    assert_eq!(sent.len(), 1);
    let mark = kept.lock().unwrap().mark.clone().unwrap();
    assert_eq!(mark.split(' ').count(), 3, "a time and two versions: {mark}");
    let expected = json!({
        "metadata": {"resourceVersion": "0"},
        "spec": {"template": {"metadata": {"annotations": {"secretfs.dev/rolled-out-for": mark}}}},
    });
    assert_eq!(sent[0], expected, "nothing else is changed");
    for cause in causes {
        assert_eq!(round(&api, vec![cause]).await, [Verdict::Done]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_version_waits_until_the_workload_may_be_rolled_out_again() {
    let kept = Arc::default();
    let api = cluster(&kept);
    assert!(is_rolled_out(&round(&api, vec![cause("a", "web-1", "db", "2")]).await));

    let verdicts = round(&api, vec![cause("a", "web-1", "db", "3")]).await;

    assert!(
        matches!(verdicts[..], [Verdict::Later(wait)] if wait <= EVERY && wait > EVERY / 2),
        "{verdicts:?}"
    );
    assert_eq!(patches(&api).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_others_change_is_tried_again_and_not_for_ever() {
    let kept = Arc::new(Mutex::new(Kept { disturbed: 3, ..Kept::default() }));
    assert!(is_rolled_out(&round(&cluster(&kept), vec![cause("a", "web-1", "db", "2")]).await));

    let kept = Arc::new(Mutex::new(Kept { disturbed: u64::MAX, ..Kept::default() }));
    let verdicts = round(&cluster(&kept), vec![cause("a", "web-1", "db", "2")]).await;
    assert_eq!(verdicts, [Verdict::Later(Duration::from_secs(30))]);
    assert_eq!(kept.lock().unwrap().mark, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_once_and_not_for_each_pod() {
    let api = FakeApi::new(|_| Say::Hang);
    let causes = (0..50).map(|pod| cause(&format!("csi-{pod}"), &format!("web-{pod}"), "db", "2")).collect();

    let verdicts = round(&api, causes).await;

    assert!(verdicts.len() == 50 && verdicts.iter().all(|it| matches!(it, Verdict::Away(_))), "{verdicts:?}");
    assert_eq!(api.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_rolled_out_is_refused_and_what_is_gone_is_left_alone() {
    let kept = Arc::default();
    let api = cluster(&kept);
    let of = async |pod| round(&api, vec![cause("a", pod, "db", "2")]).await;

    let verdicts = of("job-1").await;
    assert!(
        matches!(&verdicts[..], [Verdict::Refused(None, why)] if why.contains("Job job")),
        "{verdicts:?}"
    );
    let verdicts = of("alone").await;
    assert!(
        matches!(&verdicts[..], [Verdict::Refused(None, why)] if why.contains("no Deployment")),
        "{verdicts:?}"
    );
    assert_eq!(of("other").await, [Verdict::Gone]);
    assert_eq!(of("nowhere").await, [Verdict::Gone]);
    assert_eq!(patches(&api).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_told_with_its_remedy_and_a_server_that_is_away_is_asked_again() {
    let lacking = r#"pods "web-1" is forbidden: User "driver" cannot get resource "pods" in API group """#;
    let of = async |say: Say| {
        round(&FakeApi::new(move |_| say.clone()), vec![cause("a", "web-1", "db", "2")]).await
    };
    let verdicts = of(refusal(403, "Forbidden", lacking)).await;
    assert!(
        matches!(&verdicts[..], [Verdict::Refused(None, why)] if why.contains("restartWorkloads.namespaces")),
        "{verdicts:?}"
    );
    for say in [Say::Hang, Say::Break, refusal(503, "Unavailable", "no"), refusal(429, "TooMany", "no")] {
        let verdicts = of(say.clone()).await;
        assert!(matches!(&verdicts[..], [Verdict::Away(_)]), "{say:?}: {verdicts:?}");
    }
}

/// An object that a volume shows in a new version.
fn made(name: &str, version: Option<&str>) -> Made {
    let origin =
        Origin { address: "https://v".to_owned(), scope: Scope::Whole, path: name.to_owned(), key: None };
    let path = name.try_into().unwrap();
    let fingerprint = FingerprintKey::new(&[7; 32]).fingerprint(&path, b"value");
    let asked = AskedFor { name: name.to_owned(), origin, file: Some(path), composed: Vec::new() };
    Made { asked, version: version.map(str::to_owned), fingerprint }
}

#[test]
fn a_version_that_has_no_name_makes_no_digest_and_is_told() {
    let happening = Happening {
        volume: VolumeId("csi-1".to_owned()),
        target: "/target".into(),
        class: ClassName { namespace: "shop".to_owned(), name: "db".to_owned() },
        namespace: "shop".to_owned(),
        pod: None,
        what: What::Recovered,
    };
    let pod = Pod { name: "web-1".to_owned(), uid: "uid-web-1".to_owned() };
    let objects = vec![made("db", Some("2")), made("lease", None)];
    let rotated = Rotated { files: Vec::new(), objects };

    let cause = super::cause(&happening, &pod, "vault", &rotated);

    assert_eq!(cause.digests, self::cause("csi-1", "web-1", "db", "2").digests);
    assert_eq!(cause.versions, BTreeMap::from([("db".to_owned(), "2".to_owned())]));
    assert_eq!(nameless(&rotated), Some("lease"));
}
