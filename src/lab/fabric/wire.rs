//! One connection: two one-way pipes of bytes, with the moment at which each chunk arrives.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::{Owner, Shared};

/// How many bytes one direction holds before its writer waits: a socket's buffer.
const BUFFER: usize = 64 * 1024;

/// One end of a connection. Dropping it ends both directions, as closing a socket does.
pub struct Wire {
    shared: Arc<Cable>,
    side: usize,
    /// Wakes the reader when the next chunk arrives.
    arrival: Option<Pin<Box<Sleep>>>,
}

/// What both ends share.
pub(super) struct Cable {
    number: u64,
    fabric: Weak<Shared>,
    /// The addresses of both ends: of the one that opened it, of the one that took it.
    pub(super) addresses: [Ipv4Addr; 2],
    pub(super) owners: [Option<Owner>; 2],
    /// What each end has sent.
    pipes: [Mutex<Pipe>; 2],
}

#[derive(Default)]
struct Pipe {
    chunks: VecDeque<Chunk>,
    held: usize,
    ended: bool,
    reset: bool,
    /// Nobody reads any more.
    deaf: bool,
    newest: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Chunk {
    /// Empty: the end.
    bytes: Bytes,
    arrives: Arrives,
}

/// When something that was sent gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrives {
    /// With no delay worth modelling.
    AtOnce,
    At(Instant),
    /// Not before a partition ends; it was sent at that time.
    Lost(Instant),
}

pub(super) fn pair(
    number: u64,
    fabric: &Arc<Shared>,
    addresses: [Ipv4Addr; 2],
    owners: [Option<Owner>; 2],
) -> ([Wire; 2], Weak<Cable>) {
    let cable = Cable { number, fabric: Arc::downgrade(fabric), addresses, owners, pipes: Default::default() };
    let shared = Arc::new(cable);
    let weak = Arc::downgrade(&shared);
    let end = |side| Wire { shared: shared.clone(), side, arrival: None };
    ([end(0), end(1)], weak)
}

impl Cable {
    fn pipe(&self, from: usize) -> MutexGuard<'_, Pipe> {
        self.pipes[from].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts it: both ends read and write nothing but "connection reset".
    pub(super) fn reset(&self) {
        for from in [0, 1] {
            let mut pipe = self.pipe(from);
            pipe.reset = true;
            pipe.chunks.clear();
            pipe.wake();
        }
    }

    /// Gives what a partition held back its time of arrival, or none if it is still held.
    pub(super) fn retime(&self, arrives: impl Fn([Ipv4Addr; 2], Instant) -> Arrives) {
        for from in [0, 1] {
            let way = [self.addresses[from], self.addresses[1 - from]];
            let mut pipe = self.pipe(from);
            let mut newest = pipe.newest;
            for chunk in &mut pipe.chunks {
                if let Arrives::Lost(sent) = chunk.arrives {
                    chunk.arrives = arrives(way, sent).after(newest);
                }
                newest = chunk.arrives.instant().or(newest);
            }
            pipe.newest = newest;
            pipe.wake();
        }
    }

    /// Sends a chunk; an empty one is the end.
    fn send(&self, from: usize, pipe: &mut Pipe, bytes: Bytes) {
        let way = [self.addresses[from], self.addresses[1 - from]];
        let arrives =
            self.fabric.upgrade().map_or(Arrives::AtOnce, |fabric| fabric.impairments.send(&fabric, way, bytes.len()));
        // Nothing overtakes what was sent before it.
        let held_back = pipe.chunks.back().and_then(|before| match before.arrives {
            Arrives::Lost(sent) => Some(Arrives::Lost(sent)),
            _ => None,
        });
        let arrives = held_back.unwrap_or(arrives).after(pipe.newest);
        pipe.newest = arrives.instant().or(pipe.newest);
        pipe.held += bytes.len();
        pipe.chunks.push_back(Chunk { bytes, arrives });
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let Some(fabric) = self.fabric.upgrade() {
            fabric.cables().remove(&self.number);
        }
    }
}

