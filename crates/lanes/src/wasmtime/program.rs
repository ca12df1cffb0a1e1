//! Facts about a WebAssembly program before it runs: what it is, what its engine must have,
//! and whether a lane can give it what its job asks for.

use serde::{Deserialize, Serialize};

use super::engine;
use super::proposals::Proposals;
use crate::Job;
use cyclometer_workload::wasm_call::{ExportCall, parse_call};
use cyclometer_workload::wasm_form::{WasmForm, WasmKind, inspect_wasm, visit_imports};
use cyclometer_workload::{Preset, Workload};

/// Features that a program needs of its engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineNeeds {
    /// Whether it is a component.
    pub component: bool,
    /// Proposals that it needs.
    pub proposals: Proposals,
}

/// Facts about a program that its workers and its cells depend on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProgramFacts {
    /// Features that it needs of its engine.
    pub needs: EngineNeeds,
    /// Whether instantiating it runs code of its own.
    pub has_start: bool,
    /// Limit of a pool that it exceeds, in words.
    pub pool_excess: Option<String>,
    /// Whether it has shared memories, whose growth nobody reports.
    pub shares_memory: bool,
}

impl ProgramFacts {
    /// Collects the facts about a binary program that needs these proposals.
    ///
    /// # Errors
    /// Returns the reason when its sections cannot be read.
    pub fn collect(binary: &[u8], name: &str, proposals: Proposals) -> Result<Self, String> {
        let form = inspect_wasm(binary, name).map_err(|error| error.reason)?;
        Ok(Self {
            needs: EngineNeeds { component: form.kind.is_component(), proposals },
            has_start: form.has_start,
            pool_excess: engine::exceeded_pool_limit(&form, proposals),
            shares_memory: form.shared_memory.is_some(),
        })
    }
}

/// Checks that the program of a workload has a form that can be run; a library only if a function
/// of it is `called`.
///
/// # Errors
/// Returns the reason with what to do.
fn check_form(workload: &Workload, form: &WasmForm, called: bool) -> Result<(), String> {
    let name = &workload.name;
    let exports = || {
        let shown: Vec<&str> = form.exports.iter().take(8).map(String::as_str).collect();
        let more = if form.exports.len() > shown.len() { ", ..." } else { "" };
        if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") + more }
    };
    match form.kind {
        WasmKind::HttpComponent => Err(format!(
            "{name} handles HTTP requests (wasi:http), which comes later: components that export \
             wasi:cli/run are run"
        )),
        WasmKind::OtherComponent => Err(format!(
            "{name} is a component without wasi:cli/run of WASI 0.2, so there is nothing to run; \
             it exports {}",
            exports()
        )),
        WasmKind::Reactor | WasmKind::Library if !called => Err(format!(
            "{name} exports no function `_start`: it is no command but a {}; name the function to \
             call with --invoke (`invoke` in a manifest); it exports {}",
            if form.kind == WasmKind::Reactor { "reactor" } else { "library" },
            exports()
        )),
        _ => Ok(()),
    }
}

/// Most foreign imports that are named.
const MAX_FOREIGN: usize = 3;

/// Checks that a program imports nothing but what WASI has here.
///
/// # Errors
/// Returns the reason, which names what it imports.
fn check_imports(binary: &[u8], workload: &Workload) -> Result<(), String> {
    let (mut foreign, mut count) = (Vec::new(), 0_usize);
    let mut visit = |module: &str, name: &str| {
        if !is_known_import(module, name) {
            count += 1;
            if foreign.len() < MAX_FOREIGN {
                let joined =
                    if name.is_empty() { module.to_owned() } else { format!("{module}.{name}") };
                foreign.push(cyclometer_core::visible_text::summarize_text(&joined, 80));
            }
        }
    };
    visit_imports(binary, &workload.name, &mut visit).map_err(|error| error.to_string())?;
    let Some(first) = foreign.first() else {
        return Ok(());
    };
    let name = &workload.name;
    let list = foreign.join(", ") + if count > foreign.len() { ", ..." } else { "" };
    Err(if first.starts_with("wasi.thread-spawn") || list.contains("wasi.thread-spawn") {
        format!("{name} starts threads (wasi.thread-spawn), which are not run: build it without")
    } else if first.starts_with("wasi_unstable") {
        format!("{name} was built for an older WASI (wasi_unstable): build it for wasm32-wasip1")
    } else if first.starts_with("wasi:") {
        format!("{name} imports {list}, which commands of WASI 0.2 do not have here")
    } else {
        format!("{name} was built for another host, which has {list}: build it for WASI")
    })
}

