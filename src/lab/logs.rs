//! What containers have written, line by line.
//!
//! The kubelet opens a log for each run of a container, its program writes to it, and the API server reads and
//! follows it. It promises that a follower misses no line and learns when the run has ended. As a kubelet does, it
//! keeps the run of now and the one before, and of each the last 10 MiB.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::Timestamp;

/// How many bytes of one run are kept: kubelet's `containerLogMaxSize`.
const KEPT_BYTES: usize = 10 * 1024 * 1024;

/// One line that a container has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// The line, without its end.
    pub text: String,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many lines were ever written.
    pub lines: u64,
    /// Whether the run has ended, so that none will come.
    pub ended: bool,
}

/// The log of one run of a container. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ContainerLog {
    page: Arc<Mutex<Page>>,
    written: watch::Sender<Written>,
}

#[derive(Debug, Default)]
struct Page {
    lines: VecDeque<LogLine>,
    /// The number of the first line that is kept.
    first: u64,
    bytes: usize,
}

impl ContainerLog {
    fn new() -> Self {
        Self { page: Arc::default(), written: watch::Sender::new(Written::default()) }
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines from number `first` on, oldest first, and the number to ask for next time. Line 0 is the first that
    /// was ever written; lines that are no longer kept are left out.
    #[must_use]
    pub fn lines_from(&self, first: u64) -> (Vec<LogLine>, u64) {
        let page = self.page();
        let skipped = usize::try_from(first.saturating_sub(page.first)).unwrap_or(usize::MAX);
        let lines = page.lines.iter().skip(skipped).cloned().collect();
        (lines, page.first + page.lines.len() as u64)
    }

    /// Tells of every line, and of the end.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    pub(super) fn write(&self, line: LogLine) {
        let mut page = self.page();
        page.bytes += line.text.len() + 1;
        page.lines.push_back(line);
        while page.bytes > KEPT_BYTES
            && let Some(oldest) = page.lines.pop_front()
        {
            page.bytes -= oldest.text.len() + 1;
            page.first += 1;
        }
        drop(page);
        self.written.send_modify(|written| written.lines += 1);
    }

    pub(super) fn end(&self) {
        self.written.send_if_modified(|written| !std::mem::replace(&mut written.ended, true));
    }
}

/// The logs of all containers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct LogBook {
    runs: Arc<Mutex<Runs>>,
}

/// By the pod's uid and the container's name: the run of now, and the one before.
type Runs = BTreeMap<(String, String), (ContainerLog, Option<ContainerLog>)>;

impl LogBook {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the log of a container's next run.
    pub(super) fn open(&self, uid: &str, container: &str) -> ContainerLog {
        let log = ContainerLog::new();
        let mut runs = self.runs();
        let key = (uid.to_owned(), container.to_owned());
        let before = runs.remove(&key).map(|(latest, _)| latest);
        if let Some(before) = &before {
            before.end();
        }
        runs.insert(key, (log.clone(), before));
        log
    }

    /// The log of a container of the pod with this uid: of its latest run, or of the one before; `None` if there was
    /// no such run.
    pub(super) fn find(&self, uid: &str, container: &str, previous: bool) -> Option<ContainerLog> {
        let runs = self.runs();
        let (latest, before) = runs.get(&(uid.to_owned(), container.to_owned()))?;
        if previous { before.clone() } else { Some(latest.clone()) }
    }

    /// Forgets the logs of a pod that is gone; its followers are told that they end.
    pub(super) fn close(&self, uid: &str) {
        self.runs().retain(|(pod, _), (latest, _)| {
            if pod == uid {
                latest.end();
            }
            pod != uid
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { at: Timestamp::UNIX_EPOCH, text: text.to_owned() }
    }

    fn texts(log: &ContainerLog, from: u64) -> Vec<String> {
        log.lines_from(from).0.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_container_has_the_log_of_this_run_and_of_the_one_before() {
        let book = LogBook::default();
        assert!(book.find("u", "c", false).is_none());
        book.open("u", "c").write(line("one"));
        assert!(book.find("u", "c", true).is_none());
        let second = book.open("u", "c");
        second.write(line("two"));
        assert_eq!(texts(&book.find("u", "c", true).unwrap(), 0), ["one"]);
        assert_eq!(texts(&book.find("u", "c", false).unwrap(), 0), ["two"]);
        book.close("u");
        assert!(book.find("u", "c", false).is_none());
        assert!(second.subscribe().borrow().ended);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_though_old_lines_go() {
        let log = ContainerLog::new();
        log.write(line("a"));
        let (_, next) = log.lines_from(0);
        log.write(line("b"));
        assert_eq!(texts(&log, next), ["b"]);
        let long = "x".repeat(KEPT_BYTES / 2);
        log.write(line(&long));
        log.write(line(&long));
        assert_eq!(log.lines_from(0).0.len(), 1);
        assert_eq!(log.lines_from(0).1, 4);
        assert_eq!(log.subscribe().borrow().lines, 4);
    }
}
