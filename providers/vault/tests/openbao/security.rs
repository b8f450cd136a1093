use std::fs;
use std::sync::Arc;

use provider::{Endings, Network, Provider, Source, Tenure};
use provider_vault::{Vault, VaultConfig};
use serde_json::{Value, json};
use testing::{Answer, Authority, FaultServer, OpenBao};

use crate::support::{
    files, leases, of_namespace, only, source, source_of, store, text, with_credentials, workload,
};

const OBJECT: &str = "- {objectName: a, secretPath: secret/data/app, secretKey: key}";

/// A provider with a folder of certificates that has what a pod needs to reach this server.
fn with_certificates(bao: &OpenBao) -> (Vault, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.crt"), bao.authority().pem()).unwrap();
    fs::create_dir(folder.path().join("authorities")).unwrap();
    fs::copy(folder.path().join("ca.crt"), folder.path().join("authorities/one.pem")).unwrap();
    let of_shop = folder.path().join("shop");
    fs::create_dir(&of_shop).unwrap();
    bao.authority().client("web").save(&of_shop, "client");
    let network = Network { tls_dir: Some(folder.path().to_owned()), ..Network::default() };
    let config = VaultConfig { network, ..VaultConfig::default() };
    (Vault::new(config).unwrap(), folder)
}

#[tokio::test]
async fn a_class_names_whom_it_trusts_and_the_certificate_it_shows() {
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    let (vault, _folder) = with_certificates(&bao);
    let pod = workload(&issuer, "web-0", "v0");
    let (tls, mutual) = (bao.tls_address(), bao.mutual_tls_address());
    let class = |address: &str, trust: (&str, &str), client: (&str, &str)| {
        source(
            &vault,
            [
                ("vaultAddress", address),
                ("roleName", "app"),
                ("objects", OBJECT),
                trust,
                ("vaultTLSClientCertPath", client.0),
                ("vaultTLSClientKeyPath", client.1),
            ],
        )
    };
    let none = ("", "");
    let shown = ("/client.pem", "client.key");

    for source in [
        class(&tls, ("vaultCACertPath", "/ca.crt"), none),
        class(&tls, ("vaultCADirectory", "authorities"), none),
        class(&tls, ("vaultSkipTLSVerify", "true"), none),
        class(&mutual, ("vaultCACertPath", "ca.crt"), shown),
    ] {
        assert_eq!(only(&*source, &pod).await.unwrap(), "v", "{}", source.store());
    }
    for (source, words) in [
        (class(&tls, none, none), "name the authority's certificate in vaultCACertPath"),
        (class(&tls, ("vaultCACertPath", "gone.crt"), none), "gone.crt"),
        (class(&tls, ("vaultCACertPath", "shop/client.key"), none), "holds no certificate"),
        (class(&mutual, ("vaultCACertPath", "ca.crt"), none), "client certificate"),
    ] {
        let error = only(&*source, &pod).await.unwrap_err();
        assert!(error.to_string().contains(words), "{}: {error}", source.store());
    }
}

#[tokio::test]
async fn a_server_may_be_known_by_another_name() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
    let server = FaultServer::https(&authority.server(&["vault.internal"]), |seen| {
        if seen.target.ends_with("/login") {
            return Answer::json(200, &json!({"auth": {"client_token": "t", "lease_duration": 60}}));
        }
        Answer::json(200, &json!({"data": {"key": "v"}}))
    });
    let network = Network { tls_dir: Some(folder.path().to_owned()), ..Network::default() };
    let config = VaultConfig { network, ..VaultConfig::default() };
    let vault = Vault::new(config).unwrap();
    let pod = workload(&testing::Issuer::start(), "web-0", "v0");
    let class = |name| {
        source(
            &vault,
            [
                ("vaultAddress", server.url().as_str()),
                ("vaultCACertPath", "ca.crt"),
                ("vaultTLSServerName", name),
                ("roleName", "app"),
                ("objects", OBJECT),
            ],
        )
    };

    assert_eq!(only(&*class("vault.internal"), &pod).await.unwrap(), "v");
    let error = only(&*class(""), &pod).await.unwrap_err();
    assert!(error.to_string().contains("vaultTLSServerName"), "{error}");
}

/// A server that accepts the certificate `driver` at `auth/cert`, and a provider with that certificate in the folder of
/// namespace `platform` and in a file that belongs to no namespace.
fn with_a_platform() -> (OpenBao, testing::Issuer, Vault, tempfile::TempDir) {
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    bao.write("sys/auth/cert", &json!({"type": "cert"}));
    bao.write(
        "auth/cert/certs/app",
        &json!({"certificate": bao.authority().pem(), "allowed_common_names": "driver", "token_policies": "app"}),
    );
    let (vault, folder) = with_certificates(&bao);
    for place in [folder.path().to_owned(), folder.path().join("platform")] {
        fs::create_dir_all(&place).unwrap();
        let identity = bao.authority().client("driver");
        fs::write(place.join("driver.crt"), identity.certificate).unwrap();
        fs::write(place.join("driver.key"), identity.key).unwrap();
    }
    (bao, issuer, vault, folder)
}

