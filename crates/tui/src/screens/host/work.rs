//! Requests to the worker of the host screen, and their responses.

use crate::desk::{Desk, Question};
use crate::screens::history::sampler;
use cyclometer_core::units::Bytes;
use cyclometer_doctor::{Finding, LaneFinding, State};
use cyclometer_lanes::LaneSpec;
use cyclometer_meter::host::Fingerprint;
use cyclometer_meter::perf::paranoid;
use cyclometer_store::{RecordingRef, StoreError};
use cyclometer_system::procfs::ProcessIdentity;

/// Checks that are made together, the quick ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// CPU, memory, kernel, clocks, rights.
    Machine,
    /// Database and other stored files.
    Storage,
    /// Counters of perf.
    Meters,
    /// Sampler of the newest recording.
    Sampler,
    /// Time of a counter read.
    Cost,
    /// Docker engine.
    Containers,
}

/// Request to the worker of the host screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Makes the checks of a group.
    Look(Part),
    /// Opens a lane and closes it again.
    Lane(LaneSpec),
}

impl Question for Ask {
    fn replaces(&self, older: &Self) -> bool {
        self == older
    }
}

/// Response of the worker of the host screen.
#[derive(Debug)]
pub enum Answer {
    /// Findings of a group.
    Found {
        /// Group that was checked.
        part: Part,
        /// Findings in it.
        findings: Vec<Finding>,
        /// Lanes of OCI runtimes, if the engine was checked.
        runtimes: Vec<LaneSpec>,
    },
    /// Finding on a lane.
    Lane {
        /// Lane that was opened.
        spec: LaneSpec,
        /// Description of the lane, or the reason why it cannot run.
        finding: LaneFinding,
    },
}

/// Computes a response, on the worker's thread.
pub fn answer(desk: &mut Desk, ask: Ask) -> Answer {
    let part = match ask {
        Ask::Look(part) => part,
        Ask::Lane(spec) => {
            let finding = match ProcessIdentity::current() {
                Ok(owner) => cyclometer_doctor::try_lane(&spec, &owner),
                Err(error) => LaneFinding { name: spec.to_string(), about: Err(error.to_string()) },
            };
            return Answer::Lane { spec, finding };
        }
    };
    let mut runtimes = Vec::new();
    let findings = match part {
        Part::Machine => {
            let print = Fingerprint::take();
            let mut findings = cyclometer_doctor::machine(&print);
            findings.extend(cyclometer_doctor::surroundings());
            findings.extend(cyclometer_doctor::control_groups(&print));
            findings
        }
        Part::Meters => cyclometer_doctor::perf(paranoid()),
        Part::Cost => vec![cyclometer_doctor::cost()],
        Part::Containers => {
            let (findings, lanes) = cyclometer_doctor::containers();
            runtimes = lanes;
            findings
        }
        Part::Storage => storage(desk),
        Part::Sampler => vec![newest_sampler(desk)],
    };
    Answer::Found { part, findings, runtimes }
}

fn finding(check: &str, state: State, found: String) -> Finding {
    Finding { check: check.to_owned(), state, found, fix: String::new() }
}

fn storage(desk: &mut Desk) -> Vec<Finding> {
    let path = desk.settings.database.clone();
    let mut findings = cyclometer_doctor::storage(Ok(&path));
    // A problem with the file has been reported above already.
    if findings[0].state == State::Ok && path.exists() {
        let free = match desk.store().and_then(|store| Ok((store.free_bytes()?, store.totals()?))) {
            Ok((free, (recordings, simulations))) => finding(
                "in the database",
                State::Ok,
                format!(
                    "{recordings} recordings, {simulations} simulations, {} free for more",
                    Bytes(free)
                ),
            ),
            Err(error) => {
                desk.reopen();
                finding("in the database", State::Unusable, error.to_string())
            }
        };
        findings.insert(1, free);
    }
    findings
}

/// Describes the cost of sampling in the newest recording of the database.
fn newest_sampler(desk: &mut Desk) -> Finding {
    let check = "sampler";
    if !desk.settings.database.exists() {
        return finding(check, State::Absent, "nothing has been recorded yet".to_owned());
    }
    let read = desk.store().and_then(|store| {
        let (recordings, _) = store.totals()?;
        if recordings == 0 {
            return Ok(None);
        }
        store.about(store.find(RecordingRef::Latest)?).map(Some)
    });
    match read {
        Ok(Some(about)) => {
            let state = if about.samples_dropped > 0 { State::Warning } else { State::Ok };
            let text = format!("recording {}: {}", about.id, sampler(&about));
            finding(check, state, text)
        }
        Ok(None) => finding(check, State::Absent, "nothing has been recorded yet".to_owned()),
        Err(error) => {
            desk.reopen();
            unknown(check, &error)
        }
    }
}

fn unknown(check: &str, error: &StoreError) -> Finding {
    finding(check, State::Missing, error.to_string())
}
