//! HTTP/1.1 on a connection that is kept: the request is written from bytes made once, the answer is read by httparse.
//!
//! hyper takes about as much time for an exchange as the kernel does; where requests follow each other on one connection
//! that is what limits a generator. New connections per request, HTTP/2 and the lab's streams are hyper's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::{Answer, Cut, Opened, Own, Prepared, keep_some};
use crate::load::pace::Pace;
use crate::load::recording::Class;
use crate::transport::Stream;

/// How much is read at once. A head must fit into four of them.
const ROOM: usize = 16 * 1024;

/// The most headers of an answer.
const HEADERS: usize = 100;

/// One connection.
pub(in crate::load) struct Wire {
    stream: Box<dyn Stream>,
    /// What was read lies from `start` to `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    open: bool,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
    UntilTheEnd,
}

/// The head of an answer.
struct Head {
    status: u16,
    headers: HeaderMap,
    length: Length,
    keeps: bool,
}

/// A request's bytes up to where more headers may follow, and the rest.
pub(in crate::load) fn written(method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    let mut header = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    // The host goes first, as the standard asks.
    for (name, value) in headers.iter().filter(|(name, _)| *name == HOST) {
        header(name.as_str(), value.as_bytes());
    }
    for (name, value) in headers.iter().filter(|(name, _)| *name != HOST) {
        header(name.as_str(), value.as_bytes());
    }
    let said = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let has_body = !body.is_empty() || matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if has_body && !said {
        header("content-length", body.len().to_string().as_bytes());
    }
    let mut rest = b"\r\n".to_vec();
    rest.extend_from_slice(body);
    (head, rest)
}