/// Moves the platform's certificate to `namespace`.
fn move_certificate(folder: &tempfile::TempDir, namespace: &str) {
    for file in ["driver.crt", "driver.key"] {
        let place = |of: &str| folder.path().join(of).join(file);
        fs::rename(place("platform"), place(namespace)).unwrap();
    }
}

/// A class in `namespace` that sends its token to `mount` over a connection with this client certificate.
fn certified(
    vault: &Vault,
    bao: &OpenBao,
    namespace: &str,
    mount: &str,
    certificate: &str,
) -> Arc<dyn Source> {
    source_of(
        namespace,
        vault,
        [
            ("vaultAddress", bao.tls_address().as_str()),
            ("vaultCACertPath", "ca.crt"),
            ("vaultAuthMountPath", mount),
            ("vaultTLSClientCertPath", &format!("{certificate}.crt")),
            ("vaultTLSClientKeyPath", &format!("{certificate}.key")),
            ("roleName", "app"),
            ("objects", OBJECT),
        ],
    )
}

#[tokio::test]
async fn a_class_shows_no_client_certificate_of_another_namespace() {
    let (bao, issuer, vault, _folder) = with_a_platform();
    let evil = of_namespace("evil", &issuer);

    for certificate in ["driver", "/driver", "platform/driver", "evil/driver", "..data/driver"] {
        for mount in ["cert", "kubernetes"] {
            let class = certified(&vault, &bao, "evil", mount, certificate);
            let told = only(&*class, &evil).await.unwrap_err().to_string();
            assert!(told.contains("bound to namespaces") && told.contains("evil"), "{certificate}: {told}");
        }
    }
}

#[tokio::test]
async fn a_class_shows_a_client_certificate_of_its_own_namespace_and_logs_in_with_its_token() {
    let (bao, issuer, vault, folder) = with_a_platform();
    move_certificate(&folder, "shop");
    let pod = workload(&issuer, "web-0", "v0");

    let class = certified(&vault, &bao, "shop", "kubernetes", "driver");

    assert_eq!(only(&*class, &pod).await.unwrap(), "v");
}

#[tokio::test]
async fn a_class_that_logs_in_by_its_token_never_logs_in_by_its_client_certificate() {
    let (bao, issuer, vault, folder) = with_a_platform();
    move_certificate(&folder, "shop");
    let pod = workload(&issuer, "web-0", "v0");

    let error = only(&*certified(&vault, &bao, "shop", "cert", "driver"), &pod).await.unwrap_err();

    assert!(error.to_string().contains("judged the client certificate"), "{error}");
    assert_eq!(error.kind(), provider::ErrorKind::Invalid, "no word of the store: it withdraws nothing");
    assert_eq!(bao.requests("update", "auth/token/revoke-self"), 1, "nobody keeps that login");
}

#[tokio::test]
async fn a_way_to_a_store_that_others_can_answer_on_is_refused_unless_the_administrator_allows_it() {
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    let pod = workload(&issuer, "web-0", "v0");
    let tls = bao.tls_address().replace("localhost", "127.0.0.1");
    for (address, skip, told) in
        [(bao.address(), "", "vaultAddress: it is http"), (tls, "true", "vaultSkipTLSVerify: ")]
    {
        let class = |allow_insecure| {
            let network = Network { allow_insecure, ..Network::default() };
            let vault = Vault::new(VaultConfig { network, ..VaultConfig::default() }).unwrap();
            // A name other than that of loopback, so that the address is not exempt.
            let name = ("vaultTLSServerName", "elsewhere.test");
            source(
                &vault,
                [
                    ("vaultAddress", &address),
                    ("vaultSkipTLSVerify", skip),
                    name,
                    ("roleName", "app"),
                    ("objects", OBJECT),
                ],
            )
        };

        let before = bao.requests("update", "auth/kubernetes/login");
        let refused = only(&*class(false), &pod).await.unwrap_err();
        let logins = bao.requests("update", "auth/kubernetes/login") - before;
        let read = only(&*class(true), &pod).await.unwrap();

        assert_eq!((refused.kind(), logins, read.as_str()), (provider::ErrorKind::Invalid, 0, "v"));
        let refused = refused.to_string();
        assert!(refused.contains(told) && refused.contains("--allow-insecure-stores"), "{refused}");
        assert!(!class(false).exposure().unwrap().is_allowed && class(true).exposure().unwrap().is_allowed);
    }
}

