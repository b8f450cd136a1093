use std::sync::Arc;

use provider::{Provider, Providers};

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
        Sealer::new(self.environment.clone(), providers.clone())
    }

    /// Settings that are good enough to parse classes.
    pub fn offline() -> Self {
        Self::default()
    }
}
