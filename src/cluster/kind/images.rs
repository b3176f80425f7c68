//! Images of one static program, and bringing images into a kind cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::digest;

use super::{Held, KindError, hex, tools};
use crate::kubernetes::WITNESS_IMAGE;
use crate::variables;

/// The label of an image that names the program in it by its SHA-256.
const PROGRAM_LABEL: &str = "dev.steadfast.program";

/// The witness, compiled by one call of rustc: it needs the standard library alone.
const WITNESS_SOURCE: &str = include_str!("../../../fixtures/witness.rs");

/// What is done with images for one cluster.
pub(in crate::cluster) struct Images {
    cluster: String,
}

impl Images {
    pub(in crate::cluster) fn of(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned() }
    }

    /// Makes the witness' image and brings it into the cluster.
    pub(in crate::cluster) async fn witness(self) -> Result<(), KindError> {
        super::blocking(move || {
            let program = witness_program()?;
            from_scratch(WITNESS_IMAGE, &program)?;
            self.load_now(WITNESS_IMAGE)
        })
        .await
    }

    /// Makes the shop's image and brings it into the cluster.
    #[cfg(feature = "lab")]
    pub(in crate::cluster) async fn shop(self) -> Result<(), KindError> {
        super::blocking(move || {
            from_scratch(crate::cluster::SHOP_IMAGE, &shop_program()?)?;
            self.load_now(crate::cluster::SHOP_IMAGE)
        })
        .await
    }

    /// Brings an image of this machine into the cluster, unless it is there.
    pub(in crate::cluster) async fn load(self, image: &str) -> Result<(), KindError> {
        let image = image.to_owned();
        super::blocking(move || self.load_now(&image)).await
    }

    fn load_now(&self, image: &str) -> Result<(), KindError> {
        let held = Held::take(&self.cluster)?;
        let missing = |_| KindError::ImageMissing { image: image.to_owned() };
        let id = tools::run("look for an image", "docker", &["image", "inspect", "--format", "{{.Id}}", image]);
        let id = id.map_err(missing)?.trim().to_owned();
        let Some(mut record) = held.record()? else {
            return Err(KindError::State(format!("nothing is known of kind cluster {}", self.cluster)));
        };
        if record.images.get(image) == Some(&id) {
            return Ok(());
        }
        let doing = format!("load image {image} into kind cluster {}", self.cluster);
        tools::run(&doing, "kind", &["load", "docker-image", image, "--name", &self.cluster])?;
        record.images.insert(image.to_owned(), id);
        held.write(&record)
    }
}

/// Makes an image of one static program, which is what it runs; nothing else is in it.
pub(in crate::cluster) fn from_scratch(image: &str, program: &Path) -> Result<(), KindError> {
    tools::check_docker()?;
    let bytes = fs::read(program).map_err(KindError::file("read", program))?;
    if needs_a_linker(&bytes) {
        return Err(KindError::NotStatic { path: program.to_owned() });
    }
    let sum = hex(digest::digest(&digest::SHA256, &bytes).as_ref());
    let format = format!("{{{{index .Config.Labels {PROGRAM_LABEL:?}}}}}");
    let known = tools::run("look for an image", "docker", &["image", "inspect", "--format", &format, image]);
    if known.is_ok_and(|known| known.trim() == sum) {
        return Ok(());
    }
    let failed = |why: String| KindError::Failed { doing: format!("make image {image} of {}", program.display()), why };
    let folder = program.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = program.file_name().and_then(|name| name.to_str()).ok_or_else(|| failed("it has no name".into()))?;
    let mut tar = Command::new("tar")
        .args(["-c", "--owner=0", "--group=0", "--mode=0755", "-C"])
        .arg(folder)
        .arg(name)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("tar: {error}")))?;
    let entrypoint = format!("ENTRYPOINT [{:?}]", format!("/{name}"));
    let label = format!("LABEL {PROGRAM_LABEL}={sum}");
    let import = Command::new("docker")
        .args(["import", "--change", &entrypoint, "--change", &label, "-", image])
        .stdin(tar.stdout.take().map_or(Stdio::null(), Stdio::from))
        .output()
        .map_err(|error| failed(format!("docker: {error}")))?;
    let packed = tar.wait().map_err(|error| failed(format!("tar: {error}")))?;
    if !import.status.success() || !packed.success() {
        return Err(failed(tools::shortened(&String::from_utf8_lossy(&import.stderr))));
    }
    Ok(())
}

