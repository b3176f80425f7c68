//! `steadfast vegeta attack`.

mod beside;
mod plan;
mod send;
mod targets;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args};

pub(in crate::cli) use beside::attack as beside;
pub(crate) use beside::described;

use super::usage;
use crate::load::vegeta::{Format, Rate, parse_duration, parse_header, parse_size};

const EXAMPLES: &str = "\
A result's timestamp is the instant at which its request was to be sent, and its latency counts from there: what waits
behind a slow answer is not left out. Every planned request is sent; what could not be sent is said, and how late the
generator itself was.

Examples:
  echo 'GET http://127.0.0.1:8080/' | steadfast vegeta attack -duration=5s | steadfast vegeta report
  steadfast vegeta attack -targets=targets.txt -rate=300/m -duration=10m -output=results.gob
  steadfast vegeta attack -targets=targets.txt -rate=0 -max-workers=64 -duration=10s > results.gob
  jq -c '{method: \"GET\", url: .}' urls.json | steadfast vegeta attack -format=json -lazy -rate=100/s > results.gob";

/// Sends requests at a rate, and writes their results
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(super) struct Options {
    /// The attack's name, in each result and in the header X-Vegeta-Attack
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    name: String,
    /// The file of targets
    #[arg(long, default_value = "stdin", value_name = "FILE")]
    targets: String,
    /// How targets are written: http or json
    #[arg(long, default_value = "http", value_name = "FORMAT")]
    format: Format,
    /// Sends each target once, and ends with the last
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    lazy: bool,
    /// The file to write results to, in gob
    #[arg(long, default_value = "stdout", value_name = "FILE")]
    output: String,
    /// A file with the body of each target that has none
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Sends bodies in chunks; not supported
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, hide = true)]
    chunked: bool,
    /// A header of each target, `Name: value`; more of them add up
    #[arg(long, value_name = "HEADER", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// A header for a proxy; not supported
    #[arg(long, value_name = "HEADER", hide = true)]
    proxy_header: Vec<String>,
    /// How many requests in how much time: 50, 50/s, 300/5m; 0 or infinity is without a limit, and needs -max-workers
    #[arg(long, default_value = "50/1s", value_name = "RATE")]
    rate: Rate,
    /// For how long; 0 is until a signal
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    duration: Duration,
    /// How long a request may take; 0 is without a limit
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Duration,
    /// Without an effect: what sends is started as it is needed
    #[arg(long, default_value_t = 10, value_name = "N")]
    workers: u64,
    /// How many requests may be under way at once; more wait, and their latency counts on [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_workers: Option<u64>,
    /// How many idle connections are kept to each host
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    connections: usize,
    /// How many connections there may be to each host; 0 is as many as requests
    #[arg(long, default_value_t = 0, value_name = "N")]
    max_connections: usize,
    /// How many redirects are followed; -1 takes them for the answer
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
    redirects: i64,
    /// How much of each answer's body is written to the results, such as 10KB; -1 is all of it
    #[arg(long, default_value = "-1", value_name = "SIZE", value_parser = size)]
    max_body: u64,
    /// Uses connections again
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, value_name = "BOOL")]
    keepalive: bool,
    /// Speaks HTTP/2 with TLS servers that do
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, value_name = "BOOL")]
    http2: bool,
    /// Speaks HTTP/2 without TLS
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    h2c: bool,
    /// Believes every TLS server
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    insecure: bool,
    /// A PEM file with the client's certificate
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// A PEM file with its key [default: that of -cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// PEM files of certificates that vouch for servers, in place of the machine's
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    root_certs: Vec<PathBuf>,
    /// Resumes TLS sessions
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    session_tickets: bool,
    /// The address that connections come from
    #[arg(long, default_value = "0.0.0.0", value_name = "IP")]
    laddr: IpAddr,
    /// A unix socket to connect to, whatever host a target names
    #[arg(long, value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// Name servers; not supported
    #[arg(long, value_name = "ADDRESSES", hide = true)]
    resolvers: Option<String>,
    /// How long an address is known: 0 is for ever, -1 not at all
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    dns_ttl: String,
    /// Connects to DSTHOST:DSTPORT in place of SRCHOST:SRCPORT; more of one source take turns
    #[arg(long, value_name = "SRCHOST:SRCPORT:DSTHOST:DSTPORT")]
    connect_to: Vec<targets::Detour>,
    /// An exporter's address; not supported
    #[arg(long, default_value = "", value_name = "ADDRESS", hide = true)]
    prometheus_addr: String,
}

/// Runs it; so many threads may send.
pub(super) fn run(options: &Options, threads: Option<u16>) -> ExitCode {
    match plan::plan(options, threads) {
        Ok(plan) => send::send(plan).unwrap_or_else(|code| code),
        Err(why) => usage(why),
    }
}

fn size(text: &str) -> Result<u64, String> {
    Ok(parse_size(text)?.unwrap_or(u64::MAX))
}

/// Go's words for true and false.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}
