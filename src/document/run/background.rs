//! Activities that run beside the others.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What runs beside the foreground of a method, in no order of its own.
pub(super) type Work<'a> = BoxFuture<'a, ()>;

/// Runs a foreground that may start work beside it, and waits for all of it.
pub(super) async fn beside<'a, T>(foreground: impl AsyncFnOnce(UnboundedSender<Work<'a>>) -> T) -> T {
    let (start, mut started) = unbounded_channel();
    let all = async {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                work = started.recv() => match work {
                    Some(work) => running.push(work),
                    None => break,
                },
                Some(()) = running.next(), if !running.is_empty() => {}
            }
        }
        while running.next().await.is_some() {}
    };
    // The sender goes with the foreground's end: then nothing can be started any more.
    let (done, ()) = futures_util::future::join(foreground(start), all).await;
    done
}
