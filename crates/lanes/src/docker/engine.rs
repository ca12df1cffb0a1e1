//! The connection to the engine: every request has a time limit, and every failure is
//! reported with what was tried, the cause and the remedy.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::endpoint::{self, Endpoint};
use super::responses::{
    EngineFacts, EngineVersion, InvalidResponse, parse_info, parse_version, sanitize_engine_text,
};
use super::transport::Transport;
use crate::{Cancel, LaneError};
use cyclometer_core::units::Nanos;
use cyclometer_meter::cgroup::Driver;

/// Longest wait for the first response of an engine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for what an engine does at once, even under load.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the removal of leftovers where nobody should wait.
pub(super) const CLEANUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval at which a wait checks its cancel token.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(Cancel::POLL_MS as u64);
/// Time limit of the client library in seconds. It must never be the first to end a
/// request: its error does not say what took so long, and waiting for a container has
/// no limit.
const CLIENT_LIMIT_SECONDS: u64 = 7 * 24 * 3600;

/// Advice about an engine whose responses make no sense.
pub(super) const NOT_AN_ENGINE_HINT: &str =
    "; is that a Docker engine, of version 1.12 or newer? Look at DOCKER_HOST and at its log";

/// Failure of a request to the engine.
#[derive(Debug, Error)]
pub(super) enum EngineError {
    /// There was no response in time.
    #[error(
        "Docker at {host} did not answer within {limit} when asked to {action}: the engine hangs \
         or is overloaded; look at its log (`journalctl -u docker`) or restart it"
    )]
    TimedOut { host: String, action: &'static str, limit: Nanos },
    /// There was no connection, or it broke.
    #[error("the connection to Docker at {host} failed when it was to {action}: {cause}; {remedy}")]
    Unreachable { host: String, action: &'static str, cause: String, remedy: &'static str },
    /// The engine refused the request.
    #[error("Docker could not {action}: {message}{remedy}")]
    Refused { action: &'static str, status: Option<u16>, message: String, remedy: &'static str },
    /// The wait was stopped on request before there was a response.
    #[error("stopped")]
    Cancelled,
}

impl EngineError {
    /// Returns whether the engine said that the object of the request does not exist.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: Some(404), .. })
    }

    /// Returns whether the engine did not find a file that it was to mount.
    pub(crate) fn is_about_mounts(&self) -> bool {
        matches!(self, Self::Refused { message, .. }
            if message.contains("bind source path does not exist")
                || message.contains("invalid mount config"))
    }

    /// Returns whether it is unknown what the engine made of the request.
    pub(crate) const fn is_unanswered(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Cancelled)
    }

    /// Returns whether the engine said that the requested state is reached, or soon will be.
    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: Some(409), .. })
    }
}

/// Facts about an engine that `doctor` shows; `None`: the engine did not state it.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// Address of the engine and its source.
    pub endpoint: Endpoint,
    /// Version of the engine.
    pub version: Option<String>,
    /// Newest version of the engine's interface.
    pub api_version: Option<String>,
    /// Names of the engine's OCI runtimes, sorted.
    pub runtimes: Vec<String>,
    /// Runtime of containers that request none.
    pub default_runtime: Option<String>,
    /// Driver that names control groups: `cgroupfs` or `systemd`.
    pub cgroup_driver: Option<String>,
    /// Version of control groups: `1` or `2`.
    pub cgroup_version: Option<String>,
    /// Driver that stores image layers.
    pub storage_driver: Option<String>,
    /// Data folder of the engine.
    pub root: Option<String>,
    /// Name of the host that the engine runs on.
    pub host: Option<String>,
    /// Kernel version of that host.
    pub kernel: Option<String>,
    /// Whether the kernel can limit swap.
    pub limits_swap: Option<bool>,
    /// Driver of control groups, where they can be created for it.
    pub(super) driver: Option<Driver>,
    /// Programs of the engine's OCI runtimes, by the runtime's name.
    pub(super) paths: HashMap<String, String>,
}

