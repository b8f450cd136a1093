//! How a command that encrypts or decrypts for people logs in.

use std::path::PathBuf;

use provider::{Identity, Parameters, Workload};

use crate::commands::credentials;
use crate::providers::ProviderArgs;

/// Whom the store of the key takes this command for, and how to reach it.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// A parameter for the store of the key, as a class of its provider has it, over kmsParameters of the class:
    /// people log in otherwise than pods, such as with secretfs.dev/auth=token
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_and_value)]
    parameters: Vec<(String, String)>,

    /// A credential for the store, from a file that only its owner can read. KEY is `role-id`, `secret-id`, `token`,
    /// `tls.crt` or `tls.key`
    #[arg(long = "credential", value_name = "KEY=FILE", value_parser = credentials::key_and_file)]
    credentials: Vec<(String, PathBuf)>,

    /// A service account token (JWT) for the store, by its audience
    #[arg(long = "service-account-token", value_name = "AUDIENCE=FILE", value_parser = credentials::key_and_file)]
    tokens: Vec<(String, PathBuf)>,

    /// Service account to log in as, if the store needs one
    #[arg(long, default_value = "default", value_name = "NAME")]
    service_account: String,

    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
}

/// Parses `KEY=VALUE`.
pub(crate) fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl LoginArgs {
    /// The caller, for a class of `namespace`. Reads the files of its credentials.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or others can read it.
    pub(crate) fn workload(&self, namespace: &str) -> anyhow::Result<Workload> {
        Ok(Workload {
            identity: Identity::named(namespace, self.service_account.as_str()),
            pod: None,
            volume: "command".to_owned(),
            tokens: credentials::read_all(&self.tokens)?,
            credentials: credentials::read_all(&self.credentials)?,
        })
    }

    /// The parameters of the command line.
    pub(crate) fn parameters(&self) -> Parameters {
        self.parameters.iter().cloned().collect()
    }
}