impl Arrives {
    fn instant(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::AtOnce | Self::Lost(_) => None,
        }
    }

    /// Not before `newest`.
    fn after(self, newest: Option<Instant>) -> Self {
        match (self, newest) {
            (Self::AtOnce, Some(newest)) => Self::At(newest),
            (Self::At(at), Some(newest)) => Self::At(at.max(newest)),
            (other, _) => other,
        }
    }
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Pipe {
    /// Takes what has arrived. `Err` tells when the next chunk will, if that is known.
    fn take(&mut self, buffer: &mut ReadBuf<'_>) -> Result<(), Option<Instant>> {
        let before = buffer.remaining();
        while buffer.remaining() > 0 {
            let Some(chunk) = self.chunks.front_mut() else { break };
            let wait = match chunk.arrives {
                Arrives::AtOnce => None,
                Arrives::At(at) => (at > Instant::now()).then_some(Some(at)),
                Arrives::Lost(_) => Some(None),
            };
            match wait {
                Some(wait) if buffer.remaining() == before => return Err(wait),
                Some(_) => break,
                None if chunk.bytes.is_empty() => return Ok(()),
                None => {}
            }
            let taken = chunk.bytes.len().min(buffer.remaining());
            buffer.put_slice(&chunk.bytes.split_to(taken));
            self.held -= taken;
            if chunk.bytes.is_empty() {
                self.chunks.pop_front();
            }
        }
        if before > 0 && buffer.remaining() == before { Err(None) } else { Ok(()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut pipe = this.shared.pipe(1 - this.side);
            if pipe.reset {
                return Poll::Ready(Err(cut()));
            }
            let next = match pipe.take(buffer) {
                Ok(()) => {
                    if let Some(writer) = pipe.writer.take() {
                        writer.wake();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(next) => next,
            };
            pipe.reader = Some(cx.waker().clone());
            drop(pipe);
            let Some(at) = next else { return Poll::Pending };
            let sleep = this.arrival.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if sleep.deadline() != at {
                sleep.as_mut().reset(at);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.shared.pipe(self.side);
        if pipe.reset {
            return Poll::Ready(Err(cut()));
        }
        if pipe.ended || pipe.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = BUFFER.saturating_sub(pipe.held).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if room > 0 {
            self.shared.send(self.side, &mut pipe, Bytes::copy_from_slice(&bytes[..room]));
        }
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.shared.pipe(self.side);
        if !pipe.ended && !pipe.reset {
            pipe.ended = true;
            self.shared.send(self.side, &mut pipe, Bytes::new());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut sent = self.shared.pipe(self.side);
        if !sent.ended && !sent.reset {
            sent.ended = true;
            self.shared.send(self.side, &mut sent, Bytes::new());
        }
        drop(sent);
        let mut received = self.shared.pipe(1 - self.side);
        received.deaf = true;
        received.chunks.clear();
        received.wake();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::tests::fabric;
    use super::*;

    fn wires() -> (super::super::Fabric, [Wire; 2]) {
        let fabric = fabric();
        let (wires, _) =
            pair(0, &fabric.shared, [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)], [None, None]);
        (fabric, wires)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_until_one_end_goes() {
        let (_fabric, [mut near, mut far]) = wires();
        near.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        far.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ping");
        far.write_all(b"pong").await.unwrap();
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"pong", "what was sent before the end arrives");
        assert_eq!(near.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_pipe_makes_its_writer_wait() {
        let (_fabric, [mut near, mut far]) = wires();
        let sent = vec![7; 3 * BUFFER];
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            near
        });
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        let mut received = vec![0; 3 * BUFFER];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(received, expected);
        writer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_ends_reads_and_writes_of_both() {
        let (_fabric, [mut near, mut far]) = wires();
        near.write_all(b"lost").await.unwrap();
        let cable = Arc::clone(&near.shared);
        let waiting = tokio::spawn(async move { near.read_u8().await });
        tokio::task::yield_now().await;
        cable.reset();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(far.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(far.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
