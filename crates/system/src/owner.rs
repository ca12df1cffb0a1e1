//! Names of everything that may outlive the process that made it: control groups,
//! containers, folders in memory and for temporary files, and incomplete cache files.
//!
//! A name is `cyclometer-OWNER-TAG`, in which `OWNER` is a [`ProcessIdentity`]: process id,
//! start time and boot, so that a process that got the same number later neither keeps nor
//! loses anything. A container has its owner in a label, too. The name tells whether the
//! owner still runs; the lanes decide what to do with leftovers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use procfs::process::Process;

use crate::procfs::ProcessIdentity;

/// First word of every name.
const WORD: &str = "cyclometer";

/// Returns the name of something that `owner` makes; `tag` distinguishes it from others.
#[must_use]
pub fn name_for(owner: &ProcessIdentity, tag: &str) -> String {
    format!("{WORD}-{owner}-{tag}")
}

/// Returns a unique name for something that this process makes; `kind` is a word without
/// dashes.
///
/// # Errors
/// Returns an error when `/proc` cannot be read.
pub fn new_name(kind: &str) -> std::io::Result<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let owner = ProcessIdentity::current().map_err(std::io::Error::other)?;
    Ok(name_for(&owner, &format!("{kind}{}", NEXT.fetch_add(1, Ordering::Relaxed))))
}

/// Owner of something, parsed from its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Exactly that process.
    Process(ProcessIdentity),
    /// Only a process id, in names of earlier versions: another process may have it by now.
    Number(i32),
}

impl Owner {
    /// Finds the owner anywhere in a name: other programs add words before and after it,
    /// and systemd needs underscores instead of dashes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        let starts = name.match_indices(WORD).map(|(at, _)| at);
        starts
            .filter(|at| !name[..*at].ends_with(|c: char| c.is_ascii_alphanumeric()))
            .find_map(|at| Self::parse_after_word(name[at + WORD.len()..].strip_prefix('-')?))
    }

    /// Parses `[WORD-]PID-TICKS-BOOT-TAG`, or `WORD-PID[-N]` of earlier versions.
    fn parse_after_word(text: &str) -> Option<Self> {
        let mut parts = text.split(['-', '.', '/']).peekable();
        let is_word = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase());
        let has_word = parts.next_if(|part| !part.is_empty() && is_word(part)).is_some();
        let pid: i32 = parse_number(parts.next()?)?;
        let is_tagged = |rest: &[&str]| {
            rest.first().is_some_and(|ticks| parse_number::<u64>(ticks).is_some())
                && rest.get(1).is_some_and(|boot| {
                    !boot.is_empty() && boot.bytes().all(|byte| byte.is_ascii_alphanumeric())
                })
                && rest.len() > 2
        };
        let rest: Vec<&str> = parts.collect();
        if is_tagged(&rest) {
            let identity = format!("{pid}-{}-{}", rest[0], rest[1]);
            return identity.parse().ok().map(Self::Process);
        }
        let is_old = has_word && rest.iter().all(|part| parse_number::<u64>(part).is_some());
        is_old.then_some(Self::Number(pid))
    }

    /// Returns the reason why the thing with this name must stay, if it is in use;
    /// `changed` is the time of its last change.
    #[must_use]
    pub fn in_use_reason(&self, changed: Option<SystemTime>) -> Option<String> {
        match self {
            Self::Process(owner) if owner.is_alive() => {
                Some(format!("process {} uses it", owner.pid()))
            }
            Self::Process(owner) if owner.is_out_of_sight() => Some(format!(
                "made in another PID namespace (process {} there), where alone it can be told \
                 whether it is in use",
                owner.pid()
            )),
            Self::Process(_) => None,
            // A process that began after the last change only reuses the number of the owner.
            Self::Number(pid) => {
                let began = process_start_time(*pid)?;
                let is_later =
                    changed.is_some_and(|changed| began > changed + Duration::from_secs(2));
                (!is_later).then(|| format!("process {pid} uses it"))
            }
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(owner) => owner.fmt(f),
            Self::Number(pid) => pid.fmt(f),
        }
    }
}

/// Parses a number that consists of digits only.
fn parse_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Returns the start time of a running process.
fn process_start_time(pid: i32) -> Option<SystemTime> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    let boot = procfs::boot_time_secs().ok()?;
    let since_boot = stat.starttime / procfs::ticks_per_second();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot + since_boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Option<String> {
        Owner::from_name(name).map(|owner| owner.to_string())
    }

    #[test]
    fn the_owner_is_found_wherever_in_a_name_other_programs_put_it() {
        let owner: ProcessIdentity = "12-345-ab12cd34".parse().expect("an identity");
        let name = name_for(&owner, "c7");
        assert_eq!(name, "cyclometer-12-345-ab12cd34-c7");
        let slice = format!("{}.slice", name.replace('-', "_"));
        for name in [
            name.clone(),
            slice,
            format!("libpod-{name}"),
            format!("runc-{name}.scope"),
            format!("partial-{name}-nop.wasm"),
            // From earlier versions.
            "cyclometer-copy-12-345-ab12cd34-0".to_owned(),
        ] {
            assert_eq!(found(&name).as_deref(), Some("12-345-ab12cd34"), "{name}");
        }
        // From another PID namespace.
        assert_eq!(
            found("cyclometer-12-345-ab12cd34nf0000123-c7").as_deref(),
            Some("12-345-ab12cd34nf0000123")
        );
    }

    #[test]
    fn names_of_earlier_versions_have_a_number_only() {
        for name in ["cyclometer-lane-4711-0", "cyclometer-build-4711"] {
            assert_eq!(Owner::from_name(name), Some(Owner::Number(4711)), "{name}");
        }
    }

    #[test]
    fn other_names_have_no_owner() {
        for name in [
            "",
            "cyclometer",
            "cyclometer-",
            "cyclometer-own",
            "cyclometer-own-group",
            "cyclometer-bench-1x",
            "cyclometer-1-2",
            "cyclometer-1-2-3",
            "cyclometer-1000",
            "cyclometer--1-2-ab-c",
            "cyclometer-lane-nobody",
            "cyclometer-99999999999-2-ab-c",
            "mycyclometer-12-345-ab12cd34-c7",
            "cyclometer-12-345-../../etc-c7",
        ] {
            assert_eq!(Owner::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_recycled_process_id_neither_keeps_nor_loses_anything() {
        let me = ProcessIdentity::current().expect("/proc is mounted");
        let owner =
            |text: &str| Owner::from_name(&format!("cyclometer-{text}-x0")).expect("tagged");
        assert!(owner(&me.to_string()).in_use_reason(None).is_some());
        // With the same number but another start time it is another process.
        let mut parts = me.to_string().split('-').map(str::to_owned).collect::<Vec<_>>();
        parts[1] = (parts[1].parse::<u64>().expect("ticks") + 1).to_string();
        assert_eq!(owner(&parts.join("-")).in_use_reason(None), None);
        // A number alone: the first process of this machine began long before.
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert!(Owner::Number(1).in_use_reason(Some(SystemTime::now())).is_some());
        assert_eq!(Owner::Number(1).in_use_reason(Some(long_ago)), None);
        // Process ids are at most 4194304: nobody has this one.
        assert_eq!(Owner::Number(4_194_999).in_use_reason(None), None);
    }

    #[test]
    fn names_of_one_process_differ() {
        let [first, second] = [new_name("lane"), new_name("lane")].map(|it| it.expect("/proc"));
        assert_ne!(first, second);
        assert!(Owner::from_name(&first).is_some_and(|owner| owner.in_use_reason(None).is_some()));
    }
}
