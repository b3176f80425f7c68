//! A server on loopback that behaves as a test says: on threads, so that a blocked runtime does not hold it up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// What the server does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Sends these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Waits until the test lets go, then answers 200.
    Held,
}

impl Reply {
    /// A whole answer with a body.
    pub fn status(status: u16, headers: &str, body: &str) -> Self {
        Self::Bytes(
            format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes(),
        )
    }

    pub fn ok() -> Self {
        Self::status(200, "", "ok")
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: u64,
    /// `GET /path HTTP/1.1` and the header lines.
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

pub struct Server {
    pub address: SocketAddr,
    /// Each request as soon as its head and body are read.
    pub requests: Receiver<Seen>,
    pub connections: Arc<AtomicU64>,
    /// Dropped, it lets go of what is held.
    pub hold: Option<std::sync::MutexGuard<'static, ()>>,
}

impl Server {
    /// Answers each request as `reply` says, given its number on the server and its first line.
    pub fn start(reply: impl Fn(u64, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let (told, requests) = channel();
        let connections = Arc::new(AtomicU64::new(0));
        let gate: &'static Mutex<()> = Box::leak(Box::new(Mutex::new(())));
        let hold = Some(gate.lock().unwrap());
        let (reply, count, seen) = (Arc::new(reply), Arc::new(AtomicU64::new(0)), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (reply, count, told) = (reply.clone(), count.clone(), told.clone());
                let connection = seen.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    // A connection that ends is the end of its thread.
                    let _ = serve(stream, connection, &count, &*reply, &told, gate);
                });
            }
        });
        Self { address, requests, connections, hold }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(
    stream: TcpStream,
    connection: u64,
    count: &AtomicU64,
    reply: &dyn Fn(u64, &str) -> Reply,
    told: &std::sync::mpsc::Sender<Seen>,
    gate: &Mutex<()>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let length =
            head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        lines.read_exact(&mut body)?;
        let number = count.fetch_add(1, Ordering::SeqCst);
        let reply = reply(number, &head[0]);
        drop(told.send(Seen { connection, head, body }));
        match reply {
            Reply::Bytes(bytes) => out.write_all(&bytes)?,
            Reply::Last(bytes) => return out.write_all(&bytes),
            Reply::Held => {
                drop(gate.lock());
                out.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n")?;
            }
        }
    }
}

/// A server for HTTP/2, in clear text or over TLS where it also speaks HTTP/1.1; it answers everything with five bytes.
/// Its address and its connections.
pub fn http2(tls: bool) -> (SocketAddr, Arc<AtomicU64>) {
    http2_as(tls.then_some("server.pem"))
}

/// As [`http2`], with the certificate of this file.
pub fn http2_as(certificate: Option<&str>) -> (SocketAddr, Arc<AtomicU64>) {
    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    listener.set_nonblocking(true).expect("it can be");
    let address = listener.local_addr().expect("it is bound");
    let connections = Arc::new(AtomicU64::new(0));
    let seen = connections.clone();
    let acceptor = certificate.map(acceptor);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, acceptor) = (seen.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(async |_: hyper::Request<Incoming>| {
                        Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"hello"))))
                    });
                    let two = || hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    match acceptor {
                        None => {
                            seen.fetch_add(1, Ordering::SeqCst);
                            drop(two().serve_connection(TokioIo::new(stream), service).await);
                        }
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            seen.fetch_add(1, Ordering::SeqCst);
                            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                                drop(two().serve_connection(TokioIo::new(stream), service).await);
                            } else {
                                let one = hyper::server::conn::http1::Builder::new();
                                drop(one.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
    });
    (address, connections)
}

/// The path of a file beside this one.
pub fn tls_file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/load/tls").join(name)
}

fn acceptor(certificate: &str) -> tokio_rustls::TlsAcceptor {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_file(tls_file(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}