/// Interfaces that a command of WASI 0.2 may import.
const INTERFACES: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

fn is_known_import(module: &str, name: &str) -> bool {
    if name.is_empty() {
        INTERFACES.iter().any(|known| module.starts_with(known)) && module.contains("@0.2.")
    } else {
        module == "wasi_snapshot_preview1"
    }
}

/// Returns the function of `job` that is called; `None`: the command's own entry.
///
/// # Errors
/// Returns the reason why it cannot be called with these parameters.
pub(super) fn find_call(job: &Job) -> Result<Option<ExportCall>, String> {
    let Preset { invoke, args, .. } = &*job.preset;
    let Some((export, binary)) = invoke.as_deref().zip(job.workload.wasm.as_deref()) else {
        return Ok(None);
    };
    let call = parse_call(binary, &job.workload.name, export, args);
    call.map(Some).map_err(|error| error.to_string())
}

/// Checks that the program of `job` can be run, and be given all that the job asks for.
///
/// # Errors
/// Returns the reason with what to do.
pub(super) fn check_job(job: &Job) -> Result<(), String> {
    let workload = &*job.workload;
    let Some(binary) = workload.wasm.as_deref() else {
        return Err(format!("{} has no WebAssembly module", workload.name));
    };
    let form = inspect_wasm(binary, &workload.name).map_err(|error| error.to_string())?;
    check_form(workload, &form, job.preset.invoke.is_some())?;
    check_imports(binary, workload)?;
    find_call(job)?;
    check_shared_memory(job, &form)?;
    check_surroundings(job, &form)
}

/// Checks shared memories: no limiter is asked before they grow.
fn check_shared_memory(job: &Job, form: &WasmForm) -> Result<(), String> {
    let limit = job.limits.memory;
    match form.shared_memory {
        Some(most) if most > limit => Err(format!(
            "the shared memory of {} may grow to {most}, and wasmtime limits shared memories by \
             their own maximum only, which is above the memory limit of {limit}: raise the limit, \
             or lower the maximum",
            job.workload.name
        )),
        _ => Ok(()),
    }
}

