//! The starter's report about a function that it ran: see `starter.c`.

use std::fmt::Write as _;
use std::io;

use super::function_call::FunctionCall;
use super::responses::sanitize_engine_text;
use cyclometer_core::units::Nanos;

/// Static starter program that `build.rs` compiled.
pub(super) const STARTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/starter"));

const MAGIC: u32 = 0x6379_6373;
const REPORT_SIZE: usize = 120;
/// Offset of the token in a report.
const TOKEN_AT: usize = 16;
const TOKEN_SIZE: usize = 16;
/// Variable in the starter's environment that holds its token.
pub(super) const TOKEN_VARIABLE: &str = "CYCLOMETER_TOKEN";

/// A number that only this program and one starter know, so that nobody else can
/// write its report, and no report is taken for that of another invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StarterToken([u8; TOKEN_SIZE]);

impl StarterToken {
    /// Creates a token that nobody can guess.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, String> {
        let number = || {
            cyclometer_system::sys::random_number()
                .map_err(|error| format!("no random numbers: {error}"))
        };
        let mut token = [0; TOKEN_SIZE];
        for part in token.chunks_exact_mut(size_of::<u64>()) {
            part.copy_from_slice(&number()?.to_ne_bytes());
        }
        Ok(Self(token))
    }

    /// Creates a token from given bytes.
    pub const fn from_bytes(token: [u8; TOKEN_SIZE]) -> Self {
        Self(token)
    }

    /// Formats the token as a variable of the starter's environment.
    pub(crate) fn to_env_variable(&self) -> String {
        self.0.iter().fold(format!("{TOKEN_VARIABLE}="), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Leftovers of a function that the next one in its container would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FunctionResidue(u64);

impl FunctionResidue {
    /// Descriptions bit by bit, in the order of the starter.
    const DESCRIPTIONS: [&str; 5] = [
        "processes that could not be killed",
        "files in /dev/shm",
        "message queues",
        "System V objects",
        "attributes of its output files",
    ];

    /// Returns whether nothing was left.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for FunctionResidue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = (0..).zip(Self::DESCRIPTIONS).filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let words: Vec<_> = known.map(|(_, word)| word).collect();
        f.write_str(if words.is_empty() { "something unknown" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

/// A moment on the two clocks of the container. A sandbox with its own kernel
/// (gVisor, a virtual machine) has its own monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContainerMoment {
    pub monotonic: Nanos,
    pub realtime: Nanos,
}

/// Report about the end of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StarterReport {
    pub failure: Option<StartFailure>,
    /// Wait status, as in `wait(2)`.
    pub status: i32,
    /// Moment just before its exec.
    pub began: ContainerMoment,
    pub ended: ContainerMoment,
    /// CPU time of the function alone, by its kernel's account.
    pub cpu: Nanos,
    /// Number of processes that it left running, killed since.
    pub stray: u64,
    /// Other leftovers in its container.
    pub residue: FunctionResidue,
    /// Number of bytes beside the report that its starter did not write.
    pub surplus: usize,
    /// Usage of the container's control group when the function began.
    pub startup: StartupUsage,
}

/// Usage of a container's control group by its own account, as read from inside, just
/// before the function's exec; `None`: it cannot be read there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StartupUsage {
    pub cpu: Option<Nanos>,
    pub memory: Option<u64>,
    pub memory_peak: Option<u64>,
}

/// Reason of an invocation whose exit code is that of the runtime: nothing in the container
/// was left to report.
pub(super) const SANDBOX_CRASHED: &str =
    "the sandbox crashed, not the function: the container's starter ended without a report";

/// Exit codes by which engines tell that a signal ended the first process: 128 plus its
/// number, real-time signals included.
const SIGNAL_CODES: std::ops::RangeInclusive<i64> = 129..=192;

/// A report, none, or why the output is not a report.
pub(super) type ParsedReport = Result<Option<StarterReport>, &'static str>;

/// Reason why a function did not run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartFailure {
    stage: u32,
    errno: i32,
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        match (self.stage, self.errno) {
            (2, _) => write!(
                f,
                "the container cannot open its standard files: {error}; does a security module \
                 keep containers from files of this host?"
            ),
            (3, _) => write!(f, "the function's limits cannot be set in the container: {error}"),
            (4, _) => write!(f, "the container allows no new process: {error}"),
            (5 | 8, libc::ENOENT) => f.write_str(
                "the program cannot be executed in this image: it, or the loader that it is \
                 linked for, is not there; link it with `-static`, or use a base image that has it",
            ),
            (5, libc::ENOEXEC) => f.write_str(
                "the program cannot be executed in this image: it is for another machine, or \
                 no program at all",
            ),
            (5 | 7 | 8, _) => write!(f, "the program cannot be executed in this image: {error}"),
            (6, _) => write!(
                f,
                "the function cannot be run as its user ({error}): does the engine's user \
                 namespace lack that user (65534, unless another was asked for), or its runtime \
                 the capabilities SETUID and SETGID?"
            ),
            _ => f.write_str("the container's starter was called in a wrong way"),
        }
    }
}

