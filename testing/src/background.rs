use std::sync::{LazyLock, mpsc};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

// Separate from the runtime of the test: fixtures must answer while a test blocks or pauses its clock.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime for the fixtures")
});

/// Runs `future` to its end. The calling thread waits.
pub(crate) fn wait<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let (done, result) = mpsc::sync_channel(1);
    RUNTIME.spawn(async move { done.send(future.await) });
    result.recv().expect("the fixture's call to end")
}

/// A background task. Dropping this value aborts the task.
#[derive(Debug)]
pub(crate) struct Running(JoinHandle<()>);

impl Running {
    pub(crate) fn start(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(RUNTIME.spawn(future))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