/// Checks that it can have the folders and the network that it asks for.
fn check_surroundings(job: &Job, form: &WasmForm) -> Result<(), String> {
    let Preset { dirs, workdir, .. } = &*job.preset;
    let is_component = form.kind.is_component();
    if job.rules.network && !is_component {
        return Err(
            "modules of WASI 0.1 have no sockets, so --network gives them nothing: build a \
                    component (wasm32-wasip2), or leave it out"
                .to_owned(),
        );
    }
    let Some(workdir) = workdir.as_deref().filter(|path| *path != "/") else {
        return Ok(());
    };
    let is_inside = |guest: &str| {
        let rest = workdir.strip_prefix(guest.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !is_component {
        Err(format!(
            "modules of WASI 0.1 start in `/`: the folder {workdir} cannot be another; share it \
             with --dir, and name files by their whole path"
        ))
    } else if dirs.iter().any(|dir| is_inside(&dir.guest)) {
        Ok(())
    } else {
        Err(format!("there is no folder {workdir} in the sandbox: share one with --dir"))
    }
}

/// Returns a note on rules that mean nothing to WebAssembly, which other lanes may need.
pub(super) fn describe_idle_rules(job: &Job) -> Option<String> {
    let writable = job.rules.writable.then_some("a writable root");
    let user = job.rules.user.as_ref().map(|_| "a user");
    let idle: Vec<&str> = [writable, user].into_iter().flatten().collect();
    (!idle.is_empty()).then(|| format!("{} means nothing to WebAssembly", idle.join(" and ")))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use cyclometer_core::invocation::StartKind;
    use cyclometer_workload::SharedFolder;

    fn job(text: &str, change: impl FnOnce(&mut Preset)) -> Job {
        let mut workload = Workload::without_forms("fn");
        workload.wasm = Some(wat::parse_str(text).expect("valid text").into());
        let mut preset = Preset::with_defaults("quick");
        change(&mut preset);
        Job::new(0, Arc::new(workload), Arc::new(preset), StartKind::Cold)
    }

    const COMMAND: &str = r#"(module (func (export "_start")))"#;
    const COMPONENT: &str =
        r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;

    fn refusal(text: &str, change: impl FnOnce(&mut Preset)) -> String {
        check_job(&job(text, change)).expect_err("refused")
    }

    #[test]
    fn programs_that_cannot_run_are_refused_before_any_work() {
        assert_eq!(check_job(&job(COMMAND, |_| ())), Ok(()));
        assert_eq!(check_job(&job(COMPONENT, |_| ())), Ok(()));
        for (text, told) in [
            ("(component)", "without wasi:cli/run"),
            (
                r#"(component (instance $i)
                     (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
                "comes later",
            ),
            (r#"(module (func (export "add")))"#, "it exports add"),
            (r#"(module (func (export "_initialize")))"#, "a reactor"),
            (
                r#"(module (import "env" "foo" (func)) (func (export "_start")))"#,
                "built for another host, which has env.foo",
            ),
            (
                r#"(module (import "wasi_unstable" "fd_write" (func)) (func (export "_start")))"#,
                "an older WASI",
            ),
            (
                r#"(module (import "env" "memory" (memory 1 2 shared))
                     (import "wasi" "thread-spawn" (func)) (func (export "_start")))"#,
                "wasi.thread-spawn",
            ),
            (
                r#"(component (import "wasi:http/types@0.2.0" (instance)) (instance $i)
                     (export "wasi:cli/run@0.2.0" (instance $i)))"#,
                "imports wasi:http/types@0.2.0",
            ),
            (
                r#"(module (memory 1 65536 shared) (func (export "_start")))"#,
                "may grow to 4.00 GiB",
            ),
        ] {
            let error = refusal(text, |_| ());
            assert!(error.contains(told) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn calls_are_checked_against_the_signature() {
        let add = r#"(module (func (export "add") (param i32 i32) (result i32) i32.const 0))"#;
        let call = |args: &[&str]| {
            job(add, |preset| {
                preset.invoke = Some("add".to_owned());
                preset.args = args.iter().map(|arg| (*arg).to_owned()).collect();
            })
        };
        assert_eq!(check_job(&call(&["2", "3"])), Ok(()));
        assert!(
            check_job(&call(&["2"]))
                .expect_err("refused")
                .contains("takes 2 parameters (i32, i32), but one was given")
        );
    }

    #[test]
    fn folders_and_network_are_given_or_refused() {
        let with_folder = |preset: &mut Preset| {
            preset.workdir = Some("/data/in".to_owned());
            preset.dirs.push(SharedFolder {
                host: PathBuf::from("/tmp"),
                guest: "/data".to_owned(),
                is_read_only: true,
            });
        };
        assert_eq!(check_job(&job(COMPONENT, with_folder)), Ok(()));
        assert!(refusal(COMMAND, with_folder).contains("start in `/`"));
        let lonely = refusal(COMPONENT, |preset| preset.workdir = Some("/data".to_owned()));
        assert!(lonely.contains("no folder /data"), "{lonely}");
        assert_eq!(
            check_job(&job(COMMAND, |preset| preset.workdir = Some("/".to_owned()))),
            Ok(())
        );
        let mut networked = job(COMMAND, |_| ());
        networked.rules.network = true;
        assert!(check_job(&networked).expect_err("refused").contains("no sockets"));
    }
}
