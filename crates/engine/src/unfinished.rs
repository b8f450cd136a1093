//! Tasks that ended without a result.

use tokio::task::JoinError;

/// Why a task returned nothing. The message of a panic is left out, because it may contain a secret argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// The task panicked.
    #[error("a part of secretfs panicked, which is a fault of secretfs; its log tells at which line")]
    Panicked,
    /// The task was stopped before its end.
    #[error("a part of secretfs was stopped before its end")]
    Stopped,
}

impl From<JoinError> for Unfinished {
    fn from(error: JoinError) -> Self {
        if error.is_panic() { Self::Panicked } else { Self::Stopped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panics_message_is_not_told() {
        let panicked =
            tokio::spawn(async { panic!("the password is hunter2") }).await.map_err(Unfinished::from);
        let hanging = tokio::spawn(std::future::pending::<()>());
        hanging.abort();
        let stopped = hanging.await.map_err(Unfinished::from);

        let told = panicked.unwrap_err().to_string();
        assert!(told.contains("panicked") && !told.contains("hunter2"), "{told}");
        assert_eq!(stopped, Err(Unfinished::Stopped));
    }
}
