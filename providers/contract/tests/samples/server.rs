//! The server of a shelf. A request is a line with a token and a name; the answer is a sign and a value.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use provider_contract::{Behaviour, Script, Traffic, Who, token};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server answers, by the index of the fixture's answers.
pub(crate) const SIGNS: [&[u8]; 4] = [b"-", b"!", b"nonsense with canary-token-9c2b", b""];

/// The length, in bytes, at which the server stops an endless answer.
const ENOUGH: usize = 32 << 20;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    accepting: JoinHandle<()>,
}

pub(crate) struct State {
    pub(crate) script: Script,
    pub(crate) seen: Mutex<String>,
    logins: AtomicUsize,
    reads: AtomicUsize,
    open: AtomicUsize,
}

impl State {
    pub(crate) fn traffic(&self) -> Traffic {
        let [logins, reads, open] = [&self.logins, &self.reads, &self.open].map(|n| n.load(Ordering::SeqCst));
        Traffic { logins, reads, open }
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Script::default(),
            seen: Mutex::default(),
            logins: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let listener = TcpListener::from_std(listener).unwrap();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        state.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let _ = serve(stream, &state).await;
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    state.seen.lock().unwrap().push_str(&line);
    let Some((shown, name)) = line.trim_end().split_once(' ') else { return Ok(()) };
    if name == "login" {
        state.logins.fetch_add(1, Ordering::SeqCst);
        return stream.write_all(b"+").await;
    }
    state.reads.fetch_add(1, Ordering::SeqCst);
    match state.script.behaviour() {
        Behaviour::Says(index) => stream.write_all(SIGNS[index]).await,
        Behaviour::Hang => hang(&mut stream).await,
        Behaviour::Endless => endless(&mut stream).await,
        Behaviour::Forever => stream.write_all(format!("~{}", u64::MAX).as_bytes()).await,
        Behaviour::Serve | Behaviour::HangAtLogin => {
            let value = state.script.value(name);
            let is_ones = shown.as_bytes() == token(Who::One).expose();
            let answer = match value {
                _ if !is_ones => "!".to_owned(),
                Some(value) => format!("+{value}"),
                None => "-".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await
        }
    }
}

async fn hang(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn endless(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    stream.write_all(b"+").await?;
    for _ in 0..ENOUGH / 65_536 {
        stream.write_all(&[b'x'; 65_536]).await?;
    }
    Ok(())
}
