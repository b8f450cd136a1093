use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use provider::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::{net::TcpStream, time::timeout};

const MOST_BYTES: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// A store at an address. It gets `TOKEN NAME` on a line, and answers with a sign, `+`, `-` or `!`, and the value.
#[derive(Debug, Clone)]
pub struct Shelf(pub String);

impl Provider for Shelf {
    fn names(&self) -> &'static [&'static str] {
        &["shelf"]
    }
    fn default_refresh(&self) -> Duration {
        Duration::from_secs(60)
    }
    fn source(&self, _: &str, parameters: &Parameters) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let names = parameters.get("objects").map(String::as_str).unwrap_or_default();
        let paths = names.split(',').map(|name| ObjectPath::try_from(name.trim()));
        let invalid = |fault: InvalidPath| vec![Invalid::new("objects", fault.to_string(), "list names")];
        let paths: Vec<_> = paths.collect::<std::result::Result<_, _>>().map_err(invalid)?;
        let objects =
            paths.into_iter().map(|path| ObjectRef::new(path.clone(), Request::shared(path.as_str())));
        Ok(listed(Arc::new(self.clone()), objects.collect()))
    }
}

#[async_trait]
impl Store for Shelf {
    fn name(&self) -> &str {
        &self.0
    }
    fn audience(&self) -> &str {
        "shelf"
    }
    async fn read(&self, token: &SecretBytes, Request { text: name, .. }: &Request) -> Result<Reading> {
        let error = |kind, what: &str| Err(Error::new(kind, format!("{name} at {}: {what}", self.0)));
        let answer = match timeout(PATIENCE, self.ask(token, name)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => return error(ErrorKind::Unavailable, &broken.to_string()),
            Err(_) => return error(ErrorKind::Unavailable, "no answer in time"),
        };
        match (answer.expose().first(), answer.slice(1..answer.len())) {
            (Some(b'+'), Some(value)) if answer.len() < MOST_BYTES => Ok(Reading::new(value)),
            (Some(b'-'), _) => error(ErrorKind::NotFound, "there is none"),
            (Some(b'!'), _) => error(ErrorKind::Denied, "the token's owner may not read it"),
            _ => error(ErrorKind::Unavailable, "that is no answer of a shelf"),
        }
    }
}

impl Shelf {
    async fn ask(&self, token: &SecretBytes, name: &str) -> std::io::Result<SecretBytes> {
        let mut stream = TcpStream::connect(&self.0).await?;
        stream.write_all(token.expose()).await?;
        stream.write_all(format!(" {name}\n").as_bytes()).await?;
        // Allocated at its full size: a vector that grows leaves a copy of the secret behind.
        let mut answer = Vec::with_capacity(2 * MOST_BYTES);
        stream.take(MOST_BYTES as u64).read_to_end(&mut answer).await?;
        Ok(SecretBytes::new(answer))
    }
}