impl EngineInfo {
    fn new(endpoint: Endpoint, version: &EngineVersion, facts: EngineFacts) -> Self {
        let mut runtimes: Vec<_> = facts.runtimes.keys().cloned().collect();
        runtimes.sort_unstable();
        let driver = match facts.cgroup_driver.as_deref() {
            Some("cgroupfs") => Some(Driver::Cgroupfs),
            Some("systemd") => Some(Driver::Systemd),
            _ => None,
        };
        let (major, minor) = version.interface;
        Self {
            endpoint,
            version: facts.version,
            api_version: Some(format!("{major}.{minor}")),
            runtimes,
            default_runtime: facts.default_runtime,
            cgroup_driver: facts.cgroup_driver,
            cgroup_version: facts.cgroup_version,
            storage_driver: facts.storage_driver,
            root: facts.root,
            host: facts.host,
            kernel: facts.kernel,
            limits_swap: facts.limits_swap,
            driver,
            paths: facts.runtimes,
        }
    }

    /// Returns why this machine's control groups cannot be the engine's, if so.
    pub(super) fn reason_if_remote(&self) -> Option<String> {
        let here = |name: &str| {
            let text =
                cyclometer_system::files::read_kernel_text(format!("/proc/sys/kernel/{name}"))
                    .ok()?;
            Some(text.trim().to_owned())
        };
        let same = self.host == here("hostname") && self.kernel == here("osrelease");
        (!same).then(|| {
            let host = self.host.as_deref().unwrap_or("of unknown name");
            format!(
                "the engine runs on another machine ({host}), out of reach of this one's meters"
            )
        })
    }
}

/// Asks the engine about itself, for `doctor`.
///
/// # Errors
/// [`LaneError::Unavailable`], with what was tried, the cause and the remedy.
pub fn inspect_engine() -> Result<EngineInfo, LaneError> {
    Engine::connect().map(|(_, info)| info)
}

/// A connection to an engine, and the asynchronous runtime that drives it.
pub(super) struct Engine {
    pub docker: Docker,
    pub host: String,
    pub transport: Transport,
    /// Runtime, present until this is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Without waiting for tasks that may never end, such as the lookup of a host name.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Finds the engine and asks it about itself.
    ///
    /// # Errors
    /// [`LaneError::Unavailable`].
    pub fn connect() -> Result<(Self, EngineInfo), LaneError> {
        let unavailable = |reason: String| LaneError::Unavailable { reason };
        let endpoint =
            endpoint::resolve_endpoint().map_err(|error| unavailable(error.to_string()))?;
        Self::connect_to(&endpoint)
    }

