use std::io;
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use authority::Rewriter;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::Connected;
use zeroize::{Zeroize, Zeroizing};

/// How many bytes are read from a client at once.
const PIECE: usize = 16 * 1024;

/// Accepts connections from trusted peers.
///
/// # Errors
///
/// The runtime cannot use the listener.
pub(crate) fn incoming(listener: UnixListener) -> io::Result<impl Stream<Item = io::Result<Connection>>> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    Ok(UnixListenerStream::new(listener).filter_map(|accepted| async {
        match accepted {
            Ok(client) => trusted(&client).then(|| Ok(Connection::new(client))),
            Err(error) => Some(Err(error)),
        }
    }))
}

/// Whether the peer is root or the user of this process.
fn trusted(client: &UnixStream) -> bool {
    match client.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw() => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "refused a connection: only root may call");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "refused a connection: who it is from is not known");
            false
        }
    }
}

/// A client's connection as the server reads it, with an `:authority` that the server accepts.
#[derive(Debug)]
pub(crate) struct Connection {
    client: UnixStream,
    rewriter: Rewriter,
    /// The bytes that arrived last. They may hold tokens, as the next field may.
    piece: Zeroizing<Vec<u8>>,
    /// Rewritten bytes. The server has read them up to `read`.
    rewritten: Zeroizing<Vec<u8>>,
    read: usize,
}

impl Connection {
    fn new(client: UnixStream) -> Self {
        Self {
            client,
            rewriter: Rewriter::new(),
            piece: Zeroizing::new(vec![0; PIECE]),
            rewritten: Zeroizing::default(),
            read: 0,
        }
    }

    /// Reads and rewrites until there are bytes for the server, or the client has closed the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.read == self.rewritten.len() {
            self.forget();
            let mut piece = ReadBuf::new(&mut self.piece);
            ready!(Pin::new(&mut self.client).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let fed = self.rewriter.feed(piece.filled(), &mut self.rewritten);
            piece.filled_mut().zeroize();
            fed.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Wipes the bytes that the server has read.
    fn forget(&mut self) {
        self.rewritten.as_mut_slice().zeroize();
        self.rewritten.clear();
        self.read = 0;
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let ready = self.rewritten.get(self.read..).unwrap_or_default();
        let taken = ready.len().min(out.remaining());
        out.put_slice(ready.get(..taken).unwrap_or_default());
        self.read += taken;
        if self.read == self.rewritten.len() {
            self.forget();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.client.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