/// Whether an ELF file names an interpreter: the dynamic linker, which an empty image has not.
fn needs_a_linker(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = elf.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    // The program headers of a 64-bit little-endian file: their place, their size, their number.
    let (Some(place), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else { return true };
    let is_elf = elf.starts_with(b"\x7fELF\x02\x01");
    let types = (0..count).map(|index| number(usize::try_from(place + index * size).unwrap_or(usize::MAX / 2), 4));
    !is_elf || types.flatten().any(|kind| kind == u64::from(INTERPRETER))
}

/// Where programs for images are kept: in the user's cache, so that they are built once.
fn cache() -> Result<PathBuf, KindError> {
    let home = variables::path("XDG_CACHE_HOME").or_else(|| variables::path("HOME").map(|home| home.join(".cache")));
    let folder = home.unwrap_or_else(std::env::temp_dir).join("steadfast").join(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(&folder).map_err(KindError::file("make", &folder))?;
    Ok(folder)
}

/// The witness as a static program of this machine's architecture.
fn witness_program() -> Result<PathBuf, KindError> {
    let folder = cache()?.join(&hex(digest::digest(&digest::SHA256, WITNESS_SOURCE.as_bytes()).as_ref())[..16]);
    let program = folder.join("witness");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&folder).map_err(KindError::file("make", &folder))?;
    let source = folder.join("witness.rs");
    fs::write(&source, WITNESS_SOURCE).map_err(KindError::file("write", &source))?;
    // Under another name until it is whole: another process may look for it.
    let built = tempfile::Builder::new().prefix("witness-").tempdir_in(&folder);
    let built = built.map_err(KindError::file("make", &folder))?;
    let output = built.path().join("witness");
    let rustc = variables::text("RUSTC").unwrap_or_else(|| "rustc".into());
    let (from, to) = (source.to_string_lossy(), output.to_string_lossy());
    let args = ["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort", "-C", "strip=symbols"];
    let args: Vec<&str> = args.into_iter().chain(["-o", &*to, &*from]).collect();
    tools::run("compile the witness (a Rust toolchain is needed, or STEADFAST_WITNESS_IMAGE)", &rustc, &args)?;
    fs::rename(&output, &program).map_err(KindError::file("write", &program))?;
    Ok(program)
}

/// The shop's program, built static from this package's source. Cargo sees to it that it is built once.
#[cfg(feature = "lab")]
fn shop_program() -> Result<PathBuf, KindError> {
    let (target, triple) = (cache()?.join("target"), format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    let (manifest, folder) = (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), target.to_string_lossy());
    let cargo = variables::text("CARGO").unwrap_or_else(|| "cargo".into());
    // What cargo says of the test that runs is not meant for this build: build scripts would run anew for it.
    let of_the_test = |name: &&String| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|part| name.starts_with(part));
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let names = names.iter().filter(of_the_test).map(String::as_str).chain(["CARGO_ENCODED_RUSTFLAGS"]);
    let mut args: Vec<&str> = names.flat_map(|name| ["-u", name]).collect();
    args.extend(["RUSTFLAGS=-C target-feature=+crt-static", &cargo, "build", "--quiet"]);
    args.extend(["--manifest-path", manifest, "--target", &triple, "--target-dir", &*folder]);
    args.extend(["--no-default-features", "--features", "shop", "--bin", "steadfast-shop", "--profile", "shop"]);
    tools::run("build the shop's program (a Rust toolchain is needed)", "env", &args)?;
    Ok(target.join(triple).join("shop").join("steadfast-shop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let this = std::env::current_exe().expect("this test");
        assert!(needs_a_linker(&fs::read(this).expect("it can be read")), "a test is dynamic");
        assert!(needs_a_linker(b"#!/bin/sh\n"), "a script is no program");
        // A header with one program header that is no interpreter.
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(120, 0);
        (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, 1);
        assert!(!needs_a_linker(&elf));
        elf[64] = 3;
        assert!(needs_a_linker(&elf));
    }
}