impl StartFailure {
    /// Explains why the command of a user's image did not run.
    pub(crate) fn explain_for(self, call: Option<&FunctionCall>) -> String {
        let Some((call, own)) = call.and_then(|call| Some((call, call.own.as_ref()?))) else {
            return self.to_string();
        };
        let program = call.command.first().map_or("", String::as_str);
        let (program, image) = (sanitize_engine_text(program), &own.reference);
        let user = &call.user;
        match (self.stage, self.errno) {
            (7, _) => format!(
                "`{program}` is not found in the PATH of image {image} ({})",
                sanitize_engine_text(&own.search_path)
            ),
            (8, _) => format!(
                "`{program}` of image {image} cannot be executed: the loader or the interpreter \
                 that it names is not in the image"
            ),
            (5, libc::ENOENT) => format!("image {image} has no `{program}`"),
            (5, libc::EACCES) => format!(
                "`{program}` of image {image} cannot be executed by user {user}: it is not \
                 executable, or a folder on its path is closed to that user"
            ),
            (5, libc::ENOEXEC) => format!(
                "`{program}` of image {image} cannot be executed: it is for another machine, or \
                 no program at all (a script without `#!`?)"
            ),
            (5, _) => format!(
                "`{program}` of image {image} cannot be executed: {}",
                io::Error::from_raw_os_error(self.errno)
            ),
            _ => self.to_string(),
        }
    }
}

impl StarterReport {
    /// Insists on a report unless a signal may have killed the starter: an engine may claim
    /// any exit code for a function that ended well, and the runtime's own code (gVisor's 128
    /// when its sandbox dies) says nothing about the function.
    pub(crate) fn require_unless_killed(report: ParsedReport, code: Option<i64>) -> ParsedReport {
        match (report, code) {
            (Ok(None), Some(0)) => Err("the container's starter ended without a report"),
            (Ok(None), Some(code)) if !SIGNAL_CODES.contains(&code) => Err(SANDBOX_CRASHED),
            (report, _) => report,
        }
    }

