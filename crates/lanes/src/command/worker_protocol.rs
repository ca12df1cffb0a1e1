//! Responses of a warm worker over descriptor 3, one line each: see `docs/runtimes.md`. Workers are
//! not trusted: a line is either parsed exactly or refused with the reason.

use thiserror::Error;

use crate::program_run::one_line;
use cyclometer_core::units::Nanos;

/// Longest line that a worker may send, in bytes.
pub(crate) const MAX_LINE: usize = 8 << 10;

/// Longest part of a line that a message quotes, in characters.
const MAX_QUOTED_CHARS: usize = 200;

/// A line that a worker sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkerResponse {
    /// The worker has loaded its module.
    Ready,
    /// An invocation has ended.
    Done(RuntimeWorkerReport),
    /// The worker has tidied up.
    TidiedUp,
}

/// A worker's report of one invocation. Times are of the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuntimeWorkerReport {
    /// Time at which the worker took the request.
    pub begun: Nanos,
    /// Time at which the instance was ready.
    pub started: Nanos,
    /// Time at which the function had ended.
    pub ended: Nanos,
    /// Exit code of the function, or the reason of its trap.
    pub end: Result<i32, String>,
}

/// Reason why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ResponseError {
    /// The line does not end.
    #[error("it said a line of more than {MAX_LINE} bytes")]
    TooLong,
    /// The line is no known response.
    #[error("it said `{0}`, which is no answer")]
    Unknown(String),
    /// The line is a response, but not to this request.
    #[error("it said `{0}` when something else was asked")]
    Unexpected(&'static str),
    /// A time is not a number.
    #[error("it reported the moment `{0}`, which is not a number of nanoseconds")]
    InvalidTime(String),
    /// The exit code is not a number, or does not fit into 32 bits.
    #[error("it reported the exit code `{0}`, which does not fit 32 bits")]
    InvalidExitCode(String),
    /// The times are not in order.
    #[error("it reported moments that are not in order: {0}, {1}, {2}")]
    OutOfOrder(u64, u64, u64),
    /// A time is not between request and response.
    #[error(
        "it reported a moment outside of its request: {moment}, and the request went from {requested} \
         to {received}"
    )]
    OutsideRequest {
        /// Time that the worker reported.
        moment: u64,
        /// Time of the request.
        requested: u64,
        /// Time at which the response had arrived.
        received: u64,
    },
}

/// Parses a line, without the line break at its end.
///
/// # Errors
/// The reason of the refusal, in words that can be shown.
pub(crate) fn parse_response(line: &[u8]) -> Result<WorkerResponse, ResponseError> {
    if line.len() > MAX_LINE {
        return Err(ResponseError::TooLong);
    }
    let unknown = || ResponseError::Unknown(quote_line(&String::from_utf8_lossy(line)));
    let text = std::str::from_utf8(line).map_err(|_| unknown())?;
    match text {
        "ready" => return Ok(WorkerResponse::Ready),
        "rested" => return Ok(WorkerResponse::TidiedUp),
        _ => {}
    }
    let mut words = text.splitn(6, ' ');
    if words.next() != Some("done") {
        return Err(unknown());
    }
    let mut moment = || {
        let word = words.next().ok_or_else(unknown)?;
        parse_digits(word).map(Nanos).ok_or_else(|| ResponseError::InvalidTime(quote_line(word)))
    };
    let (begun, started, ended) = (moment()?, moment()?, moment()?);
    let end = match (words.next(), words.next()) {
        (Some("exit"), Some(code)) => Ok(parse_exit_code(code)?),
        (Some("trap"), Some(why)) => Err(one_line(why)),
        (Some("trap"), None) => Err("without a word".to_owned()),
        _ => return Err(unknown()),
    };
    if begun > started || started > ended {
        return Err(ResponseError::OutOfOrder(begun.0, started.0, ended.0));
    }
    Ok(WorkerResponse::Done(RuntimeWorkerReport { begun, started, ended, end }))
}

impl WorkerResponse {
    /// Returns the error for this response where another one was due.
    #[must_use]
    pub(crate) const fn to_unexpected_error(&self) -> ResponseError {
        ResponseError::Unexpected(match self {
            Self::Ready => "ready",
            Self::Done(_) => "done",
            Self::TidiedUp => "rested",
        })
    }
}

impl RuntimeWorkerReport {
    /// Checks that everything happened between request and response, as seen from the lane.
    ///
    /// # Errors
    /// [`ResponseError::OutsideRequest`]
    pub(crate) const fn check_within_request(
        &self,
        requested: Nanos,
        received: Nanos,
    ) -> Result<(), ResponseError> {
        // The times are in order, so that the first and the last decide.
        let moment = if self.begun.0 < requested.0 {
            self.begun.0
        } else if self.ended.0 > received.0 {
            self.ended.0
        } else {
            return Ok(());
        };
        Err(ResponseError::OutsideRequest { moment, requested: requested.0, received: received.0 })
    }
}

