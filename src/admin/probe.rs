//! Serves probes on a socket of its own, which no pod and nobody on the network can reach. So nobody can make kubelet
//! restart the driver by filling the HTTP port or the admin socket.
//!
//! Each conversation is one line of JSON in, one line out.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::http::Health;
use super::line::{read_line, write_line};
use super::socket::AdminSocket;

/// The socket's name in the state directory.
pub const NAME: &str = "health.sock";
/// Conversations at the same time. Further ones are closed at once.
const MOST_CONVERSATIONS: usize = 16;
/// How long a conversation may take, and how long the client waits. It is shorter than kubelet's wait for a probe.
const DEADLINE: Duration = Duration::from_secs(4);

/// Which of the two questions of a probe is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// Does the process's own loop turn? If it does not, a restart helps
    Live,
    /// Is it registered with kubelet, its volumes taken over, its mounter there?
    Ready,
}

/// The answer of a process about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the answer to the question is yes.
    pub yes: bool,
    /// The answer in words, with what is missing.
    pub told: String,
}

impl Answer {
    fn of(health: &Health, question: Question) -> Self {
        let told = match question {
            Question::Live => health.live(),
            Question::Ready => health.ready(),
        };
        Self { yes: told.is_ok(), told: told.map_or_else(|ill| ill, str::to_owned) }
    }
}

/// Answers on `socket` until `shutdown`.
pub async fn serve(socket: AdminSocket, health: Health, shutdown: CancellationToken) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = conversations.join_next() => {}
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) if conversations.len() < MOST_CONVERSATIONS => {
                    conversations.spawn(timeout(DEADLINE, answer(stream, health.clone())));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the health socket cannot accept");
                    sleep(Duration::from_secs(1)).await;
                }
            },
        }
    }
    drop(socket);
    // Each conversation ends at its deadline.
    while conversations.join_next().await.is_some() {}
}

async fn answer(mut stream: UnixStream, health: Health) -> io::Result<()> {
    if let Some(question) = read_line(&mut BufReader::new(&mut stream)).await? {
        write_line(&mut stream, &Answer::of(&health, question)).await?;
    }
    Ok(())
}

/// Asks the process behind `socket`.
///
/// # Errors
///
/// No process answers there within four seconds.
pub async fn ask(socket: &Path, question: Question) -> io::Result<Answer> {
    timeout(DEADLINE, exchange(socket, question)).await?
}

async fn exchange(socket: &Path, question: Question) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket).await?;
    write_line(&mut stream, &question).await?;
    read_line(&mut BufReader::new(stream)).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use metrics::Metrics;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use program::readiness::Readiness;

    use crate::admin::http::Pulse;

    struct Running {
        directory: tempfile::TempDir,
        health: Health,
        shutdown: CancellationToken,
        server: tokio::task::JoinHandle<()>,
    }

    fn running() -> Running {
        let directory = tempfile::tempdir().unwrap();
        let (metrics, readiness, pulse) = (Metrics::default(), Readiness::default(), Pulse::default());
        let (health, shutdown) = (Health { metrics, readiness, pulse }, CancellationToken::new());
        let socket = AdminSocket::bind(&directory.path().join(NAME)).unwrap();
        let server = tokio::spawn(serve(socket, health.clone(), shutdown.clone()));
        Running { directory, health, shutdown, server }
    }

    impl Running {
        async fn ask(&self, question: Question) -> io::Result<Answer> {
            ask(&self.directory.path().join(NAME), question).await
        }

        async fn stop(self) -> tempfile::TempDir {
            self.shutdown.cancel();
            timeout(Duration::from_secs(60), self.server).await.unwrap().unwrap();
            self.directory
        }
    }

    fn answer(yes: bool, told: &str) -> Answer {
        Answer { yes, told: told.to_owned() }
    }

    #[tokio::test]
    async fn a_process_tells_whether_it_lives_and_what_it_lacks_to_be_ready() {
        let running = running();
        let registered = running.health.readiness.latch("registered");

        assert_eq!(running.ask(Question::Live).await.unwrap(), answer(true, "alive"));
        let unready = running.ask(Question::Ready).await.unwrap();
        assert_eq!(unready, answer(false, "not ready, missing: registered"));
        registered.set(true);
        assert_eq!(running.ask(Question::Ready).await.unwrap(), answer(true, "ready"));
        let directory = running.stop().await;
        assert!(ask(&directory.path().join(NAME), Question::Live).await.is_err());
    }

    #[tokio::test]
    async fn who_says_nothing_or_nonsense_there_keeps_nobody_from_asking_for_long() {
        let running = running();
        let socket = running.directory.path().join(NAME);
        let mut silent = Vec::new();
        for number in 0..2 * MOST_CONVERSATIONS {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            if number % 2 == 0 {
                stream.write_all(b"nonsense\n").await.unwrap();
            }
            silent.push(stream);
        }

        let asked = async {
            while running.ask(Question::Live).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(4 * DEADLINE, asked).await.expect("an answer after the silent ones' deadline");

        running.stop().await;
    }
}