    /// Parses the report in the output of the starter's stream; `None` if there is no
    /// output, since the starter was killed before. Bytes that are not a report of
    /// this invocation are discarded and counted.
    ///
    /// # Errors
    /// When there is output, and not exactly one report of this invocation in it.
    pub fn parse(bytes: &[u8], token: &StarterToken) -> Result<Option<Self>, &'static str> {
        const TAMPERED: &str = "what the container's starter reported was tampered with";
        if bytes.is_empty() {
            return Ok(None);
        }
        let is_ours = |record: &&[u8]| {
            let fields = ReportFields(record);
            fields.u32_at(0) == MAGIC && fields.bytes_at(TOKEN_AT) == token.0
        };
        let mut found = bytes.windows(REPORT_SIZE).filter(is_ours);
        let (Some(record), None) = (found.next(), found.next()) else { return Err(TAMPERED) };
        Ok(Some(Self {
            surplus: bytes.len() - REPORT_SIZE,
            ..Self::from_fields(ReportFields(record))
        }))
    }

    fn from_fields(fields: ReportFields<'_>) -> Self {
        let (stage, errno) = (fields.u32_at(4), fields.u32_at(8).cast_signed());
        let moment = |at| ContainerMoment {
            monotonic: fields.nanos_at(at),
            realtime: fields.nanos_at(at + 8),
        };
        let micros = fields.u64_at(64).saturating_add(fields.u64_at(72));
        Self {
            failure: (stage != 0).then_some(StartFailure { stage, errno }),
            status: fields.u32_at(12).cast_signed(),
            began: moment(32),
            ended: moment(48),
            cpu: Nanos(micros.saturating_mul(1_000)),
            stray: fields.u64_at(80),
            residue: FunctionResidue(fields.u64_at(88)),
            surplus: 0,
            startup: StartupUsage {
                cpu: fields.known_u64_at(96).map(Nanos),
                memory: fields.known_u64_at(104),
                memory_peak: fields.known_u64_at(112),
            },
        }
    }

    /// Returns the signal that ended the function, or 0.
    pub const fn signal(&self) -> i32 {
        self.status & 0x7f
    }

    /// Creates a report with this wait status and number of stray processes.
    #[cfg(test)]
    pub(crate) const fn for_test(status: i32, stray: u64) -> Self {
        let moment = ContainerMoment { monotonic: Nanos(1), realtime: Nanos(1) };
        let before = StartupUsage { cpu: None, memory: None, memory_peak: None };
        Self {
            failure: None,
            status,
            began: moment,
            ended: moment,
            cpu: Nanos(0),
            stray,
            residue: FunctionResidue(0),
            surplus: 0,
            startup: before,
        }
    }

    /// Returns how long the function ran, on its own clock.
    pub(crate) fn run_time(&self) -> Nanos {
        self.ended.monotonic.saturating_since(self.began.monotonic)
    }
}

/// Fields of a report by byte offset; both sides are compiled together.
#[derive(Clone, Copy)]
struct ReportFields<'a>(&'a [u8]);