/// Parses digits only: no sign, no spaces.
fn parse_digits(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// Parses an exit code, whose 32 bits some runtimes write with a sign and others without.
fn parse_exit_code(word: &str) -> Result<i32, ResponseError> {
    let refused = || ResponseError::InvalidExitCode(quote_line(word));
    let value = match word.strip_prefix('-') {
        Some(rest) => {
            -i64::try_from(parse_digits(rest).ok_or_else(refused)?).map_err(|_| refused())?
        }
        None => i64::try_from(parse_digits(word).ok_or_else(refused)?).map_err(|_| refused())?,
    };
    let signed = i32::try_from(value).ok();
    signed.or_else(|| u32::try_from(value).ok().map(u32::cast_signed)).ok_or_else(refused)
}

fn quote_line(text: &str) -> String {
    one_line(text).chars().take(MAX_QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(line: &str) -> RuntimeWorkerReport {
        match parse_response(line.as_bytes()) {
            Ok(WorkerResponse::Done(report)) => report,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn refusal(line: &[u8]) -> String {
        parse_response(line).expect_err("refused").to_string()
    }

    #[test]
    fn answers_are_read_as_the_documentation_says() {
        assert_eq!(parse_response(b"ready"), Ok(WorkerResponse::Ready));
        assert_eq!(parse_response(b"rested"), Ok(WorkerResponse::TidiedUp));
        let report = done("done 11 20 49 exit 7");
        assert_eq!((report.begun, report.started, report.ended), (Nanos(11), Nanos(20), Nanos(49)));
        assert_eq!(report.end, Ok(7));
        let trap = done("done 11 20 49 trap out of bounds\x1b[2J\u{9b}1m");
        assert_eq!(trap.end, Err("out of bounds\\x1b[2J\\u{9b}1m".to_owned()));
        assert_eq!(done("done 1 1 1 trap").end, Err("without a word".to_owned()));
    }

    #[test]
    fn exit_codes_of_32_bits_are_told_whole_and_others_refused() {
        for (word, code) in [
            ("0", 0),
            ("126", 126),
            ("256", 256),
            ("-4", -4),
            ("-2147483648", i32::MIN),
            // Exit codes of WASI have no sign.
            ("4294967295", -1),
        ] {
            assert_eq!(done(&format!("done 1 2 3 exit {word}")).end, Ok(code), "{word}");
        }
        for word in ["", "x", "99999999999", "-2147483649", "--1", "+1", "1 2", "4294967296", "-"] {
            let refused = refusal(format!("done 1 2 3 exit {word}").as_bytes());
            assert!(refused.ends_with("which does not fit 32 bits"), "{refused}");
        }
    }

    #[test]
    fn absurd_moments_are_refused_with_the_reason() {
        let huge = b"done 99999999999999999999999 1 1 exit 0";
        for line in
            [&huge[..], b"done -1 -2 -3 exit 0", b"done  1 2 3 exit 0", b"done 1 x 3 exit 0"]
        {
            assert!(refusal(line).contains("not a number of nanoseconds"), "{}", refusal(line));
        }
        assert_eq!(
            refusal(b"done 3 2 1 exit 0"),
            "it reported moments that are not in order: 3, 2, 1"
        );
        let (requested, received) = (Nanos(10), Nanos(50));
        assert_eq!(done("done 10 20 50 exit 0").check_within_request(requested, received), Ok(()));
        for (line, moment) in [("done 9 20 49 exit 0", 9), ("done 10 20 51 exit 0", 51)] {
            let refused = done(line).check_within_request(requested, received);
            assert_eq!(
                refused,
                Err(ResponseError::OutsideRequest { moment, requested: 10, received: 50 })
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_repeated_without_its_controls_and_not_for_ever() {
        for line in [
            &b""[..],
            b"done",
            b"done 11 20",
            b"done 11 20 49",
            b"done 11 20 49 fine",
            b"done 11 20 49 exit",
            b"Ready",
            b"ready ",
            b"done \xff\xfe",
            b"x\x1b[31m\x07\0y",
        ] {
            let text = refusal(line);
            assert!(text.ends_with(", which is no answer") || text.contains("moment"), "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
        assert!(refusal(&[b'x'; MAX_LINE]).len() < 300);
        assert_eq!(parse_response(&[b'x'; MAX_LINE + 1]), Err(ResponseError::TooLong));
    }
}
