//! Counts the calls that classes make.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use manifest::{AuthShare, Class, Manifests};
use provider::{Ownership, Providers, Request, Source};
use serde::Serialize;

use crate::commands::check::Input;

/// The mean of the intervals between two readings, as a part of the refresh interval. They are spread over 0.7 to 1 of
/// it.
const MEAN: f64 = 0.85;
const HOUR: f64 = 3600.0;
/// Hours in a mean month: 365 days in twelve parts.
const MONTH: f64 = 730.0;

/// How many nodes and pods use each class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deployment {
    pub(super) nodes: u32,
    pub(super) pods: u32,
    pub(super) price: Option<Price>,
}

/// The price of one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Price(f64);

impl FromStr for Price {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts =
            text.split_once('/').and_then(|(price, calls)| Some((price.parse().ok()?, calls.parse().ok()?)));
        let one = parts.map(|(price, calls): (f64, f64)| price / calls);
        let positive = one.filter(|one| one.is_finite() && *one > 0.0);
        positive.map(Self).ok_or("write a price and the calls that it buys, such as 0.05/10000")
    }
}

/// The forecast for all classes.
#[derive(Debug, Serialize)]
pub(super) struct Forecast {
    pub(super) classes: Vec<ClassForecast>,
    pub(super) calls_per_hour: f64,
    pub(super) calls_per_month: f64,
    /// In the currency of the price; `None` without a price.
    pub(super) price_per_month: Option<f64>,
    /// Which class makes most of the calls, and how it could make fewer.
    pub(super) advice: Option<String>,
    /// Classes of providers that are not built in.
    pub(super) left_out: Vec<String>,
}

/// The forecast for one class.
#[derive(Debug, Serialize)]
pub(super) struct ClassForecast {
    pub(super) class: String,
    pub(super) provider: String,
    pub(super) store: String,
    pub(super) refresh_seconds: f64,
    /// How many readers there are. Nodes count if readings are shared, otherwise pods.
    pub(super) readers: u32,
    /// How many calls one reader makes at each refresh.
    pub(super) calls_per_refresh: usize,
    pub(super) calls_per_hour: f64,
    pub(super) calls_per_month: f64,
    pub(super) price_per_month: Option<f64>,
    pub(super) objects: Vec<ObjectForecast>,
    #[serde(skip)]
    is_shared: bool,
}

/// The part of one object.
#[derive(Debug, Serialize)]
pub(super) struct ObjectForecast {
    pub(super) object: String,
    /// Objects of the same request share its calls, and requests of the same call share that call.
    pub(super) calls_per_hour: f64,
    /// Why it makes no calls: its store announces changes, or it is read for each volume when the volume starts and
    /// before its end. Or that it may make more.
    pub(super) note: Option<&'static str>,
}

/// Counts the calls of every class in `inputs`.
///
/// # Errors
///
/// A class has an error. The message says which.
pub(super) fn forecast(
    inputs: &[Input],
    providers: &Providers,
    deployment: Deployment,
) -> anyhow::Result<Forecast> {
    let (mut classes, mut left_out) = (Vec::new(), Vec::new());
    for input in inputs {
        let manifests = Manifests::read(&input.text);
        if let Some(fault) = manifests.faults.first() {
            bail!(
                "{}: {}: {}; `secretfs check` tells everything that is wrong",
                input.name,
                fault.key,
                fault.reason
            );
        }
        for class in manifests.classes.iter().map(|located| &located.class) {
            match providers.get(&class.provider) {
                None => left_out.push(format!("{}/{}", class.namespace, class.name)),
                Some(provider) => {
                    let refresh = class.settings.refresh.unwrap_or(provider.default_refresh());
                    let source = provider.source_of(&class.namespace, &class.name, &class.parameters);
                    let source = source.map_err(|faults| wrong(input, class, &faults))?;
                    classes.push(of_class(class, &*source, refresh, deployment));
                }
            }
        }
    }
    if classes.is_empty() && left_out.is_empty() {
        bail!("there is no SecretProviderClass in these files");
    }
    Ok(sum(classes, left_out, deployment))
}

fn wrong(input: &Input, class: &Class, faults: &[provider::Invalid]) -> anyhow::Error {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    anyhow::anyhow!("{}: class {}/{}: {first}", input.name, class.namespace, class.name)
}

fn sum(mut classes: Vec<ClassForecast>, left_out: Vec<String>, deployment: Deployment) -> Forecast {
    classes.sort_by(|one, other| other.calls_per_hour.total_cmp(&one.calls_per_hour));
    let calls_per_hour = classes.iter().map(|class| class.calls_per_hour).sum();
    let advice = classes.first().and_then(|most| advice(most, calls_per_hour, deployment));
    Forecast {
        classes,
        calls_per_hour,
        calls_per_month: calls_per_hour * MONTH,
        price_per_month: priced(calls_per_hour, deployment),
        advice,
        left_out,
    }
}