    /// Connects to the engine at `endpoint` and asks it about itself.
    ///
    /// # Errors
    /// [`LaneError::Unavailable`].
    pub(crate) fn connect_to(endpoint: &Endpoint) -> Result<(Self, EngineInfo), LaneError> {
        let unavailable = |reason: String| LaneError::Unavailable { reason };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            unavailable(format!("cannot wait for the Docker engine's answers: {error}"))
        })?;
        let transport = Transport::for_endpoint(endpoint);
        let answer = runtime.block_on(query_engine_facts(&transport, endpoint));
        let (version, facts) = answer.map_err(unavailable)?;
        let default = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        let transport = transport.with_version(version.interface.min(default));
        let docker = build_client(&transport);
        let docker =
            docker.map_err(|error| unavailable(explain_unusable_engine(endpoint, &error)))?;
        let host = endpoint.host.clone();
        let engine = Self { docker, host, transport, runtime: Some(runtime) };
        Ok((engine, EngineInfo::new(endpoint.clone(), &version, facts)))
    }

    /// Returns a connection to whatever listens at `host`, without a request.
    #[cfg(test)]
    pub(crate) fn without_asking(host: &str) -> Self {
        let from = endpoint::EndpointOrigin::Environment;
        let transport = Transport::for_endpoint(&Endpoint { host: host.to_owned(), from });
        let docker = build_client(&transport).expect("an address");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { docker, host: host.to_owned(), transport, runtime: Some(runtime) }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until this is dropped")
    }

    /// Requests `path` from the engine and parses the response.
    pub(crate) async fn fetch_parsed<T>(
        &self,
        action: &'static str,
        limit: Duration,
        cancel: Option<&Cancel>,
        path: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, InvalidResponse>,
    ) -> Result<T, EngineError> {
        let answer =
            self.send_request(action, limit, cancel, self.transport.get_body(path)).await?;
        parse(&answer).map_err(|error| EngineError::Refused {
            action,
            status: None,
            message: error.to_string(),
            remedy: NOT_AN_ENGINE_HINT,
        })
    }

    /// Spawns a future, which runs whenever this connection waits for another.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime().spawn(future)
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }

    /// Waits for the response to a request, no longer than `limit`. After `cancel`
    /// only [`CLEANUP_TIMEOUT`] is left: what the engine has begun to create should be known,
    /// so that it can be removed.
    pub async fn send_request<T>(
        &self,
        action: &'static str,
        limit: Duration,
        cancel: Option<&Cancel>,
        request: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, EngineError> {
        let mut request = std::pin::pin!(request);
        let mut alarm = std::pin::pin!(sleep(limit));
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelled = false;
        loop {
            tokio::select! {
                answer = &mut request => {
                    return answer.map_err(|error| self.to_engine_error(action, &error));
                }
                () = &mut alarm => return Err(if cancelled {
                    EngineError::Cancelled
                } else {
                    EngineError::TimedOut { host: self.host.clone(), action, limit: limit.into() }
                }),
                _ = ticks.tick() => {
                    if !cancelled && cancel.is_some_and(Cancel::is_cancelled) {
                        cancelled = true;
                        let brief = Instant::now() + CLEANUP_TIMEOUT;
                        let deadline = alarm.deadline().min(brief);
                        alarm.as_mut().reset(deadline);
                    }
                }
            }
        }
    }

    /// Converts an error of the client library to an `EngineError`.
    pub(crate) fn to_engine_error(&self, action: &'static str, error: &ApiError) -> EngineError {
        let (status, message) = match error {
            ApiError::DockerResponseServerError { status_code, message } => {
                (Some(*status_code), sanitize_engine_text(message))
            }
            ApiError::DockerStreamError { error } => (None, sanitize_engine_text(error)),
            ApiError::JsonDataError { .. } | ApiError::JsonSerdeError { .. } => {
                let error = sanitize_engine_text(&error.to_string());
                (None, format!("its answer is not understood ({error}){NOT_AN_ENGINE_HINT}"))
            }
            _ => {
                return EngineError::Unreachable {
                    host: self.host.clone(),
                    action,
                    cause: root_cause(error),
                    remedy: remedy_for_io_error(io_kind(error)),
                };
            }
        };
        let remedy = remedy_for_refusal(&message);
        EngineError::Refused { action, status, message, remedy }
    }
}

/// Waits for a request to stop.
async fn wait_for_cancellation(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        sleep(POLL_INTERVAL).await;
    }
}

/// Waits for `work`, but no longer than [`CLEANUP_TIMEOUT`] after a request to stop.
pub(super) async fn run_unless_cancelled<T>(
    cancel: &Cancel,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped: Option<Instant> = None;
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            _ = ticks.tick() => {
                if stopped.is_some_and(|since| since.elapsed() >= CLEANUP_TIMEOUT) {
                    return None;
                }
                if stopped.is_none() && cancel.is_cancelled() {
                    stopped = Some(Instant::now());
                }
            }
        }
    }
}

/// Builds a client of the client library on that transport; nothing is sent yet.
fn build_client(transport: &Transport) -> Result<Docker, ApiError> {
    let (major_version, minor_version) = transport.version().unwrap_or_default();
    let version = ClientVersion { major_version, minor_version };
    let transport = transport.clone();
    let send = move |request: BollardRequest| transport.clone().forward_request(request);
    let address = Some("http://docker");
    Docker::connect_with_custom_transport(send, address, CLIENT_LIMIT_SECONDS, &version)
}