#[tokio::test]
async fn a_class_may_leave_the_administrators_own_address_unverified_and_that_is_told() {
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    let pod = workload(&issuer, "web-0", "v0");
    let own = bao.tls_address().replace("localhost", "127.0.0.1");
    let vault = Vault::new(VaultConfig { address: Some(own), ..VaultConfig::default() }).unwrap();
    let class = source(
        &vault,
        [
            ("vaultSkipTLSVerify", "true"),
            // A name other than that of loopback, so that the address is not exempt.
            ("vaultTLSServerName", "elsewhere.test"),
            ("roleName", "app"),
            ("objects", OBJECT),
        ],
    );

    assert_eq!(only(&*class, &pod).await.unwrap(), "v");
    let exposure = class.exposure().unwrap();
    assert_eq!((exposure.asked.key.as_str(), exposure.is_allowed), ("vaultSkipTLSVerify", true));
}

#[tokio::test]
async fn a_workload_logs_in_with_its_own_certificate() {
    let (bao, _issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    bao.write("sys/auth/cert", &json!({"type": "cert"}));
    bao.write(
        "auth/cert/certs/app",
        &json!({"certificate": bao.authority().pem(), "allowed_common_names": "web", "token_policies": "app"}),
    );
    let (vault, _folder) = with_certificates(&bao);
    let source = source(
        &vault,
        [
            ("vaultAddress", bao.tls_address().as_str()),
            ("vaultCACertPath", "ca.crt"),
            ("secretfs.dev/auth", "cert"),
            ("roleName", "app"),
            ("objects", OBJECT),
        ],
    );
    let holder = |name: &str| {
        let identity = bao.authority().client(name);
        with_credentials([("tls.crt", &identity.certificate), ("tls.key", &identity.key)])
    };

    let session = source.session(&holder("web"), Tenure::Volume).await.unwrap();
    let shown = text(&files(&*source, &*session).await.unwrap()["a"]);
    let remains = leases(&session).remains().unwrap();
    let stranger = only(&*source, &holder("stranger")).await.unwrap_err();

    assert_eq!(shown, "v");
    assert_eq!(stranger.kind(), provider::ErrorKind::Unauthenticated);
    vault.revoke(&remains).await.unwrap();
    assert!(session.read(&source.objects()[0].request).await.is_err());
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_class_is_told_at_once() {
    let vault = Vault::new(VaultConfig::default()).unwrap();
    let told = |pairs: &[(&str, &str)]| {
        let parameters = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let errors = vault.source("shop", &parameters).map(|_| ()).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };

    let all = told(&[
        ("vaultAddress", "vault:8200"),
        ("vaultCACertPath", "../../etc/shadow"),
        ("vaultSkipTLSVerify", "maybe"),
        ("vaultAuthMountPath", ""),
        ("vaultKubernetesMountPath", ""),
        ("secretfs.dev/auth", "ldap"),
        ("secretfs.dev/share", "everybody"),
        ("vaultTLSClientCertPath", "a.crt"),
        ("objects", "- {objectName: a}"),
    ]);
    for key in [
        "vaultAddress",
        "vaultCACertPath",
        "vaultSkipTLSVerify",
        "vaultAuthMountPath",
        "secretfs.dev/auth",
        "secretfs.dev/share",
        "vaultTLSClientCertPath",
        "objects[0].secretPath (line 1)",
    ] {
        assert!(all.contains(&format!("parameter {key}")), "{key}\n{all}");
    }

    let address = ("vaultAddress", "http://v");
    assert!(told(&[address, ("objects", OBJECT)]).contains("roleName: it is missing"));
    assert!(told(&[address, ("roleName", "r")]).contains("objects: it is missing"));
    assert!(
        told(&[address, ("rolename", "r"), ("objects", OBJECT)]).contains("roleName"),
        "keys are case-sensitive"
    );
    assert!(told(&[("roleName", "r"), ("objects", OBJECT)]).contains("secretfs has no default"));
    assert!(
        told(&[("vaultAddress", "unix:///run/docker.sock"), ("roleName", "r"), ("objects", OBJECT)])
            .contains("vaultAddress")
    );
}

#[tokio::test]
async fn a_local_agent_is_reached_over_its_socket_where_the_administrator_says_so() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let agent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let body = json!({"auth": {"client_token": "t", "lease_duration": 60}}).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let config =
        VaultConfig { address: Some(format!("unix://{}", socket.display())), ..VaultConfig::default() };
    let vault = Vault::new(config).unwrap();
    let source: std::sync::Arc<dyn Source> = source(&vault, [("roleName", "app"), ("objects", OBJECT)]);
    let issuer = testing::Issuer::start();

    source.session(&workload(&issuer, "web-0", "v0"), Tenure::Shared).await.unwrap();

    let request = agent.await.unwrap();
    assert!(request.starts_with("POST /v1/auth/kubernetes/login HTTP/1.1"), "{request}");
    assert!(request.to_ascii_lowercase().contains("x-vault-request: true"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["role"], "app");
}