impl ReportFields<'_> {
    fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        if let Some(bytes) = self.0.get(at..at + N) {
            array.copy_from_slice(bytes);
        }
        array
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes_at(at))
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.bytes_at(at))
    }

    /// Returns a value, if the starter could read it.
    fn known_u64_at(&self, at: usize) -> Option<u64> {
        Some(self.u64_at(at)).filter(|value| *value != u64::MAX)
    }

    fn nanos_at(&self, at: usize) -> Nanos {
        Nanos(self.u64_at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: StarterToken = StarterToken::from_bytes([7; TOKEN_SIZE]);

    /// Builds a report with the numbers 1 to 10 in its long fields, and no value in the last.
    fn bytes_of(token: &StarterToken, stage: u32, errno: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend(stage.to_ne_bytes());
        bytes.extend(errno.to_ne_bytes());
        bytes.extend(0x0300_i32.to_ne_bytes());
        bytes.extend(token.0);
        for field in (1..=10).chain([u64::MAX]) {
            bytes.extend(field.to_ne_bytes());
        }
        bytes
    }

    fn bytes(stage: u32, errno: i32) -> Vec<u8> {
        bytes_of(&TOKEN, stage, errno)
    }

    #[test]
    fn fields_are_where_the_starter_puts_them() {
        let report = StarterReport::parse(&bytes(0, 0), &TOKEN).expect("sound").expect("a report");
        assert_eq!((report.failure, report.status), (None, 0x300));
        assert_eq!(report.began, ContainerMoment { monotonic: Nanos(1), realtime: Nanos(2) });
        assert_eq!(report.ended, ContainerMoment { monotonic: Nanos(3), realtime: Nanos(4) });
        assert_eq!((report.cpu, report.stray, report.run_time()), (Nanos(11_000), 7, Nanos(2)));
        let before = StartupUsage { cpu: Some(Nanos(9)), memory: Some(10), memory_peak: None };
        assert_eq!((report.startup, report.surplus), (before, 0));
        // 8 is 1 << 3.
        assert_eq!(report.residue.to_string(), "System V objects");
        assert_eq!(FunctionResidue(0b110).to_string(), "files in /dev/shm, message queues");
        assert_eq!(FunctionResidue(1 << 40).to_string(), "something unknown");
    }

    #[test]
    fn a_report_of_another_invocation_is_never_taken_for_this_one() {
        let other = StarterToken::from_bytes([8; TOKEN_SIZE]);
        assert!(StarterReport::parse(&bytes_of(&other, 0, 0), &TOKEN).is_err());
        let forged = bytes_of(&other, 5, libc::ENOENT);
        for around in [[&forged[..], &bytes(0, 0)].concat(), [&bytes(0, 0), &forged[..]].concat()] {
            let report = StarterReport::parse(&around, &TOKEN).expect("sound").expect("a report");
            assert_eq!(
                (report.failure, report.surplus),
                (None, REPORT_SIZE),
                "discarded and counted"
            );
        }
        let odd = [b"xyz", &bytes(0, 0)[..]].concat();
        let report = StarterReport::parse(&odd, &TOKEN).expect("sound").expect("a report");
        assert_eq!((report.status, report.surplus), (0x300, 3));
    }

    #[test]
    fn nothing_is_no_report_and_two_or_a_part_are_refused() {
        assert_eq!(StarterReport::parse(b"", &TOKEN), Ok(None));
        let twice = [bytes(0, 0), bytes(0, 0)].concat();
        for bad in [&twice[..], &twice[1..REPORT_SIZE], &twice[..REPORT_SIZE - 1], b"x"] {
            assert!(StarterReport::parse(bad, &TOKEN).is_err(), "{} bytes", bad.len());
        }
    }

    #[test]
    fn a_code_of_the_runtime_is_none_of_the_function() {
        let require = |code| StarterReport::require_unless_killed(Ok(None), code);
        for code in [1, 126, 127, 128, 193, 255, -1, i64::MIN, i64::MAX] {
            assert_eq!(require(Some(code)), Err(SANDBOX_CRASHED), "{code}");
        }
        // The starter was killed: by SIGHUP, SIGKILL, SIGRTMIN, SIGRTMAX.
        for code in [129, 137, 162, 192] {
            assert_eq!(require(Some(code)), Ok(None), "{code}");
        }
        assert!(require(Some(0)).is_err_and(|reason| reason != SANDBOX_CRASHED));
        assert_eq!(require(None), Ok(None));
        let report = StarterReport::parse(&bytes(0, 0), &TOKEN);
        assert_eq!(StarterReport::require_unless_killed(report.clone(), Some(128)), report);
    }

    #[test]
    fn tokens_are_not_the_same_twice_and_read_as_the_starter_does() {
        let (one, other) =
            (StarterToken::random().expect("random"), StarterToken::random().expect("random"));
        assert_ne!(one, other);
        let text = StarterToken::from_bytes([0x0a; TOKEN_SIZE]).to_env_variable();
        assert_eq!(text, format!("CYCLOMETER_TOKEN={}", "0a".repeat(TOKEN_SIZE)));
    }

    #[test]
    fn failures_say_what_to_do() {
        let failure = |stage, errno| {
            let report = StarterReport::parse(&bytes(stage, errno), &TOKEN)
                .expect("sound")
                .expect("a report");
            report.failure.expect("a failure").to_string()
        };
        assert!(failure(5, libc::ENOENT).contains("-static"));
        assert!(failure(5, libc::EACCES).contains("Permission denied"));
        assert!(failure(2, libc::EACCES).contains("security module"));
    }
}