fn priced(calls_per_hour: f64, deployment: Deployment) -> Option<f64> {
    deployment.price.map(|Price(one)| calls_per_hour * MONTH * one)
}

fn of_class(class: &Class, source: &dyn Source, refresh: Duration, deployment: Deployment) -> ClassForecast {
    let is_shared = class.settings.share != Some(AuthShare::Pod);
    let readers = if is_shared { deployment.nodes.min(deployment.pods) } else { deployment.pods };
    let seconds = refresh.as_secs_f64().max(1.0);
    let per_hour = f64::from(readers) * HOUR / (seconds * MEAN);
    let calls = Calls::of(source);
    let objects = source.objects().iter().enumerate();
    let objects = objects.map(|(index, object)| {
        let (share, note) = calls.of_object(source, index);
        ObjectForecast { object: object.name.clone(), calls_per_hour: share * per_hour, note }
    });
    let listed = source.trees().iter().map(|tree| ObjectForecast {
        object: tree.name.clone(),
        calls_per_hour: tree.least_calls as f64 * per_hour,
        note: Some("at least"),
    });
    let objects = objects.chain(listed).collect();
    let calls_per_hour = calls.per_refresh() as f64 * per_hour;
    ClassForecast {
        class: format!("{}/{}", class.namespace, class.name),
        provider: class.provider.clone(),
        store: source.store().to_owned(),
        refresh_seconds: seconds,
        readers,
        calls_per_refresh: calls.per_refresh(),
        calls_per_hour,
        calls_per_month: calls_per_hour * MONTH,
        price_per_month: priced(calls_per_hour, deployment),
        objects,
        is_shared,
    }
}

/// The different requests of a class that are read again, grouped by how many of them fit into one call.
struct Calls<'a> {
    requests: BTreeMap<NonZeroUsize, BTreeMap<&'a Request, usize>>,
    /// Those of listings, at least.
    listed: usize,
}

impl<'a> Calls<'a> {
    fn of(source: &'a dyn Source) -> Self {
        let mut calls: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (index, object) in source.objects().iter().enumerate() {
            if let (Some(most), Ownership::Shared) =
                (source.requests_per_call(index), object.request.ownership)
            {
                *calls.entry(most).or_default().entry(&object.request).or_insert(0) += 1;
            }
        }
        let listed = source.trees().iter().map(|tree| tree.least_calls).sum();
        Self { requests: calls, listed }
    }

    fn per_refresh(&self) -> usize {
        let requests = self.requests.iter();
        requests.map(|(most, requests)| requests.len().div_ceil(most.get())).sum::<usize>() + self.listed
    }

    /// The share of object `index` in the calls of a refresh, or why it makes none.
    fn of_object(&self, source: &dyn Source, index: usize) -> (f64, Option<&'static str>) {
        let Some(most) = source.requests_per_call(index) else {
            return (0.0, Some("told by store"));
        };
        let request = source.objects().get(index).map(|object| &object.request);
        if request.is_some_and(|request| request.ownership == Ownership::Volume) {
            return (0.0, Some("for each volume"));
        }
        let requests = self.requests.get(&most);
        let sharers = requests.zip(request).and_then(|(requests, request)| requests.get(request));
        let (Some(requests), Some(sharers)) = (requests, sharers) else { return (0.0, None) };
        let calls = requests.len().div_ceil(most.get()) as f64;
        (calls / requests.len() as f64 / *sharers as f64, None)
    }
}

