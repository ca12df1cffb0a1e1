//! Search for the engine's address: `DOCKER_HOST`, the current context, or the
//! default socket, in the way of the `docker` command.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use cyclometer_system::files::{self, Bound};
use cyclometer_workload::hex;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Port that the `docker` command uses when none is given.
const DEFAULT_PORT: u16 = 2375;
/// Most contexts that are read.
const MOST_CONTEXTS: usize = 1_000;

/// Source of the engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointOrigin {
    /// The environment variable `DOCKER_HOST`.
    Environment,
    /// The context of that name.
    Context(String),
    /// No setting: the default socket.
    Default,
}

impl fmt::Display for EndpointOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.pad("DOCKER_HOST"),
            Self::Context(name) => f.pad(&format!("context {name}")),
            Self::Default => f.pad("default socket"),
        }
    }
}

/// The address of a Docker engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix:///path` or `tcp://host:port`.
    pub host: String,
    /// Source of the address.
    pub from: EndpointOrigin,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.host, self.from)
    }
}

impl Endpoint {
    /// Returns the socket's path, if the address is a socket.
    pub(super) fn socket_path(&self) -> Option<&Path> {
        self.host.strip_prefix("unix://").map(Path::new)
    }
}

/// Reason why the engine's address is unknown or unusable.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// A configuration file cannot be read.
    #[error("cannot read {}, which names Docker's context: {cause}; correct its permissions, or set DOCKER_HOST", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        cause: String,
    },
    /// A configuration file is malformed.
    #[error("{} is not valid: {cause}; correct the file, or set DOCKER_HOST", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Error in the file, and its position.
        cause: String,
    },
    /// The selected context does not exist.
    #[error("Docker's context `{name}` ({from}) does not exist: there is no {}; `docker context ls` lists those there are", path.display())]
    NoContext {
        /// Name of the context.
        name: String,
        /// Setting that names it.
        from: String,
        /// The file that would describe it.
        path: PathBuf,
    },
    /// An address that this program cannot reach.
    #[error(
        "the Docker engine at {host} ({from}) cannot be used: {cause}; set DOCKER_HOST to a unix:// or plain tcp:// address"
    )]
    Unusable {
        /// The address.
        host: String,
        /// Source of the address.
        from: EndpointOrigin,
        /// Reason why it cannot be used.
        cause: String,
    },
}

/// Environment variables and files that the search for the engine reads.
pub(super) struct EndpointResolver<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Returns the address of the engine, from the environment and files of this user.
///
/// # Errors
/// When a file that names it is broken, or the address is of a kind that is
/// not supported.
pub fn resolve_endpoint() -> Result<Endpoint, EndpointError> {
    EndpointResolver { variable: &|name| std::env::var(name).ok(), read: &read_config_file }
        .resolve_current()
}

/// Reads a file of Docker's configuration.
fn read_config_file(path: &Path) -> io::Result<String> {
    const BOUND: Bound = Bound::new("a file of Docker's configuration", 1 << 20);
    Ok(files::read_regular(path, BOUND).and_then(files::into_text)?)
}

/// Returns the addresses of all engines that this user has: the one in use first,
/// then those of the other contexts and of the default socket; only that of
/// `DOCKER_HOST` where it is set. The second list holds the problems with some of
/// them.
pub(super) fn resolve_all_endpoints() -> (Vec<Endpoint>, Vec<String>) {
    let around =
        EndpointResolver { variable: &|name| std::env::var(name).ok(), read: &read_config_file };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut take = |endpoint: Result<Endpoint, EndpointError>| match endpoint {
        Ok(endpoint) => found.push(endpoint),
        Err(error) => problems.push(error.to_string()),
    };
    take(around.resolve_current());
    if around.non_empty_variable("DOCKER_HOST").is_some() {
        return (found, problems);
    }
    let contexts = around.config_folder().unwrap_or_default().join("contexts/meta");
    let entries = std::fs::read_dir(contexts).into_iter().flatten().flatten();
    for entry in entries.take(MOST_CONTEXTS) {
        let meta: Result<Option<ContextMeta>, _> =
            around.parse_json_file(&entry.path().join("meta.json"));
        let Ok(Some(meta)) = meta else { continue };
        if let Some(name) = meta.name {
            take(around.resolve_context(name, "contexts".to_owned()));
        }
    }
    take(around.complete_address(DEFAULT_HOST.to_owned(), EndpointOrigin::Default));
    (found, problems)
}

#[derive(Deserialize)]
struct ClientConfig {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Endpoints")]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize)]
struct ContextEndpoints {
    docker: ContextEndpoint,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
}

impl EndpointResolver<'_> {
    /// Resolves the address like [`resolve_endpoint`].
    pub(crate) fn resolve_current(&self) -> Result<Endpoint, EndpointError> {
        if let Some(host) = self.non_empty_variable("DOCKER_HOST") {
            return self.complete_address(host, EndpointOrigin::Environment);
        }
        match self.selected_context()? {
            Some((name, from)) => self.resolve_context(name, from),
            None => self.complete_address(DEFAULT_HOST.to_owned(), EndpointOrigin::Default),
        }
    }

