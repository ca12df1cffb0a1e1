//! Requests to the worker of the host screen, and their responses.

use std::sync::Arc;

use crate::query_worker::{QueryContext, QueryRequest};
use crate::screens::history::sampler_text;
use cyclometer_core::units::Bytes;
use cyclometer_doctor::{AvailableLane, HostCheckState, HostFinding, LaneAvailability};
use cyclometer_lanes::docker::{EngineImage, list_engine_images};
use cyclometer_lanes::{LaneDescription, LaneSpec, open_lane};
use cyclometer_meter::host::Fingerprint;
use cyclometer_meter::perf::read_paranoid_level;
use cyclometer_store::StoreError;
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_workload::Workload;

/// Checks that are made together, the quick ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CheckGroup {
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
pub enum HostRequest {
    /// Makes the checks of a group.
    Look(CheckGroup),
    /// Opens a lane and closes it again.
    Lane(LaneSpec),
    /// Opens a lane, and asks it whether it can run some workloads.
    Support(SupportQuestion),
    /// Lists the images that the engine has.
    Images,
}

/// Question to a lane: which of some workloads it can run.
#[derive(Debug, Clone)]
pub struct SupportQuestion {
    /// Lane that is opened.
    pub spec: LaneSpec,
    /// Workloads that it is asked about.
    pub workloads: Vec<Arc<Workload>>,
}

impl PartialEq for SupportQuestion {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other)| Arc::ptr_eq(one, other);
        self.spec == other.spec
            && self.workloads.len() == other.workloads.len()
            && self.workloads.iter().zip(&other.workloads).all(same)
    }
}

impl Eq for SupportQuestion {}

impl QueryRequest for HostRequest {
    fn supersedes(&self, older: &Self) -> bool {
        self == older
    }
}

/// Response of the worker of the host screen.
#[derive(Debug)]
pub enum HostResponse {
    /// Findings of a group.
    Found {
        /// Group that was checked.
        part: CheckGroup,
        /// Findings in it.
        findings: Vec<HostFinding>,
        /// Lanes of OCI runtimes, if the engine was checked.
        runtimes: Vec<LaneSpec>,
    },
    /// Finding on a lane.
    Lane {
        /// Lane that was opened.
        spec: LaneSpec,
        /// Description of the lane, or the reason why it cannot run.
        finding: LaneAvailability,
    },
    /// Answer of a lane.
    Support {
        /// Question that was answered.
        question: SupportQuestion,
        /// Description of the lane, or the reason why it cannot run.
        finding: LaneAvailability,
        /// Reasons why it cannot run a workload, in the order of the workloads.
        refusals: Vec<Option<String>>,
    },
    /// Images of the engine, or the reason why there are none.
    Images(Result<Vec<EngineImage>, String>),
}

/// Computes a response, on the worker's thread.
pub fn answer(context: &mut QueryContext, ask: HostRequest) -> HostResponse {
    let part = match ask {
        HostRequest::Look(part) => part,
        HostRequest::Lane(spec) => {
            let finding = match ProcessIdentity::current() {
                Ok(owner) => cyclometer_doctor::try_lane(&spec, &owner),
                Err(error) => {
                    LaneAvailability { name: spec.to_string(), about: Err(error.to_string()) }
                }
            };
            return HostResponse::Lane { spec, finding };
        }
        HostRequest::Support(question) => return ask_lane(question),
        HostRequest::Images => {
            return HostResponse::Images(list_engine_images().map_err(|error| error.to_string()));
        }
    };
    let mut runtimes = Vec::new();
    let findings = match part {
        CheckGroup::Machine => {
            let print = Fingerprint::for_this_host();
            let mut findings = cyclometer_doctor::check_machine(&print);
            findings.extend(cyclometer_doctor::check_environment());
            findings.extend(cyclometer_doctor::check_control_groups(&print));
            findings
        }
        CheckGroup::Meters => cyclometer_doctor::check_perf(read_paranoid_level()),
        CheckGroup::Cost => vec![cyclometer_doctor::check_counter_cost()],
        CheckGroup::Containers => {
            let (findings, lanes) = cyclometer_doctor::check_containers();
            runtimes = lanes;
            findings
        }
        CheckGroup::Storage => check_storage(context),
        CheckGroup::Sampler => vec![check_newest_sampler(context)],
    };
    HostResponse::Found { part, findings, runtimes }
}

/// Opens a lane and asks it which of the workloads it can run.
fn ask_lane(question: SupportQuestion) -> HostResponse {
    let mut refusals = Vec::new();
    let about = ProcessIdentity::current()
        .map_err(|error| error.to_string())
        .and_then(|owner| open_lane(&question.spec, &owner).map_err(|error| error.to_string()))
        .map(|mut lane| {
            let refusal = |it: &Arc<Workload>| lane.check_support(it).err();
            let asked = question.workloads.iter().map(refusal);
            refusals = asked.map(|error| error.map(|error| error.to_string())).collect();
            let LaneDescription { version, note } = lane.describe();
            let starts = lane.start_kinds().to_vec();
            lane.close();
            AvailableLane { version, starts, note }
        });
    let finding = LaneAvailability { name: question.spec.to_string(), about };
    HostResponse::Support { question, finding, refusals }
}

fn build_finding(check: &str, state: HostCheckState, found: String) -> HostFinding {
    HostFinding { check: check.to_owned(), state, found, fix: String::new() }
}

fn check_storage(context: &mut QueryContext) -> Vec<HostFinding> {
    let path = context.settings.database.clone();
    let mut findings = cyclometer_doctor::check_storage(Ok(&path));
    // A problem with the file has been reported above already.
    if findings[0].state == HostCheckState::Ok && path.exists() {
        let free = match context
            .read_store()
            .and_then(|store| Ok((store.free_bytes()?, store.count_items()?)))
        {
            Ok((free, (recordings, simulations))) => build_finding(
                "in the database",
                HostCheckState::Ok,
                format!(
                    "{recordings} recordings, {simulations} simulations, {} free for more",
                    Bytes(free)
                ),
            ),
            Err(error) => {
                context.forget_connection();
                build_finding("in the database", HostCheckState::Unusable, error.to_string())
            }
        };
        findings.insert(1, free);
    }
    findings
}

/// Describes the cost of sampling in the newest recording of the database.
fn check_newest_sampler(context: &mut QueryContext) -> HostFinding {
    let check = "sampler";
    if !context.settings.database.exists() {
        return build_finding(
            check,
            HostCheckState::Absent,
            "nothing has been recorded yet".to_owned(),
        );
    }
    let read = context.read_store().and_then(|store| {
        // Traces have no sampler.
        let newest = store.newest_measured_recording()?;
        newest.map(|recording| store.recording_details(recording)).transpose()
    });
    match read {
        Ok(Some(about)) => {
            let state = if about.samples_dropped > 0 {
                HostCheckState::Warning
            } else {
                HostCheckState::Ok
            };
            let text = format!("recording {}: {}", about.id, sampler_text(&about));
            build_finding(check, state, text)
        }
        Ok(None) => {
            build_finding(check, HostCheckState::Absent, "nothing has been recorded yet".to_owned())
        }
        Err(error) => {
            context.forget_connection();
            unknown_finding(check, &error)
        }
    }
}

fn unknown_finding(check: &str, error: &StoreError) -> HostFinding {
    build_finding(check, HostCheckState::Missing, error.to_string())
}