impl Wire {
    pub(super) fn over(opened: Opened) -> Self {
        Self { stream: opened.stream, buffer: vec![0; ROOM], start: 0, end: 0, open: true }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the server has closed it, or talked out of turn, since the last answer.
    pub(super) async fn has_ended(&mut self) -> bool {
        let mut byte = [0; 1];
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut byte);
            Poll::Ready(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer).is_ready())
        })
        .await
    }

    pub(super) async fn exchange(
        &mut self,
        target: &Prepared,
        own: Own<'_>,
        keep: u64,
        with_headers: bool,
        pace: &Pace,
    ) -> Result<Answer, Cut> {
        // Only an exchange that comes to its end leaves the connection usable.
        self.open = false;
        let (head, rest) = &target.written;
        let sent = if own.is_none() {
            self.stream.write_all(&target.whole).await
        } else {
            let mut whole = Vec::with_capacity(head.len() + rest.len() + 128);
            whole.extend_from_slice(head);
            own.write(&mut whole);
            whole.extend_from_slice(rest);
            self.stream.write_all(&whole).await
        };
        sent.and(self.stream.flush().await).map_err(|error| cut(&error, true))?;
        (self.start, self.end) = (0, 0);
        self.more(true).await?;
        let first_byte = Some(pace.now());
        let mut head = loop {
            if let Some(head) = self.head(&target.method, with_headers)? {
                // What comes before the answer proper says nothing about it.
                if head.status >= 200 || head.status == 101 {
                    break head;
                }
            } else {
                self.more(false).await?;
            }
        };
        let (mut bytes, mut body) = (0, Vec::new());
        match head.length {
            Length::Known(length) => self.known(length, &mut bytes, &mut body, keep).await?,
            Length::Chunked => self.chunks(&mut bytes, &mut body, keep).await?,
            Length::UntilTheEnd => self.rest(&mut bytes, &mut body, keep).await?,
        }
        // Bytes that nobody asked for belong to no request.
        self.open = head.keeps && self.start == self.end;
        Ok(Answer { status: head.status, headers: std::mem::take(&mut head.headers), bytes, body, first_byte })
    }

    /// Reads some more; an end is an error.
    async fn more(&mut self, first: bool) -> Result<(), Cut> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else if self.buffer.len() < 4 * ROOM {
                self.buffer.resize(self.buffer.len() + ROOM, 0);
            } else {
                return Err(Cut::new(Class::Protocol, "the head or a chunk's line of the answer is too long"));
            }
        }
        match self.stream.read(&mut self.buffer[self.end..]).await {
            Ok(0) => {
                let text = "connection closed before the answer was complete";
                Err(Cut { stale: first, ..Cut::new(Class::Reset, text) })
            }
            Ok(read) => {
                self.end += read;
                Ok(())
            }
            Err(error) => Err(cut(&error, first)),
        }
    }

    /// The head, if it is whole; it is taken from what was read.
    fn head(&mut self, method: &Method, with_headers: bool) -> Result<Option<Head>, Cut> {
        let mut lines = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut lines);
        let broken =
            |why: &dyn std::fmt::Display| Cut::new(Class::Protocol, format!("the answer is no HTTP/1.1: {why}"));
        let length = match response.parse(&self.buffer[self.start..self.end]).map_err(|error| broken(&error))? {
            Status::Partial => return Ok(None),
            Status::Complete(length) => length,
        };
        let status = response.code.unwrap_or(0);
        let (mut keeps, mut closes, mut coded, mut known) = (response.version == Some(1), false, None, None);
        let mut headers = HeaderMap::new();
        for line in response.headers.iter() {
            let is = |name: &str| line.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let text = std::str::from_utf8(line.value).unwrap_or_default().trim();
                let length: u64 = text.parse().map_err(|_| broken(&format_args!("its length is {text:?}")))?;
                if known.is_some_and(|known| known != length) {
                    return Err(broken(&"it has two lengths"));
                }
                known = Some(length);
            } else if is("transfer-encoding") {
                let last = line.value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
                coded = Some(last.eq_ignore_ascii_case(b"chunked"));
            } else if is("connection") {
                let said = line.value.to_ascii_lowercase();
                let says = |word: &[u8]| said.split(|byte| *byte == b',').any(|part| part.trim_ascii() == word);
                (keeps, closes) = (keeps || says(b"keep-alive"), closes || says(b"close"));
            }
            if with_headers
                && let (Ok(name), Ok(value)) = (HeaderName::try_from(line.name), HeaderValue::try_from(line.value))
            {
                headers.append(name, value);
            }
        }
        let bodiless = *method == Method::HEAD || (100..200).contains(&status) || status == 204 || status == 304;
        // A coding overrides a length; one that is not chunked at last has no end but the connection's.
        let follows = match (coded, known) {
            _ if bodiless => Length::Known(0),
            (Some(true), _) => Length::Chunked,
            (None, Some(length)) => Length::Known(length),
            (Some(false), _) | (None, None) => Length::UntilTheEnd,
        };
        self.start += length;
        Ok(Some(Head {
            status,
            headers,
            length: follows,
            keeps: keeps && !closes && follows != Length::UntilTheEnd && status != 101,
        }))
    }

    /// Takes up to so many bytes of a body from what was read.
    fn take(&mut self, most: u64, bytes: &mut u64, body: &mut Vec<u8>, keep: u64) -> u64 {
        let there = self.end - self.start;
        let taken = usize::try_from(most).map_or(there, |most| most.min(there));
        keep_some(body, &self.buffer[self.start..self.start + taken], keep);
        self.start += taken;
        *bytes += taken as u64;
        taken as u64
    }

    async fn known(&mut self, length: u64, bytes: &mut u64, body: &mut Vec<u8>, keep: u64) -> Result<(), Cut> {
        let mut left = length;
        loop {
            left -= self.take(left, bytes, body, keep);
            if left == 0 {
                return Ok(());
            }
            self.more(false).await?;
        }
    }

    async fn chunks(&mut self, bytes: &mut u64, body: &mut Vec<u8>, keep: u64) -> Result<(), Cut> {
        let broken = |why: &str| Cut::new(Class::Protocol, format!("a chunk of the answer is broken: {why}"));
        loop {
            let size = match httparse::parse_chunk_size(&self.buffer[self.start..self.end]) {
                Err(_) => return Err(broken("its size is no number")),
                Ok(Status::Partial) => {
                    self.more(false).await?;
                    continue;
                }
                // httparse takes no digits at all for 0, which would end a body in its midst.
                Ok(Status::Complete(_)) if !self.buffer[self.start].is_ascii_hexdigit() => {
                    return Err(broken("its size is missing"));
                }
                Ok(Status::Complete((line, size))) => {
                    self.start += line;
                    size
                }
            };
            if size == 0 {
                break;
            }
            self.known(size, bytes, body, keep).await?;
            while self.end - self.start < 2 {
                self.more(false).await?;
            }
            if &self.buffer[self.start..self.start + 2] != b"\r\n" {
                return Err(broken("it is longer than its size"));
            }
            self.start += 2;
        }
        // Trailers, up to an empty line.
        loop {
            let read = &self.buffer[self.start..self.end];
            match read.windows(2).position(|two| two == b"\r\n") {
                Some(0) => {
                    self.start += 2;
                    return Ok(());
                }
                Some(line) => self.start += line + 2,
                None => self.more(false).await?,
            }
        }
    }

    async fn rest(&mut self, bytes: &mut u64, body: &mut Vec<u8>, keep: u64) -> Result<(), Cut> {
        loop {
            self.take(u64::MAX, bytes, body, keep);
            (self.start, self.end) = (0, 0);
            match self.stream.read(&mut self.buffer).await {
                Ok(0) => return Ok(()),
                Ok(read) => self.end = read,
                Err(error) => return Err(cut(&error, false)),
            }
        }
    }
}

