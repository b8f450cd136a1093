use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{
    Found, Identity, Object, Parameters, Pod, Provider, Query, Reading, Request, Result, SecretBytes,
    Session, Source, Tenure, Workload,
};
use provider_aws::{Aws, AwsConfig};
use testing::Moto;

pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/shop";

/// Those of a class that says where and as whom.
pub(crate) fn parameters(more: &[(&str, &str)]) -> Parameters {
    let sound = [("region", REGION), ("roleArn", ROLE)];
    sound.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

/// A provider that takes the server at `url` for AWS.
pub(crate) fn aws(url: &str) -> Aws {
    Aws::new(AwsConfig { endpoint: Some(url.to_owned()), ..AwsConfig::default() }).unwrap()
}

pub(crate) fn source(aws: &Aws, more: &[(&str, &str)]) -> Arc<dyn Source> {
    aws.source("shop", &parameters(more)).unwrap()
}

/// A class that shows `objects`.
pub(crate) fn class(aws: &Aws, objects: &str) -> Arc<dyn Source> {
    source(aws, &[("objects", objects)])
}

/// The volume `volume` of pod `web-0` of `shop/web`, with its token for STS.
pub(crate) fn workload(volume: &str) -> Workload {
    of_account("web", volume)
}

pub(crate) fn of_account(account: &str, volume: &str) -> Workload {
    let token = SecretBytes::from(format!("token-of-{account}"));
    Workload {
        identity: Identity { uid: Some(format!("uid-of-{account}")), ..Identity::named("shop", account) },
        pod: Some(Pod { name: "web-0".to_owned(), uid: "uid-of-web-0".to_owned() }),
        volume: volume.to_owned(),
        tokens: BTreeMap::from([("sts.amazonaws.com".to_owned(), token)]),
        credentials: BTreeMap::new(),
    }
}

pub(crate) async fn session(source: &dyn Source, workload: &Workload) -> Result<Arc<dyn Session>> {
    source.session(workload, Tenure::Shared).await
}

/// What the engine does: all requests of `source`, put into calls; `held` of each is what was read before.
pub(crate) async fn read(
    source: &dyn Source,
    session: &dyn Session,
    held: &BTreeMap<Request, Reading>,
) -> Result<BTreeMap<Request, Reading>> {
    let mut requests: Vec<_> = source.objects().iter().map(|object| object.request.clone()).collect();
    requests.sort();
    requests.dedup();
    let mut readings = BTreeMap::new();
    for call in session.calls(requests) {
        let version = |request: &Request| held.get(request).and_then(|reading| reading.version.clone());
        let queries: Vec<_> =
            call.into_iter().map(|request| Query { held: version(&request), request }).collect();
        let found: Vec<Result<Found>> = session.read_many(&queries).await;
        for (query, found) in queries.into_iter().zip(found) {
            let reading = found?.reading(held.get(&query.request))?;
            readings.insert(query.request, reading);
        }
    }
    Ok(readings)
}

/// What every object of `source` shows, by path, without its JMESPath.
pub(crate) async fn files(source: &dyn Source, workload: &Workload) -> Result<BTreeMap<String, Object>> {
    let session = session(source, workload).await?;
    let readings = read(source, &*session, &BTreeMap::new()).await?;
    let extract = |(index, object): (usize, &provider::ObjectRef)| {
        Ok((object.path.to_string(), object.decoded(source.extract(index, &readings[&object.request])?)?))
    };
    source.objects().iter().enumerate().map(extract).collect()
}

/// The one file of a class of `objects`, as bytes.
pub(crate) async fn only(moto: &Moto, objects: &str) -> Result<Vec<u8>> {
    let files = files(&*class(&aws(&moto.url()), objects), &workload("v")).await?;
    Ok(files.into_values().next().unwrap().contents.expose().to_vec())
}

pub(crate) fn text(object: &Object) -> String {
    String::from_utf8(object.contents.expose().to_vec()).unwrap()
}
