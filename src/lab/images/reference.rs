//! The name of an image, as `docker.io/library/NAME:TAG` in whole.

/// Why a name is none, in the words of the container runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: invalid reference format{why}"
)]
pub(in crate::lab) struct InvalidName {
    name: String,
    why: String,
}

/// A name that can be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab) struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

impl Reference {
    pub(in crate::lab) fn parse(name: &str) -> Result<Self, InvalidName> {
        let invalid = |why: &str| InvalidName { name: name.to_owned(), why: why.to_owned() };
        let (plain, digest) = name.split_once('@').map_or((name, None), |(plain, digest)| (plain, Some(digest)));
        let (path, tag) = match plain.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (plain, "latest"),
        };
        let (registry, rest) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            // As the real one: a first part with capitals is taken for a host.
            Some((first, rest)) if first.chars().any(char::is_uppercase) => (first, rest),
            _ => ("docker.io", path),
        };
        if rest.chars().any(char::is_uppercase) {
            return Err(invalid(&format!(": repository name ({rest}) must be lowercase")));
        }
        let part = |part: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
            let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.chars().all(fits) && part.starts_with(edge) && part.ends_with(edge)
        };
        let tag_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let tagged = !tag.is_empty() && tag.len() <= 128 && tag.chars().all(tag_fits) && !tag.starts_with(['.', '-']);
        if !rest.split('/').all(part) || !tagged || digest.is_some_and(|digest| !digest.contains(':')) {
            return Err(invalid(""));
        }
        let library = registry == "docker.io" && !rest.contains('/');
        let repository = if library { format!("library/{rest}") } else { rest.to_owned() };
        let tag = digest.map_or(format!(":{tag}"), |digest| format!("@{digest}"));
        Ok(Self { registry: registry.to_owned(), repository, tag })
    }

    /// `docker.io/library/nginx:latest`.
    pub(in crate::lab) fn whole(&self) -> String {
        format!("{}/{}{}", self.registry, self.repository, self.tag)
    }

    /// Whether it is pulled each time unless its container says otherwise.
    pub(in crate::lab) fn is_latest(&self) -> bool {
        self.tag == ":latest"
    }

    /// What the runtime says when the registry cannot be reached: the lab's node has no way out.
    pub(in crate::lab) fn pull_failure(&self) -> String {
        let whole = self.whole();
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry };
        let name = host.split(':').next().unwrap_or(host);
        let (repository, tag) = (&self.repository, &self.tag[1..]);
        format!(
            "failed to pull and unpack image {whole:?}: failed to resolve reference {whole:?}: failed to do request: Head \"https://{host}/v2/{repository}/manifests/{tag}\": dial tcp: lookup {name} on 172.18.0.1:53: no such host"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_registry_library_and_tag() {
        let whole = |name: &str| Reference::parse(name).unwrap().whole();
        assert_eq!(whole("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(whole("nobody/knows:1"), "docker.io/nobody/knows:1");
        assert_eq!(whole("registry.k8s.io/pause:3.10.1"), "registry.k8s.io/pause:3.10.1");
        assert_eq!(whole("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(whole("a@sha256:00"), "docker.io/library/a@sha256:00");
    }

    #[test]
    fn what_is_no_name_is_told_as_the_runtime_does() {
        let why = |name: &str| Reference::parse(name).unwrap_err().to_string();
        assert_eq!(
            why("Bad/NAME:1"),
            "Failed to apply default image tag \"Bad/NAME:1\": couldn't parse image name \"Bad/NAME:1\": invalid reference format: repository name (NAME) must be lowercase"
        );
        for name in ["a b", "a/", "-a", "a:", "a:b c", ":1", ""] {
            assert!(why(name).ends_with("invalid reference format"), "{name}");
        }
    }
}
