//! The least that a publish takes: the kernel's calls and the store's answers, and nothing of ours.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::measure::Samples;

/// Raw system calls that make and unmake what a volume is to the pod.
#[derive(Debug)]
pub(crate) struct Kernel {
    place: tempfile::TempDir,
    next: AtomicUsize,
}

/// As long as the values in the store.
const VALUE: [u8; 64] = [b'v'; 64];

impl Kernel {
    pub(crate) fn new() -> Self {
        let place = tempfile::Builder::new().prefix("secretfs-floor").tempdir().expect("a directory");
        Self { place, next: AtomicUsize::new(0) }
    }

    /// Times of mounting and of unmounting a volume of `files`.
    pub(crate) fn volume(&self, files: usize) -> (Duration, Duration) {
        let target = self.place.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let started = Instant::now();
        mount(&target, files).expect("root, to mount");
        let mounted = started.elapsed();
        let started = Instant::now();
        unmount(&target).expect("to unmount what was mounted");
        (mounted, started.elapsed())
    }

    /// The same from `threads` at a time, `each` times.
    pub(crate) fn volumes(&self, threads: usize, each: usize, files: usize) -> Samples {
        let work = || (0..each).map(|_| self.volume(files).0).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("to mount")).collect()
        })
    }
}

fn mount(target: &PathBuf, files: usize) -> rustix::io::Result<()> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_flag(context.as_fd(), "noswap")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    fill(&root, files)?;
    rustix::fs::mkdir(target, Mode::RWXU)?;
    sys::make_read_only(root.as_fd()).expect("a mount that nobody writes to");
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&root, "", rustix::fs::CWD, target, empty)
}

fn fill(root: &OwnedFd, files: usize) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(root, "..version", Mode::RWXU)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let version = rustix::fs::openat(root, "..version", flags, Mode::empty())?;
    for file in 0..files {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut written = File::from(rustix::fs::openat(&version, name(file), flags, Mode::RUSR)?);
        written.write_all(&VALUE).expect("to write");
        rustix::fs::fchmod(&written, Mode::RUSR | Mode::RGRP | Mode::ROTH)?;
    }
    rustix::fs::symlinkat("..version", root, "..data")?;
    (0..files).try_for_each(|file| rustix::fs::symlinkat(format!("..data/{}", name(file)), root, name(file)))
}

fn unmount(target: &Path) -> rustix::io::Result<()> {
    rustix::mount::unmount(target, UnmountFlags::empty())?;
    rustix::fs::rmdir(target)
}

fn name(file: usize) -> String {
    format!("o{file}")
}

/// Connections to the store that are kept, with nothing between them and the socket.
#[derive(Debug)]
pub(crate) struct BareStore(Vec<Connection>);

#[derive(Debug)]
struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

/// What a login and some reads ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// `auth/<mount>/login`.
    pub(crate) login: &'a str,
    pub(crate) role: &'a str,
    pub(crate) jwt: &'a str,
    pub(crate) paths: &'a [String],
}

impl BareStore {
    /// `address` is a URL with host and port.
    pub(crate) async fn connect(address: &str, connections: usize) -> Self {
        let host = address.trim_start_matches("http://").to_owned();
        let connect = || async {
            let stream = TcpStream::connect(&host).await.expect("the store to listen");
            stream.set_nodelay(true).expect("a socket");
            Connection { stream: BufReader::new(stream), host: host.clone() }
        };
        Self(join_all((0..connections).map(|_| connect())).await)
    }

    /// A login, then the reads side by side.
    pub(crate) async fn read(&mut self, asked: Asked<'_>) {
        assert!(asked.paths.len() <= self.0.len(), "a connection for each read");
        let token = self.0[0].login(asked).await;
        join_all(self.0.iter_mut().zip(asked.paths).map(|(line, path)| line.read(path, &token))).await;
    }

    /// For each of `jwts` a login and the reads after it, on all connections side by side.
    pub(crate) async fn read_all(&mut self, asked: Asked<'_>, jwts: &[String]) {
        let next = AtomicUsize::new(0);
        let next = &next;
        join_all(self.0.iter_mut().map(|line| async move {
            while let Some(jwt) = jwts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let token = line.login(Asked { jwt, ..asked }).await;
                for path in asked.paths {
                    line.read(path, &token).await;
                }
            }
        }))
        .await;
    }

    /// `reads` reads with one login, on all connections side by side.
    pub(crate) async fn only_read(&mut self, asked: Asked<'_>, reads: usize) {
        let token = self.0[0].login(asked).await;
        let (next, token) = (AtomicUsize::new(0), &token);
        let next = &next;
        join_all(self.0.iter_mut().map(|line| async move {
            while next.fetch_add(1, Ordering::Relaxed) < reads {
                line.read(&asked.paths[0], token).await;
            }
        }))
        .await;
    }
}

impl Connection {
    async fn login(&mut self, asked: Asked<'_>) -> String {
        let body = json!({"role": asked.role, "jwt": asked.jwt}).to_string();
        let answer = self.call("POST", asked.login, "", &body).await;
        answer["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    async fn read(&mut self, path: &str, token: &str) {
        let answer = self.call("GET", path, token, "").await;
        assert!(answer["data"].is_object(), "{path}: {answer}");
    }

    async fn call(&mut self, method: &str, path: &str, token: &str, body: &str) -> Value {
        let host = &self.host;
        let message = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: {host}\r\nX-Vault-Request: true\r\n\
             X-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(message.as_bytes()).await.expect("the store to read");
        self.answer().await
    }

    async fn answer(&mut self) -> Value {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).await.expect("the store to answer");
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.expect("a whole answer");
        serde_json::from_slice(&body).expect("JSON")
    }
}
