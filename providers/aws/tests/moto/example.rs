use std::collections::BTreeMap;

use provider::Object;
use serde_json::json;
use testing::Moto;

use crate::support::{REGION, aws, files, source, text, workload};

const DATABASE: &str = r#"{"username":"u","credentials":{"password":"p"},"port":5432}"#;

/// Upstream's manifest of every kind of object; moto's account and its random suffix stand in the ARNs.
fn objects(arn: &str, replica: &str) -> String {
    format!(
        r#"
- objectName: {arn}
  objectAlias: rds.json
  filePermission: "0400"
  failoverObject: {{objectName: "{replica}"}}
  jmesPath:
  - {{path: username, objectAlias: dbuser}}
  - {{path: credentials.password, objectAlias: dbpass, filePermission: "0440"}}
- {{objectName: shop/token, objectType: secretsmanager, objectVersionLabel: AWSPREVIOUS, objectAlias: token-prev}}
- {{objectName: /shop/prod/flag, objectType: ssmparameter}}
- {{objectName: /shop/prod/pin, objectType: ssmparameter, objectVersion: "3", objectAlias: pin}}
"#
    )
}

fn put_example(moto: &Moto) -> String {
    let arn = moto.create_secret(REGION, "shop/rds", DATABASE);
    let replica = moto.create_secret("eu-central-1", "shop/rds", DATABASE);
    moto.create_secret(REGION, "shop/token", "old");
    moto.put_secret(REGION, "shop/token", "new");
    for version in 1..=4 {
        assert_eq!(moto.put_parameter(REGION, "/shop/prod/flag", "on"), version);
    }
    for pin in ["75", "76", "77", "78"] {
        moto.put_parameter(REGION, "/shop/prod/pin", pin);
    }
    objects(&arn, &replica)
}

#[tokio::test]
async fn upstreams_example_yields_upstreams_files() {
    let moto = Moto::start();
    let objects = put_example(&moto);
    let aws = aws(&moto.url());
    let source = source(&aws, &[("failoverRegion", "eu-central-1"), ("objects", &objects)]);

    let files = files(&*source, &workload("v")).await.unwrap();

    let shown: BTreeMap<_, _> = files.iter().map(|(path, object)| (path.as_str(), text(object))).collect();
    let expected = [
        // The engine takes the parts out of the whole, by these expressions.
        ("dbpass", DATABASE),
        ("dbuser", DATABASE),
        ("rds.json", DATABASE),
        ("token-prev", "old"),
        ("_shop_prod_flag", "on"),
        ("pin", "77"),
    ];
    assert_eq!(shown, expected.map(|(path, text)| (path, text.to_owned())).into());
    let modes: Vec<_> = source.objects().iter().map(|object| object.mode.map(|mode| mode.bits())).collect();
    assert_eq!(modes, [Some(0o400), Some(0o400), Some(0o440), None, None, None]);
    let expressions: Vec<_> =
        source.objects().iter().filter_map(|object| object.jmes_path.as_deref()).collect();
    assert_eq!(expressions, ["username", "credentials.password"]);
    let version = |object: &Object| object.version.clone().unwrap();
    assert_eq!((version(&files["_shop_prod_flag"]).as_str(), version(&files["pin"]).as_str()), ("4", "3"));
    assert_eq!(version(&files["rds.json"]), current(&moto, "shop/rds"));
}

fn current(moto: &Moto, name: &str) -> String {
    let described = moto.secrets(REGION, "GetSecretValue", &json!({"SecretId": name}));
    described["VersionId"].as_str().unwrap().to_owned()
}