    /// Returns the value of a variable that is set and not empty.
    fn non_empty_variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn config_folder(&self) -> Option<PathBuf> {
        let configured = self.non_empty_variable("DOCKER_CONFIG").map(PathBuf::from);
        let home = || self.non_empty_variable("HOME").filter(|home| home.starts_with('/'));
        configured.or_else(|| Some(Path::new(&home()?).join(".docker")))
    }

    /// Returns the context in use and the setting that names it; `None` for the built-in one.
    fn selected_context(&self) -> Result<Option<(String, String)>, EndpointError> {
        let named = match self.non_empty_variable("DOCKER_CONTEXT") {
            Some(name) => Some((name, "DOCKER_CONTEXT".to_owned())),
            None => self.configured_context()?,
        };
        Ok(named.filter(|(name, _)| !name.is_empty() && name != "default"))
    }

    fn configured_context(&self) -> Result<Option<(String, String)>, EndpointError> {
        let Some(path) = self.config_folder().map(|folder| folder.join("config.json")) else {
            return Ok(None);
        };
        let config: Option<ClientConfig> = self.parse_json_file(&path)?;
        let name = config.and_then(|config| config.current_context);
        Ok(name.map(|name| (name, path.display().to_string())))
    }

    /// Parses a JSON file; `None` if there is no such file.
    fn parse_json_file<T: for<'de> Deserialize<'de>>(
        &self,
        path: &Path,
    ) -> Result<Option<T>, EndpointError> {
        let text = match (self.read)(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(EndpointError::Unreadable {
                    path: path.to_owned(),
                    cause: error.to_string(),
                });
            }
        };
        serde_json::from_str(&text).map(Some).map_err(|error| EndpointError::Malformed {
            path: path.to_owned(),
            cause: error.to_string(),
        })
    }

    fn resolve_context(&self, name: String, from: String) -> Result<Endpoint, EndpointError> {
        let folder = self.config_folder().unwrap_or_default().join("contexts");
        // The store names folders by digest, since a context may have any name.
        let id = hex(&Sha256::digest(name.as_bytes()));
        let path = folder.join("meta").join(&id).join("meta.json");
        let Some(meta) = self.parse_json_file::<ContextMeta>(&path)? else {
            return Err(EndpointError::NoContext { name, from, path });
        };
        let host = meta.endpoints.docker.host.filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let authority = folder.join("tls").join(&id).join("docker").join("ca.pem");
        if is_tcp(&host) && (self.read)(&authority).is_ok() {
            return Err(EndpointError::Unusable {
                host,
                from: EndpointOrigin::Context(name),
                cause: "TLS is not supported".to_owned(),
            });
        }
        self.complete_address(host, EndpointOrigin::Context(name))
    }

    /// Completes an address, or refuses one that cannot be reached.
    fn complete_address(
        &self,
        host: String,
        from: EndpointOrigin,
    ) -> Result<Endpoint, EndpointError> {
        let cause = match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => {
                return Ok(Endpoint { host, from });
            }
            Some(("unix", _)) => "the path of a socket must be absolute".to_owned(),
            Some(("tcp" | "http", "")) => "it names no host".to_owned(),
            Some(("tcp" | "http", _)) if self.non_empty_variable("DOCKER_TLS_VERIFY").is_some() => {
                "DOCKER_TLS_VERIFY asks for TLS, which is not supported".to_owned()
            }
            Some(("tcp" | "http", address)) => {
                return Ok(Endpoint { host: with_port(address), from });
            }
            Some(("https", _)) => "TLS is not supported".to_owned(),
            Some(("ssh", _)) => "ssh is not supported; forward its socket with \
                 `ssh -L /tmp/docker.sock:/var/run/docker.sock` instead"
                .to_owned(),
            Some((scheme, _)) => format!("`{scheme}` is not a known scheme"),
            None => "it has no scheme".to_owned(),
        };
        Err(EndpointError::Unusable { host, from, cause })
    }
}

fn is_tcp(host: &str) -> bool {
    host.starts_with("tcp://") || host.starts_with("http://")
}