/// Queries version and facts of an engine that may not be there.
async fn query_engine_facts(
    transport: &Transport,
    endpoint: &Endpoint,
) -> Result<(EngineVersion, EngineFacts), String> {
    let unlike = |error: InvalidResponse| {
        format!(
            "what answers at {endpoint} is no Docker engine that can be used: {error}{NOT_AN_ENGINE_HINT}"
        )
    };
    let answer = await_response(endpoint, CONNECT_TIMEOUT, transport.get_body("/version")).await?;
    let version = parse_version(&answer).map_err(unlike)?;
    let answer = await_response(endpoint, REQUEST_TIMEOUT, transport.get_body("/info")).await?;
    Ok((version, parse_info(&answer).map_err(unlike)?))
}

/// Waits for the response of an engine that may not be there.
async fn await_response<T>(
    endpoint: &Endpoint,
    limit: Duration,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, String> {
    let work = timeout(limit, request);
    let cancel = Cancel::for_process();
    let answer = tokio::select! {
        answer = work => answer,
        // Nothing was requested yet that would have to be removed.
        () = wait_for_cancellation(&cancel) => {
            return Err(format!("stopped while the Docker engine at {endpoint} was asked"));
        }
    };
    match answer {
        Ok(answer) => answer.map_err(|error| explain_unusable_engine(endpoint, &error)),
        Err(_) => Err(format!(
            "the Docker engine at {endpoint} did not answer within {}; look at its log \
             (`journalctl -u docker`) or restart it",
            Nanos::from(limit)
        )),
    }
}

/// Explains in one paragraph why an engine cannot be used at all.
fn explain_unusable_engine(endpoint: &Endpoint, error: &ApiError) -> String {
    if let ApiError::DockerResponseServerError { status_code, message } = error {
        let message = sanitize_engine_text(message);
        return format!(
            "the Docker engine at {endpoint} refuses to tell of itself (status {status_code}): \
             {message}; look at its log (`journalctl -u docker`) or restart it"
        );
    }
    let cause = root_cause(error);
    format!("no Docker engine at {endpoint}: {cause}; {}", remedy_for_io_error(io_kind(error)))
}

/// Returns the kind of the system's own error below the library's layers, if there is one.
fn io_kind(error: &ApiError) -> Option<io::ErrorKind> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        // A transparent variant hides the error that it holds from the chain.
        if let Some(ApiError::IOError { err }) = error.downcast_ref() {
            return Some(err.kind());
        }
        next = error.source();
    }
    None
}

/// Returns the innermost error's text: the outer ones only repeat that it failed.
fn root_cause(error: &ApiError) -> String {
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    sanitize_engine_text(&innermost.to_string())
}

const fn remedy_for_io_error(kind: Option<io::ErrorKind>) -> &'static str {
    match kind {
        Some(io::ErrorKind::NotFound) => {
            "is Docker installed and running? Start it with `systemctl start docker`, or say \
             where it listens with DOCKER_HOST"
        }
        Some(io::ErrorKind::PermissionDenied) => {
            "add yourself to the docker group (`usermod -aG docker $USER`, then log in again), \
             or run as root"
        }
        Some(io::ErrorKind::ConnectionRefused) => {
            "no engine listens there: start it with `systemctl start docker`"
        }
        Some(io::ErrorKind::WouldBlock) => {
            "it takes no more connections: look at its log (`journalctl -u docker`) or restart it"
        }
        Some(io::ErrorKind::Other) => "is that a Docker engine? Look at DOCKER_HOST",
        _ => "is the engine still running? Look with `systemctl status docker`",
    }
}

