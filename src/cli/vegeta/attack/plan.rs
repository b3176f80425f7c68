//! Flags and targets into a load: what it cannot do is refused here, before anything is sent.

use std::time::Duration;

use http::{HeaderName, Method};

use super::Options;
use super::targets::{self, MOST};
use crate::load::vegeta::{Rate, Target};
use crate::load::{self, Load, Names, Schedule, Trust, Version};

/// Longer than any request, and an instant that clocks still know.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

const AGENT: &str = concat!("steadfast/", env!("CARGO_PKG_VERSION"));

/// What is sent and where its results go.
pub(super) struct Plan {
    pub(super) load: Load,
    pub(super) name: String,
    pub(super) output: String,
    /// Request i is of target i modulo their number.
    pub(super) targets: Vec<Target>,
}

pub(super) fn plan(options: &Options, threads: Option<u16>) -> Result<Plan, String> {
    refused(options)?;
    if options.rate == Rate::Unlimited && options.max_workers.is_none() {
        return Err(format!("-rate={} requires setting -max-workers: they are what limits it then", options.rate));
    }
    let schedule = schedule(options);
    let wanted = if options.lazy { usize::try_from(schedule.count()).unwrap_or(MOST).min(MOST) } else { MOST };
    let (targets, more) = targets::read(options, wanted)?;
    if targets.is_empty() {
        return Err(format!("{}: no targets to attack; give one at least", options.targets));
    }
    if more {
        return Err(format!("{}: more than {MOST} targets; give fewer", options.targets));
    }
    let turn = targets.len();
    let sent = targets::detoured(targets, &options.connect_to)?;
    let mut requests = Vec::new();
    for (target, uri) in &sent {
        requests.push(request(options, target, uri.clone())?);
    }
    let load = load::targets(requests).named(if options.name.is_empty() { "attack" } else { &options.name });
    let load = match options.rate {
        Rate::Unlimited => {
            if options.lazy {
                return Err("-lazy needs a rate: each target is sent once, at its instant".to_owned());
            }
            load.lasting(schedule.lasting()).concurrency(number(options.max_workers.unwrap_or(1)))
        }
        Rate::Of { .. } if options.lazy => load.following(ending_after(options, schedule, turn)),
        Rate::Of { .. } => load.following(schedule),
    };
    let mut load = connected(options, load);
    if let Some(threads) = threads {
        load = load.threads(threads.into());
    }
    load.checked().map_err(|error| error.to_string())?;
    let targets = sent.into_iter().map(|(target, _)| target).collect();
    Ok(Plan { load, name: options.name.clone(), output: options.output.clone(), targets })
}

fn schedule(options: &Options) -> Schedule {
    let lasting = if options.duration.is_zero() { Duration::MAX } else { options.duration };
    // Without a rate only the length counts.
    Schedule::constant(options.rate.per_second().unwrap_or(1.0), lasting)
}

/// No request beyond the last target.
#[expect(clippy::cast_precision_loss, reason = "there are no more than 100,000")]
fn ending_after(options: &Options, schedule: Schedule, targets: usize) -> Schedule {
    match options.rate.per_second() {
        Some(rate) if schedule.count() > targets as u64 => {
            // Half an interval more, so that no rounding takes the last one away.
            Schedule::constant(rate, Duration::from_secs_f64((targets as f64 + 0.5) / rate))
        }
        _ => schedule,
    }
}

/// What is not supported is an error, and never passed over.
fn refused(options: &Options) -> Result<(), String> {
    for (flag, is_given) in [
        ("-chunked", options.chunked),
        ("-proxy-header", !options.proxy_header.is_empty()),
        ("-resolvers", options.resolvers.is_some()),
        ("-prometheus-addr", !options.prometheus_addr.is_empty()),
    ] {
        if is_given {
            return Err(format!("{flag} is not supported; leave it out, or use vegeta for this attack"));
        }
    }
    if !matches!(options.dns_ttl.as_str(), "0" | "0s" | "-1") {
        return Err(format!(
            "-dns-ttl={} is not supported; give 0 to look each name up once, or -1 for each connection",
            options.dns_ttl
        ));
    }
    Ok(())
}

fn request(options: &Options, target: &Target, uri: http::Uri) -> Result<load::Target, String> {
    let method = Method::from_bytes(target.method.as_bytes()).map_err(|error| format!("{}: {error}", target.method))?;
    let mut request = load::Target::new(method, crate::transport::Address::Url(uri)).body(target.body.clone());
    let has = |name: &str| target.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    if !has("user-agent") {
        request = request.header("user-agent", AGENT);
    }
    if !options.name.is_empty() {
        request = request.header("x-vegeta-attack", &options.name);
    }
    Ok(request)
}

fn connected(options: &Options, load: Load) -> Load {
    let version = match (options.h2c, options.http2) {
        (true, _) => Version::Http2,
        (false, true) => Version::Http2OverTls,
        (false, false) => Version::Http1,
    };
    let trust = match (options.insecure, options.root_certs.as_slice()) {
        (true, _) => Trust::Anyone,
        (false, []) => Trust::Machine,
        (false, files) => Trust::Files(files.to_vec()),
    };
    let names = if options.dns_ttl == "-1" { Names::PerConnection } else { Names::OncePerRun };
    let mut load = load
        .version(version)
        .trust(trust)
        .names(names)
        .timeout(if options.timeout.is_zero() { NEVER } else { options.timeout })
        .idle_connections(options.connections)
        .number_header(HeaderName::from_static("x-vegeta-seq"))
        .keeping(options.max_body);
    if options.keepalive {
        load = load.keep_alive();
    }
    if let Some(most) = options.max_workers {
        load = load.in_flight(number(most));
    }
    if options.max_connections > 0 {
        load = load.connections(options.max_connections);
    }
    if let Ok(redirects) = u32::try_from(options.redirects) {
        load = load.redirects(redirects);
    }
    if let Some(certificate) = &options.cert {
        load = load.identity(certificate, options.key.as_ref().unwrap_or(certificate));
    }
    if options.session_tickets {
        load = load.resume_sessions();
    }
    if let Some(path) = &options.unix_socket {
        load = load.unix_socket(path);
    }
    if !options.laddr.is_unspecified() {
        load = load.local_address(options.laddr);
    }
    load
}

fn number(most: u64) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}