fn cut(error: &io::Error, nothing_came: bool) -> Cut {
    Cut { stale: nothing_came, ..Cut::new(Class::Reset, format!("connection lost: {error}")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::load::target::Target;

    /// Status, length and the kept beginning of the body; or what it ended by.
    type Ended = Result<(u16, u64, Vec<u8>), Class>;

    /// What comes of an answer that arrives in pieces of a size.
    fn answered(method: Method, bytes: &[u8], piece: usize) -> (Ended, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let mut wire = Wire::over(Opened { stream: Box::new(near), place: None, http2: false });
            let uri: http::Uri = "http://a/x?y".parse().unwrap();
            let target = Prepared::new(&Target::new(method, "http://a/x?y"), Some(uri), 0, None);
            let own = Own { number: 0, name: None, trace: None };
            let bytes = bytes.to_vec();
            let server = tokio::spawn(async move {
                let mut request = [0; 1024];
                assert!(far.read(&mut request).await.is_ok_and(|read| read > 0));
                for part in bytes.chunks(piece.max(1)) {
                    // Who has seen enough has gone.
                    if far.write_all(part).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
            let pace = Pace::wheel(Instant::now());
            let ended = tokio::time::timeout(Duration::from_secs(9), wire.exchange(&target, own, 8, true, &pace)).await;
            server.await.unwrap();
            let ended = ended.expect("it ends");
            let open = wire.is_open();
            (ended.map(|answer| (answer.status, answer.bytes, answer.body)).map_err(|cut| cut.class), open)
        })
    }

    const ANSWERS: &[(&str, u16, u64, &str, bool)] = &[
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, 5, "hello", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhelloworld", 200, 10, "hellowor", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\na: b\r\n\r\n",
            200,
            6,
            "hello!",
            true,
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, 0, "", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, 1, "x", false),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 1\r\n\r\nx", 200, 1, "x", true),
        ("HTTP/1.1 404 No\r\n\r\nuntil the end", 404, 13, "until th", false),
        ("HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", 304, 0, "", true),
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn answers_are_read_however_they_are_cut_into_pieces(which in 0..ANSWERS.len(), piece in 1_usize..80) {
            let (text, status, bytes, body, open) = ANSWERS[which];
            let seen = answered(Method::GET, text.as_bytes(), piece);
            prop_assert_eq!(seen, (Ok((status, bytes, body.as_bytes().to_vec())), open));
        }

        #[test]
        fn an_answer_that_is_cut_is_a_reset(which in 0..ANSWERS.len(), part in 0.0..1.0_f64) {
            let (text, ..) = ANSWERS[which];
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "short")]
            let at = (text.len() as f64 * part) as usize;
            let (ended, open) = answered(Method::GET, &text.as_bytes()[..at], 7);
            // One that ends with its connection may end anywhere after its head.
            let untold = text.contains("404") && at >= text.len() - 13;
            prop_assert!(untold || (ended == Err(Class::Reset) && !open), "{ended:?} at {at} of {text:?}");
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = answered(Method::GET, &bytes, 50);
            let mut after_a_head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            after_a_head.extend(bytes);
            let _ = answered(Method::GET, &after_a_head, 50);
        }
    }

    #[test]
    fn heads_alone_have_no_body_and_two_lengths_are_none() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(answered(Method::HEAD, text, 99), (Ok((200, 0, Vec::new())), true));
        let two = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello";
        assert_eq!(answered(Method::GET, two, 99).0, Err(Class::Protocol));
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(5 * ROOM));
        assert_eq!(answered(Method::GET, &long.as_bytes()[..4 * ROOM + 9], ROOM).0, Err(Class::Protocol));
    }

    #[test]
    fn framing_that_contradicts_itself_is_never_a_good_answer() {
        let answer = |rest: &str| answered(Method::GET, format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes(), 99);
        let cut = "transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n\r\n\r\n";
        assert_eq!(answer(cut), (Err(Class::Protocol), false), "a size without digits ends no body");
        let coded = "transfer-encoding: gzip\r\ncontent-length: 2\r\n\r\nabcd";
        assert_eq!(answer(coded), (Ok((200, 4, b"abcd".to_vec())), false), "a coding overrides a length");
        let other = "transfer-encoding: xchunked\r\n\r\nabcd";
        assert_eq!(answer(other), (Ok((200, 4, b"abcd".to_vec())), false));
        let closes = "connection: close\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx";
        assert_eq!(answer(closes), (Ok((200, 1, b"x".to_vec())), false), "close wins");
    }

    #[test]
    fn a_request_is_written_with_its_length() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("b"));
        headers.insert(HOST, HeaderValue::from_static("h"));
        let text = |method: Method, body: &[u8]| {
            let (head, rest) = written(&method, "/p", &headers, body);
            String::from_utf8([head, rest].concat()).unwrap()
        };
        assert_eq!(text(Method::GET, b""), "GET /p HTTP/1.1\r\nhost: h\r\nx-a: b\r\n\r\n");
        assert_eq!(text(Method::POST, b""), "POST /p HTTP/1.1\r\nhost: h\r\nx-a: b\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(text(Method::PUT, b"hi"), "PUT /p HTTP/1.1\r\nhost: h\r\nx-a: b\r\ncontent-length: 2\r\n\r\nhi");
    }
}