/// Returns advice about a refusal, where its text suggests any.
fn remedy_for_refusal(message: &str) -> &'static str {
    if message.contains("No such image") {
        "; the image was removed after it had been prepared: start again, which imports it anew"
    } else if message.contains("exec: \"") {
        "; look at the image's entrypoint and command, and at its PATH"
    } else if message.contains("Cannot mkdir") || message.contains("chdir to cwd") {
        "; look at the image's working folder, or name another with --workdir"
    } else if message.contains("OCI runtime") || message.contains("failed to create shim") {
        "; the OCI runtime is installed but does not run here: use another one of \
         `docker info`'s runtimes"
    } else if message.contains("operating system is not supported") {
        "; WebAssembly images need an engine with containerd's image store, and the runtime's shim"
    } else if message.contains("Minimum memory limit") {
        "; raise the workload's memory limit"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint { host: host.to_owned(), from: endpoint::EndpointOrigin::Environment }
    }

    fn engine() -> Engine {
        let host = "tcp://127.0.0.1:1";
        let transport = Transport::for_endpoint(&endpoint(host)).with_version((1, 41));
        Engine {
            docker: build_client(&transport).expect("nothing is sent yet"),
            host: host.to_owned(),
            transport,
            runtime: Some(Builder::new_current_thread().enable_all().build().expect("a runtime")),
        }
    }

    #[test]
    fn requests_are_bounded_and_cancelled() {
        let engine = engine();
        let forever = std::future::pending::<Result<(), ApiError>>;
        let limit = Duration::from_millis(20);
        let error = engine.block_on(engine.send_request("wait", limit, None, forever()));
        assert!(matches!(error, Err(EngineError::TimedOut { .. })), "{error:?}");
        let cancel = Cancel::default();
        cancel.cancel();
        let begun = std::time::Instant::now();
        let error =
            engine.block_on(engine.send_request("wait", REQUEST_TIMEOUT, Some(&cancel), forever()));
        assert!(matches!(error, Err(EngineError::Cancelled)), "{error:?}");
        assert!(begun.elapsed() < CLEANUP_TIMEOUT * 2);
    }

    #[test]
    fn a_port_where_nobody_listens_says_what_to_do() {
        let engine = engine();
        let error = engine
            .block_on(engine.send_request(
                "tell its version",
                REQUEST_TIMEOUT,
                None,
                engine.docker.version(),
            ))
            .expect_err("nobody listens on port 1")
            .to_string();
        assert!(error.contains("refused") && error.contains("systemctl start docker"), "{error}");
    }

    #[test]
    fn a_missing_socket_says_what_to_do() {
        let missing = endpoint("unix:///nonexistent/docker.sock");
        let Err(error) = Engine::connect_to(&missing) else { panic!("there is no such socket") };
        let text = error.to_string();
        for part in ["/nonexistent/docker.sock (DOCKER_HOST)", "No such file", "systemctl start"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_not_the_runtimes_fault() {
        // As engine 20.10 with runc says it.
        let missing = "failed to create shim task: OCI runtime create failed: runc create failed: \
                       unable to start container process: exec: \"nosuch\": executable file not \
                       found in $PATH: unknown";
        assert!(remedy_for_refusal(missing).contains("entrypoint"));
        let folder = "Cannot mkdir: /etc/passwd is not a directory";
        assert!(remedy_for_refusal(folder).contains("--workdir"));
        let runtime = "OCI runtime create failed: unable to retrieve OCI runtime error";
        assert!(remedy_for_refusal(runtime).contains("use another one"));
    }

    #[test]
    fn denied_and_refused_have_their_own_remedies() {
        let error = |kind: io::ErrorKind| ApiError::IOError { err: kind.into() };
        let text = |kind| remedy_for_io_error(io_kind(&error(kind)));
        assert!(text(io::ErrorKind::PermissionDenied).contains("docker group"));
        assert!(text(io::ErrorKind::ConnectionRefused).contains("start docker"));
        assert!(text(io::ErrorKind::BrokenPipe).contains("still running"));
    }
}