/// Says which class makes most of the calls, if there is a way to make fewer.
fn advice(most: &ClassForecast, all: f64, deployment: Deployment) -> Option<String> {
    if most.calls_per_hour <= 0.0 {
        return None;
    }
    let share = most.calls_per_hour / all * 100.0;
    let by_sharing = f64::from(deployment.pods) / f64::from(deployment.nodes.min(deployment.pods));
    let by_waiting = HOUR / most.refresh_seconds;
    let class = format!("Class {} makes {share:.0} % of the calls.", most.class);
    Some(if !most.is_shared && by_sharing >= by_waiting {
        format!(
            "{class} Most of them come from secretfs.dev/share: pod, for each pod reads for itself. With \
             service-account there were {by_sharing:.0} times fewer."
        )
    } else if by_waiting > 1.0 {
        format!(
            "{class} Most of them come from its refresh interval of {:.0} s. With secretfs.dev/refresh: 1h there were \
             {by_waiting:.0} times fewer, and a change were seen within an hour.",
            most.refresh_seconds
        )
    } else {
        format!(
            "{class} They come from its {} calls on each of {} readers.",
            most.calls_per_refresh, most.readers
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = "apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: app, namespace: shop}
spec:
  provider: vault
  parameters:
    vaultAddress: https://vault.example.com
    roleName: shop
    secretfs.dev/refresh: 60s
    objects: |
      - {objectName: a, secretPath: secret/data/a, secretKey: a}
      - {objectName: b, secretPath: secret/data/a, secretKey: b}
      - {objectName: c, secretPath: secret/data/c, secretKey: c}
      - {objectName: d, secretPath: pki/issue/d, method: PUT}
";

    fn forecast_of(text: &str, nodes: u32, pods: u32) -> anyhow::Result<Forecast> {
        let input = Input { name: "app.yaml".to_owned(), text: text.to_owned(), named: true };
        forecast(
            &[input],
            &crate::providers::offline(),
            Deployment { nodes, pods, price: Some("0.05/10000".parse().unwrap()) },
        )
    }

    #[test]
    fn objects_of_one_request_make_one_call_on_each_node() {
        let forecast = forecast_of(CLASS, 10, 40).unwrap();

        let class = &forecast.classes[0];
        assert_eq!((class.calls_per_refresh, class.readers), (2, 10));
        assert!((class.calls_per_hour - 2.0 * 10.0 * 3600.0 / 51.0).abs() < 0.01, "{class:?}");
        let halves = class.objects[0].calls_per_hour + class.objects[1].calls_per_hour;
        assert!((halves - class.objects[2].calls_per_hour).abs() < 0.01, "{class:?}");
        assert_eq!(class.objects[3].note, Some("for each volume"));
        let price = forecast.price_per_month.unwrap();
        assert!((price - forecast.calls_per_month * 0.05 / 10_000.0).abs() < 1e-6, "{price}");
        assert!(forecast.advice.unwrap().contains("refresh interval of 60 s"));
    }

    #[test]
    fn a_class_whose_pods_read_for_themselves_is_told_to_share() {
        let own = CLASS.replace("refresh: 60s", "refresh: 1h\n    secretfs.dev/share: pod");

        let forecast = forecast_of(&own, 2, 100).unwrap();

        assert_eq!(forecast.classes[0].readers, 100);
        assert!(forecast.advice.unwrap().contains("50 times fewer"));
    }

    #[test]
    fn a_store_that_tells_changes_costs_nothing() {
        let own = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: a}\nspec:\n  \
                   provider: kubernetes\n  parameters:\n    objects: |\n      - {objectName: a, secret: a, key: a}\n";

        let forecast = forecast_of(own, 2, 100).unwrap();

        assert_eq!((forecast.calls_per_hour, forecast.advice), (0.0, None));
    }

    #[test]
    fn objects_that_a_store_gives_together_are_one_call() {
        let secrets = |probe: &str| {
            let objects: String = (0..25)
                .map(|n| format!("      - {{objectName: s{n}, objectType: secretsmanager}}\n"))
                .collect();
            format!(
                "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: a}}\nspec:\n  \
                 provider: aws\n  parameters:\n    region: eu-west-1\n    secretfs.dev/probe: {probe}\n    objects: \
                 |\n{objects}"
            )
        };

        let calls = |probe| forecast_of(&secrets(probe), 1, 1).unwrap().classes[0].calls_per_refresh;

        assert_eq!((calls("batch"), calls("describe")), (2, 25));
    }

    #[test]
    fn a_listing_is_counted_with_the_values_that_it_brings_at_least() {
        let of = |object: &str| {
            let text = format!(
                "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: a}}\nspec:\n  \
                 provider: aws\n  parameters:\n    region: eu-west-1\n    objects: |\n      - {{{object}, directory: a}}\n"
            );
            let mut classes = forecast_of(&text, 1, 1).unwrap().classes;
            (classes[0].calls_per_refresh, classes[0].objects.remove(0))
        };

        let (calls, listing) = of("byPath: /shop");
        assert_eq!((calls, listing.object.as_str(), listing.note), (1, "/shop/*", Some("at least")));
        assert_eq!(of("byTags: team=shop").0, 2);
    }

    #[test]
    fn a_class_that_is_wrong_is_named_and_an_external_provider_is_left_out() {
        let wrong =
            forecast_of(&CLASS.replace("roleName: shop", "role: shop"), 1, 1).unwrap_err().to_string();
        assert!(
            wrong.contains("app.yaml") && wrong.contains("shop/app") && wrong.contains("roleName"),
            "{wrong}"
        );

        let external = forecast_of(&CLASS.replace("provider: vault", "provider: acme"), 1, 1).unwrap();
        assert_eq!(external.left_out, ["shop/app"]);
    }

    #[test]
    fn a_price_is_of_so_many_calls() {
        assert_eq!("0.05/10000".parse(), Ok(Price(0.05 / 10_000.0)));
        for odd in ["5", "1/0", "-1/10", "a/b", "1/", "nan/1", "0/10"] {
            assert!(odd.parse::<Price>().is_err(), "{odd}");
        }
    }
}
