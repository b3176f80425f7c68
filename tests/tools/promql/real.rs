//! A Prometheus of version 2.42 on a loopback port: from the search path, else out of its image.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use steadfast::clock::Stopwatch;
use tempfile::TempDir;

use super::super::find;
use super::super::lab::Said;

/// What the lab is a double of.
const VERSION: &str = "2.42.";
const IMAGE: &str = "prom/prometheus:v2.42.0";

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where its program comes from.
enum Source {
    Path(PathBuf),
    Image,
}

fn source() -> Result<Source, String> {
    let mut seen = "no prometheus on the PATH".to_owned();
    if let Some(prometheus) = find("prometheus") {
        let said = Command::new(&prometheus).arg("--version").output().map(|output| Said::of(&output));
        let version = said.map(|said| said.out + &said.err).unwrap_or_default();
        let version = version.split_whitespace().nth(2).unwrap_or("of no version").to_owned();
        if version.starts_with(VERSION) {
            return Ok(Source::Path(prometheus));
        }
        // Later ones answer otherwise: windows are open on the left, names and functions differ.
        seen = format!("the prometheus on the PATH is {version}, and the lab is a double of {VERSION}x");
    }
    let mut inspect = docker(&["image", "inspect", IMAGE]);
    inspect.stdout(Stdio::null()).stderr(Stdio::null());
    if inspect.status().is_ok_and(|status| status.success()) {
        return Ok(Source::Image);
    }
    Err(format!("{seen}, nor a Docker engine with {IMAGE}: apt-get install prometheus, or docker pull {IMAGE}"))
}

/// Whether there is one, else why not.
pub fn found() -> Result<(), String> {
    source().map(drop)
}

/// Its programs, and a folder for its data.
pub struct Programs {
    prometheus: PathBuf,
    /// Not every image has it.
    promtool: Option<PathBuf>,
    folder: TempDir,
}

impl Programs {
    pub fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        fs::create_dir(folder.path().join("data")).map_err(|error| error.to_string())?;
        let prometheus = match source()? {
            Source::Path(prometheus) => prometheus,
            // It is static: it runs as well outside of a container, and so leaves none that somebody must remove.
            Source::Image => {
                let (program, container) = (folder.path().join("prometheus"), run(&mut docker(&["create", IMAGE]))?);
                let copied = run(docker(&["cp", &format!("{}:/bin/prometheus", container.trim())]).arg(&program));
                run(&mut docker(&["rm", container.trim()]))?;
                copied?;
                return Ok(Self { prometheus: program, promtool: None, folder });
            }
        };
        Ok(Self { prometheus, promtool: find("promtool"), folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Makes blocks of a page, which it will have when it starts; false if there is no tool for it.
    pub fn import(&self, page: &str) -> Result<bool, String> {
        let Some(promtool) = &self.promtool else { return Ok(false) };
        let file = self.folder.path().join("samples.txt");
        fs::write(&file, page).map_err(|error| error.to_string())?;
        let mut command = Command::new(promtool);
        run(command.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(self.data()))?;
        Ok(true)
    }

    /// Starts it. The port is free when it is chosen; if somebody else gets it first, another is tried.
    pub fn start(&self) -> Result<Real, String> {
        let config = self.folder.path().join("prometheus.yml");
        fs::write(&config, "scrape_configs: []\n").map_err(|error| error.to_string())?;
        let mut told = String::new();
        for _ in 0..5 {
            let at = free_port()?;
            match Real::start(&self.prometheus, &config, &self.data(), at) {
                Ok(real) => return Ok(real),
                Err(why) => told = why,
            }
        }
        Err(format!("it does not start: {told}"))
    }
}

fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    Said::of(&output).ok().map_err(|said| format!("{command:?}: {said}"))
}

/// It runs until this is dropped.
pub struct Real {
    child: Child,
    pub at: SocketAddr,
}

impl Drop for Real {
    fn drop(&mut self) {
        // Its data are thrown away: it needs no time to save them. It may have died already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Real {
    fn start(program: &Path, config: &Path, data: &Path, at: SocketAddr) -> Result<Self, String> {
        let log = data.with_extension("log");
        let told = fs::File::create(&log).map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={at}"))
            // The samples are of no day in particular.
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver", "--log.level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(told)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut real = Self { child, at };
        let waited = Stopwatch::start();
        loop {
            let ended = real.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_none() && real.is_ready() {
                return Ok(real);
            }
            if ended.is_some() || waited.elapsed() > PATIENCE {
                return Err(format!("{ended:?}: {}", fs::read_to_string(&log).unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read, Write};
        let asked = || -> std::io::Result<bool> {
            let mut stream = std::net::TcpStream::connect(self.at)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
        };
        asked().unwrap_or(false)
    }
}
