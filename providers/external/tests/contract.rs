//! Runs the contract suite against an external provider: a stub program on a socket.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csi_proto::provider::csi_driver_provider_server::{CsiDriverProvider, CsiDriverProviderServer};
use csi_proto::provider::{
    Error as Code, File, MountRequest, MountResponse, ObjectVersion, VersionRequest, VersionResponse,
};
use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Clause, Fixture, Said, Script, Traffic, Who, pod, token};
use provider_external::{External, Sockets};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[tokio::test]
async fn external_providers_are_held_to_the_contract_of_all_providers() {
    provider_contract::verify(&Stub::start()).await;
}

/// The longest answer, in bytes.
const MOST: usize = 1 << 20;

struct Stub {
    directory: TempDir,
    program: Program,
    serving: JoinHandle<()>,
}

/// The stub of an external provider.
#[derive(Clone, Default)]
struct Program(Arc<State>);

#[derive(Default)]
struct State {
    script: Script,
    seen: Mutex<String>,
    calls: AtomicUsize,
    open: AtomicUsize,
}

impl Stub {
    fn start() -> Self {
        let (directory, program) = (tempfile::tempdir().unwrap(), Program::default());
        let socket = UnixListener::bind(directory.path().join("acme.sock")).unwrap();
        let service = CsiDriverProviderServer::new(program.clone());
        let server = Server::builder().add_service(service);
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(UnixListenerStream::new(socket)).await.unwrap();
        });
        Self { directory, program, serving }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A running call.
struct Call<'a>(&'a State);

impl<'a> Call<'a> {
    fn begin(state: &'a State) -> Self {
        state.calls.fetch_add(1, Ordering::SeqCst);
        state.open.fetch_add(1, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl CsiDriverProvider for Program {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn mount(&self, request: Request<MountRequest>) -> Result<Response<MountResponse>, Status> {
        let _call = Call::begin(&self.0);
        let request = request.into_inner();
        self.0.seen.lock().unwrap().push_str(&request.attributes);
        let answer = match self.0.script.behaviour() {
            Behaviour::Says(index) => said().remove(index).2?,
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Endless => files(&BTreeMap::from([("mine".to_owned(), "x".repeat(2 * MOST))])),
            Behaviour::Serve | Behaviour::HangAtLogin | Behaviour::Forever => {
                self.serve(&request.attributes)?
            }
        };
        Ok(Response::new(answer))
    }
}

impl Program {
    fn serve(&self, attributes: &str) -> Result<MountResponse, Status> {
        if !attributes.contains(token(Who::One).expose_str().unwrap()) {
            return Err(Status::permission_denied("it is One's"));
        }
        Ok(files(&self.0.script.values()))
    }
}

fn files(values: &BTreeMap<String, String>) -> MountResponse {
    let file = |(path, value): (&String, &String)| File {
        path: path.clone(),
        mode: 0o400,
        contents: value.clone().into_bytes(),
    };
    let version = |path: &String| ObjectVersion { id: path.clone(), version: "1".to_owned() };
    MountResponse {
        object_version: values.keys().map(version).collect(),
        error: None,
        files: values.iter().map(file).collect(),
    }
}

fn one(path: &str) -> MountResponse {
    files(&BTreeMap::from([(path.to_owned(), "v".to_owned())]))
}

fn said() -> Vec<(&'static str, ErrorKind, Result<MountResponse, Status>)> {
    use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
    let code = Some(Code { code: "Broken".to_owned() });
    vec![
        ("NotFound", NotFound, Err(Status::not_found("none"))),
        ("files without the one that was asked for", NotFound, Ok(one("other"))),
        ("PermissionDenied", Denied, Err(Status::permission_denied("no"))),
        ("Unauthenticated", Unauthenticated, Err(Status::unauthenticated("who?"))),
        ("InvalidArgument", Invalid, Err(Status::invalid_argument("no such parameter"))),
        ("a path that leaves the volume", Invalid, Ok(one("../outside"))),
        ("Unknown", Unavailable, Err(Status::unknown("something"))),
        ("Internal", Unavailable, Err(Status::internal("something"))),
        ("ResourceExhausted", Unavailable, Err(Status::resource_exhausted("slow down"))),
        ("an error code", Unavailable, Ok(MountResponse { error: code, ..one("mine") })),
        ("no versions", Unavailable, Ok(MountResponse::default())),
        (
            "no files, here or in the directory",
            Unavailable,
            Ok(MountResponse { files: Vec::new(), ..one("mine") }),
        ),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "external_providers_are_held_to_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let directories = vec![self.directory.path().to_owned()];
        let sockets =
            Arc::new(Sockets { directories, max_answer: MOST, built_in: Vec::new(), connect: None });
        Arc::new(External::named("acme", &sockets).unwrap())
    }

    /// The stub shows all of its values, whatever the parameters ask for.
    fn parameters(&self, names: &[&str]) -> Parameters {
        Parameters::from([("objects".to_owned(), names.join(","))])
    }

    fn nonsense(&self) -> Option<Parameters> {
        None
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert("acme".to_owned(), token(who));
        workload
    }

    fn put(&self, name: &str, value: &str) {
        self.program.0.script.put(name, value);
    }

    fn behave(&self, behaviour: Behaviour) {
        self.program.0.script.behave(behaviour);
    }

    fn answers(&self) -> Vec<Said> {
        said().into_iter().map(|(what, kind, _)| Said { what, kind }).collect()
    }

    fn never(&self) -> Vec<(ErrorKind, &'static str)> {
        vec![
            (ErrorKind::Revoked, "the protocol has no word for it"),
            (
                ErrorKind::NoCredential,
                "which tokens it needs is between the program and the CSIDriver object",
            ),
        ]
    }

    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        vec![(Clause::Logins, "they are the program's own"), (Clause::Durations, "the protocol tells none")]
    }

    fn traffic(&self) -> Traffic {
        let [reads, open] = [&self.program.0.calls, &self.program.0.open].map(|n| n.load(Ordering::SeqCst));
        Traffic { logins: 0, reads, open }
    }

    fn saw(&self, text: &str) -> bool {
        self.program.0.seen.lock().unwrap().contains(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}
