use proptest::prelude::*;

use super::*;

const OBJECTS_TEXT: &str = "- {objectName: a, objectType: secretsmanager}";

fn parameters(more: &[(&str, &str)]) -> Parameters {
    let sound = [("region", "eu-west-1"), ("objects", OBJECTS_TEXT)];
    sound.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn plan(more: &[(&str, &str)]) -> Result<Plan, Vec<String>> {
    let plan = Plan::new(&parameters(more), &AwsConfig::default());
    plan.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn trap_the_list_stands_in_objects_as_yaml_or_json() {
    let listed = |text| plan(&[("objects", text)]).map(|plan| plan.objects.len());

    assert_eq!(
        listed("- {objectName: a, objectType: ssmparameter}\n- {objectName: b, objectType: ssmparameter}"),
        Ok(2)
    );
    assert_eq!(listed(r#"[{"objectName": "a", "objectType": "ssmparameter"}]"#), Ok(1));
    assert!(listed("array:\n- 'objectName: a'").unwrap_err()[0].contains("expected a list of maps"));
    assert!(
        plan(&[("secrets", "- {objectName: a}"), ("objects", "")]).is_err(),
        "that is another provider's"
    );
}

#[test]
fn upstreams_parameters_are_understood() {
    let plan = plan(&[
        ("failoverRegion", "eu-central-1"),
        ("usePodIdentity", "T"),
        ("preferredAddressType", "IPv6"),
    ])
    .unwrap();

    assert_eq!((plan.regions.of(false), plan.regions.of(true)), (Some("eu-west-1"), Some("eu-central-1")));
    assert_eq!((plan.auth.method, plan.auth.family), (Some(Method::PodIdentity), Family::V6));
}

#[test]
fn what_upstream_lets_pass_we_let_pass() {
    let plan = plan(&[("preferredAddressType", "carrier pigeon"), ("someday", "x"), ("usePodIdentity", "")])
        .unwrap();

    assert_eq!((plan.auth.method, plan.auth.family), (None, Family::Either));
    let told = unknown(&parameters(&[("regoin", "x")]));
    assert!(told[0].to_string().contains("did you mean region?"), "{told:?}");
}

#[test]
fn what_could_never_work_is_told_with_a_remedy() {
    for (key, text) in [
        ("region", "eu west"),
        ("failoverRegion", "eu-west-1"),
        ("failoverRegion", "http://x"),
        ("usePodIdentity", "yes"),
        ("pathTranslation", "__"),
        ("roleArn", "shop"),
        ("assumeRoleArn", "arn:aws:iam::1:role/x"),
        ("externalId", "x"),
        ("sessionTags", "a=b"),
        ("endpoint", "ftp://x"),
        ("endpoint", "https://{zone}.x"),
        ("endpoint", "https://u:p@x"),
        ("caCertPath", "../ca.crt"),
        ("useFIPSEndpoint", "maybe"),
        (AUTH, "jwt"),
        (SHARE, "all"),
        (PROBE, "never"),
    ] {
        let told = plan(&[(key, text)]).unwrap_err();
        assert!(
            told[0].starts_with(&format!("parameter {key}")) && told[0].contains("; "),
            "{key}={text}: {told:?}"
        );
    }
    assert!(plan(&[("objects", "")]).unwrap_err()[0].contains("list at least one object"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let told = plan(&[("failoverRegion", "x y"), ("roleArn", "x"), ("endpoint", "x")]).unwrap_err();
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_region_comes_from_the_settings_where_the_class_has_none() {
    let config = AwsConfig { region: Some("us-east-1".to_owned()), ..AwsConfig::default() };
    let none = Parameters::from([("objects".to_owned(), OBJECTS_TEXT.to_owned())]);

    assert_eq!(Plan::new(&none, &config).unwrap().regions.of(false), Some("us-east-1"));
    assert!(Plan::new(&none, &AwsConfig::default()).unwrap_err()[0].to_string().contains("--aws-region"));
}

#[test]
fn a_second_role_has_an_external_id_and_tags() {
    let arn = "arn:aws:iam::444455556666:role/shop";
    let plan =
        plan(&[("assumeRoleArn", arn), ("externalId", "4711"), ("sessionTags", "team=shop, stage=prod,")])
            .unwrap();

    let second = plan.auth.second.unwrap();
    assert_eq!(
        (second.arn.as_str(), second.external_id.as_deref(), second.tags.len()),
        (arn, Some("4711"), 2)
    );
    for tags in ["team", "=x", "a=1,a=2"] {
        assert!(self::plan(&[("assumeRoleArn", arn), ("sessionTags", tags)]).is_err(), "{tags}");
    }
}

#[test]
fn an_endpoint_has_places_for_service_and_region() {
    let plan = plan(&[("endpoint", "https://vpce-1.{service}.{region}.vpce.amazonaws.com/")]).unwrap();

    let address = plan.endpoints.address(Service::Ssm, &plan.regions.first);
    assert_eq!(address, "https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com");
    assert!(plan.exposure.is_none());
}

#[test]
fn a_login_method_and_use_pod_identity_do_not_contradict() {
    assert_eq!(
        plan(&[(AUTH, "pod-identity"), ("usePodIdentity", "true")]).unwrap().auth.method,
        Some(Method::PodIdentity)
    );
    assert!(plan(&[(AUTH, "irsa"), ("usePodIdentity", "true")]).is_err());
}

#[test]
fn a_control_character_in_a_parameter_is_refused_and_the_parameter_named() {
    for key in ["region", "externalId", "endpoint", "whatever"] {
        let told = plan(&[(key, "a\n{\"class_uid\":6003}")]).unwrap_err();
        assert!(told.iter().any(|told| told.starts_with(&format!("parameter {key}"))), "{key}: {told:?}");
    }
}

proptest! {
    #[test]
    fn no_objects_make_the_reader_panic(text in r"(- )?[{]?(objectName|objectType|filePermission|jmesPath): [-a-z0-9/:.'\x22{}\[\]&*!|>#,% \n]{0,80}|\PC{0,80}") {
        let _ = plan(&[("objects", &text)]);
    }

    #[test]
    fn what_is_accepted_as_an_endpoint_is_an_address(text in r"https?://[a-z{}./:@-]{1,30}|\PC{0,30}") {
        if let Ok(plan) = plan(&[("endpoint", &text)]) && plan.endpoints.custom.is_some() {
            prop_assert!(plain_address(&plan.endpoints.address(Service::Sts, &plan.regions.first)).is_ok());
        }
    }
}
