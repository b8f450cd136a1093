//! `secretfs kms`: encryption at rest for the API server, with a key of a store.

use std::path::PathBuf;

use anyhow::Context as _;
use program::{hygiene, systemd};
use provider::{Error, ErrorKind, Invalid, Providers};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::login::LoginArgs;
use crate::exit::{Failure, Outcome};
use crate::kms_plugin::{self, Cipher, Plugin};
use crate::listening::Listening;
use crate::process::{drain, first_end};

/// Encrypt what an API server stores, with a key of a store: a plugin of protocol KMS v2
///
/// Listens for kube-apiserver, whose EncryptionConfiguration names the socket. Runs on the control plane beside it, and
/// never on other nodes. The key never leaves its store. After the key was rotated there, the API server encrypts what
/// is written from then on with the new version; older versions must stay able to decrypt.
/// Without this process and the store, an API server that restarts reads no Secret.
///
///   secretfs kms --endpoint /run/secretfs-kms/kms.sock --kms vault --key transit/kubernetes
///     --parameter vaultAddress=https://vault.example.com:8200 --parameter secretfs.dev/auth=approle
///     --credential role-id=/etc/secretfs/role-id --credential secret-id=/etc/secretfs/secret-id
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[allow(rustdoc::bare_urls, reason = "a command to type, which clap shows")]
pub struct KmsArgs {
    /// Socket to listen at; an existing one is replaced. Only root, or the user of this process, may call
    #[arg(long, value_name = "PATH", value_parser = mounter::endpoint)]
    endpoint: PathBuf,

    /// Provider whose store has the key, such as vault
    #[arg(long, value_name = "PROVIDER")]
    kms: String,

    /// The key. Of vault: the mount of the transit engine and the key's name, such as transit/kubernetes
    #[arg(long, value_name = "KEY")]
    key: String,

    #[command(flatten)]
    login: LoginArgs,
}

/// Runs `secretfs kms`.
///
/// # Errors
///
/// The provider has no keys, a parameter is wrong, or the socket cannot be used. A store that is away is no error: the
/// API server is told, and the store is asked again at each call.
pub async fn run(args: KmsArgs) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let endpoint = args.endpoint.clone();
    let plugin = Plugin::new(cipher(args)?);
    let listening = Listening::at(&endpoint).with_context(|| format!("listen at {}", endpoint.display()))?;
    let stop = CancellationToken::new();
    tracing::info!(socket = %endpoint.display(), "serving an API server");
    systemd::ready();
    let (mut tasks, until) = (JoinSet::new(), stop.clone());
    tasks.spawn(
        async move { kms_plugin::serve(&listening, plugin, until).await.context("serve the API server") },
    );
    let outcome = first_end(&mut tasks, "").await;
    stop.cancel();
    drain(tasks, "the API server repeats them").await;
    outcome
}

fn cipher(args: KmsArgs) -> Result<Cipher, Failure> {
    let providers = args.login.providers.build_in()?;
    let provider = providers.get(&args.kms).ok_or_else(|| Failure::usage(unknown(&args.kms, &providers)))?;
    let parameters = args.login.parameters();
    // Read at each call, so that credentials may be renewed on the disk.
    let caller = move || {
        let unfit =
            |error: anyhow::Error| Error::new(ErrorKind::NoCredential, format!("{error:#}")).unasked();
        args.login.workload("").map_err(unfit)
    };
    Cipher::new(provider, parameters, args.key, Box::new(caller))
        .map_err(|faults| Failure::usage(Invalid::all(&faults)))
}

fn unknown(name: &str, providers: &Providers) -> String {
    let known: Vec<_> = providers.names().collect();
    format!("--kms: there is no provider {name:?}; known are {}", known.join(", "))
}
