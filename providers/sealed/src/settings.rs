use std::path::PathBuf;
use std::sync::Arc;

use provider::{Provider, Providers};

use crate::age::NodeKey;
use crate::sealed::Sealed;
use crate::sealer::Sealer;

/// The longest name of an environment.
const LONGEST: usize = 128;

/// The administrator's settings for sealed values.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SealedSettings {
    /// Sealed values: the name of this cluster or host, such as production. Only what was sealed for it is opened
    #[arg(
        long,
        env = "SECRETFS_ENVIRONMENT",
        value_name = "NAME",
        value_parser = environment,
        help_heading = "Providers"
    )]
    environment: Option<String>,

    /// Sealed values: file with an age identity (AGE-SECRET-KEY-1…), for what was sealed to its recipient. It belongs to
    /// root or to the user of this process, and nobody else can read it
    #[arg(long, env = "SECRETFS_NODE_KEY", value_name = "FILE", help_heading = "Providers")]
    node_key: Option<PathBuf>,

    /// Whether that is forbidden here.
    #[arg(skip)]
    forbids_node_key: bool,
}

fn environment(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("write a name without spaces, such as production".to_owned()) }
}

impl SealedSettings {
    /// The provider. The keys are those of `providers`.
    pub fn provider(&self, providers: &Providers) -> Arc<dyn Provider> {
        Arc::new(Sealed::new(self.sealer(providers)))
    }

    /// What seals and opens with the keys of `providers`.
    pub fn sealer(&self, providers: &Providers) -> Sealer {
        let node_key = NodeKey { file: self.node_key.clone(), is_forbidden: self.forbids_node_key };
        Sealer::new(self.environment.clone(), providers.clone()).with_node_key(node_key)
    }

    /// Opens nothing that was sealed to a key of age.
    pub fn forbid_node_key(&mut self) {
        self.forbids_node_key = true;
    }

    /// Settings that are good enough to parse classes.
    pub fn offline() -> Self {
        Self::default()
    }
}
