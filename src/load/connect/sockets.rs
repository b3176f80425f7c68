//! Connections over this machine's sockets: names, TCP or a unix socket, TLS.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use http::Uri;
use tokio::net::{TcpSocket, TcpStream};

use super::tls::Tls;
use super::{Cut, Opened, Prepared, Version, causes};
use crate::load::recording::Class;
use crate::transport::Stream;

/// When a name is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Once for the whole run.
    #[default]
    OncePerRun,
    /// For each connection.
    PerConnection,
}

/// How sockets are opened.
pub(in crate::load) struct Sockets {
    pub(in crate::load) version: Version,
    pub(in crate::load) names: Names,
    pub(in crate::load) unix: Option<PathBuf>,
    pub(in crate::load) local: Option<IpAddr>,
    pub(in crate::load) tls: Option<Tls>,
    known: Mutex<BTreeMap<(String, u16), Vec<SocketAddr>>>,
}

impl Sockets {
    pub(in crate::load) fn new(
        version: Version,
        names: Names,
        unix: Option<PathBuf>,
        local: Option<IpAddr>,
        tls: Option<Tls>,
    ) -> Self {
        Self { version, names, unix, local, tls, known: Mutex::default() }
    }

    pub(super) async fn open(&self, target: &Prepared) -> Result<Opened, Cut> {
        let Some(uri) = &target.uri else { return Err(Cut::new(Class::Connect, "it has no address")) };
        let stream: Box<dyn Stream> = match &self.unix {
            None => {
                let stream = self.tcp(uri).await?;
                // Requests are small and one write each; Nagle would hold back the second half of larger ones.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            #[cfg(unix)]
            Some(path) => Box::new(tokio::net::UnixStream::connect(path).await.map_err(|error| {
                Cut::new(Class::Connect, format!("failed to connect to {}: {error}", path.display()))
            })?),
            #[cfg(not(unix))]
            Some(path) => return Err(Cut::new(Class::Connect, format!("{}: no unix sockets here", path.display()))),
        };
        if uri.scheme_str() != Some("https") {
            return Ok(Opened { stream, place: None, http2: self.version == Version::Http2 });
        }
        let Some(tls) = &self.tls else { return Err(Cut::new(Class::Tls, "TLS was not set up")) };
        let (stream, http2) = tls.over(stream, uri.host().unwrap_or_default(), self.version).await?;
        Ok(Opened { stream, place: None, http2 })
    }

    async fn tcp(&self, uri: &Uri) -> Result<TcpStream, Cut> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = self.addresses(host, port).await?;
        let mut last = None;
        for address in addresses {
            match self.dial(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(Cut::new(Class::Connect, format!("failed to connect to {address}: {error}"))),
            }
        }
        Err(last.unwrap_or_else(|| Cut::new(Class::Name, format!("no address for {host}"))))
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(local) = self.local.filter(|local| local.is_ipv4() == address.is_ipv4()) else {
            return TcpStream::connect(address).await;
        };
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(local, 0))?;
        socket.connect(address).await
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Cut> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let place = (host.to_owned(), port);
        if self.names == Names::OncePerRun {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(addresses) = known.get(&place) {
                return Ok(addresses.clone());
            }
        }
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<_> = found
            .map_err(|error| Cut::new(Class::Name, format!("no address for {host}: {}", causes(&error))))?
            .collect();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(place, found.clone());
        Ok(found)
    }
}