/// Returns `tcp://host:port`, with the port of the `docker` command where none is given.
fn with_port(address: &str) -> String {
    let address = address.trim_end_matches('/');
    let name_ends = address.rfind(']').unwrap_or(0);
    if address[name_ends..].contains(':') {
        format!("tcp://{address}")
    } else {
        format!("tcp://{address}:{DEFAULT_PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Resolves the address with these variables and files and nothing else.
    fn resolve(
        variables: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Result<Endpoint, EndpointError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let files: HashMap<_, _> =
            files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
        EndpointResolver {
            variable: &|name| variables.get(name).map(|&value| value.to_owned()),
            read: &|path| match files.get(path) {
                Some(&"forbidden") => Err(io::ErrorKind::PermissionDenied.into()),
                Some(text) => Ok((*text).to_owned()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
        .resolve_current()
    }

    fn at(host: &str, from: EndpointOrigin) -> Endpoint {
        Endpoint { host: host.to_owned(), from }
    }

    fn lab() -> String {
        let id = hex(&Sha256::digest(b"lab"));
        format!("/h/.docker/contexts/meta/{id}/meta.json")
    }

    #[test]
    fn the_environment_wins_over_the_context_and_that_over_the_default() {
        let config = ("/h/.docker/config.json", r#"{"auths":{},"currentContext":"lab"}"#);
        let lab = lab();
        let meta = (
            lab.as_str(),
            r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///run/lab.sock","SkipTLSVerify":false}}}"#,
        );
        let home = ("HOME", "/h");
        let files = [config, meta];
        assert_eq!(
            resolve(&[home, ("DOCKER_HOST", "unix:///x.sock")], &files),
            Ok(at("unix:///x.sock", EndpointOrigin::Environment))
        );
        let context = Ok(at("unix:///run/lab.sock", EndpointOrigin::Context("lab".into())));
        assert_eq!(resolve(&[home, ("DOCKER_HOST", "")], &files), context);
        assert_eq!(resolve(&[home, ("DOCKER_CONTEXT", "lab")], &[meta]), context);
        let default = Ok(at(DEFAULT_HOST, EndpointOrigin::Default));
        assert_eq!(resolve(&[home, ("DOCKER_CONTEXT", "default")], &files), default);
        assert_eq!(resolve(&[home], &[]), default);
        assert_eq!(resolve(&[], &[]), default);
    }

    #[test]
    fn docker_config_moves_the_folder() {
        let files = [("/c/config.json", r#"{"currentContext":"lab"}"#)];
        let error = resolve(&[("HOME", "/h"), ("DOCKER_CONFIG", "/c")], &files)
            .expect_err("the context has no file");
        assert!(
            matches!(&error, EndpointError::NoContext { name, path, .. }
                if name == "lab" && path.starts_with("/c/contexts/meta")),
            "{error}"
        );
        assert!(error.to_string().contains("/c/config.json"), "{error}");
    }

    #[test]
    fn broken_files_are_named_with_the_place() {
        let home = ("HOME", "/h");
        for text in ["{", "[]", r#"{"currentContext": 5}"#, ""] {
            let error = resolve(&[home], &[("/h/.docker/config.json", text)]).expect_err(text);
            assert!(matches!(error, EndpointError::Malformed { .. }), "{error}");
            assert!(error.to_string().contains("line 1"), "{error}");
        }
        let error = resolve(&[home], &[("/h/.docker/config.json", "forbidden")]).expect_err("no");
        assert!(matches!(error, EndpointError::Unreadable { .. }), "{error}");
        let error = resolve(&[home, ("DOCKER_CONTEXT", "lab")], &[(&lab(), r#"{"Endpoints":{}}"#)])
            .expect_err("no docker endpoint");
        assert!(matches!(error, EndpointError::Malformed { .. }), "{error}");
    }

    #[test]
    fn addresses_are_completed_or_refused() {
        let host = |host| resolve(&[("DOCKER_HOST", host)], &[]).map(|endpoint| endpoint.host);
        assert_eq!(host("tcp://h:1"), Ok("tcp://h:1".to_owned()));
        assert_eq!(host("tcp://h"), Ok("tcp://h:2375".to_owned()));
        assert_eq!(host("tcp://[::1]"), Ok("tcp://[::1]:2375".to_owned()));
        assert_eq!(host("http://h:1/"), Ok("tcp://h:1".to_owned()));
        for bad in ["ssh://me@h", "npipe://x", "unix://relative", "tcp://", "h:2375", "https://h"] {
            let error = host(bad).expect_err(bad).to_string();
            assert!(error.contains("DOCKER_HOST") && error.contains(bad), "{error}");
        }
        let tls = [("DOCKER_HOST", "tcp://h:2376"), ("DOCKER_TLS_VERIFY", "1")];
        assert!(resolve(&tls, &[]).expect_err("TLS").to_string().contains("TLS"));
        assert!(resolve(&[("DOCKER_TLS_VERIFY", "1")], &[]).is_ok(), "a socket needs no TLS");
    }

    #[test]
    fn a_context_with_certificates_is_refused() {
        let id = hex(&Sha256::digest(b"lab"));
        let lab = lab();
        let authority = format!("/h/.docker/contexts/tls/{id}/docker/ca.pem");
        let meta = r#"{"Endpoints":{"docker":{"Host":"tcp://h:2376"}}}"#;
        let variables = [("HOME", "/h"), ("DOCKER_CONTEXT", "lab")];
        let error = resolve(&variables, &[(&lab, meta), (&authority, "x")]).expect_err("TLS");
        assert!(error.to_string().contains("context lab"), "{error}");
    }
}
