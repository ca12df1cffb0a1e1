//! Settings that runtimes of modules give a function, and those that they refuse.

use crate::Job;
use cyclometer_workload::wasm_form::{WasmKind, inspect_wasm};

/// Checks that a runtime that takes modules can run `job`: a command of WASI 0.1 with its arguments
/// and input, and nothing of the machine.
///
/// # Errors
/// Returns the reason, which names the lane that can.
pub(super) fn check_module_job(title: &str, job: &Job) -> Result<(), String> {
    let name = &job.workload.name;
    let Some(module) = job.workload.wasm.as_deref() else {
        return Ok(());
    };
    let form = inspect_wasm(module, name).map_err(|error| error.to_string())?;
    let preset = &job.preset;
    let refused = if form.kind.is_component() {
        "runs modules here, and this is a component"
    } else if preset.invoke.is_some() {
        "runs commands here, and calls no exports"
    } else if form.kind != WasmKind::Command {
        "runs commands, and this module exports no `_start`"
    } else if !preset.env.is_empty() {
        "is given no environment here"
    } else if !preset.dirs.is_empty() {
        "is given no folders here"
    } else {
        return check_rest(title, job);
    };
    Err(format!("{title} {refused}: the lane wasmtime does that"))
}

/// Checks what no lane gives modules.
fn check_rest(title: &str, job: &Job) -> Result<(), String> {
    if job.rules.network {
        return Err(format!(
            "{title} runs modules of WASI 0.1, which have no sockets: leave --network out, or build \
             a component for the lane wasmtime"
        ));
    }
    match job.preset.workdir.as_deref().filter(|path| *path != "/") {
        Some(path) => Err(format!("{title} starts modules in `/`: the folder {path} is not there")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use cyclometer_core::invocation::StartKind;
    use cyclometer_workload::{EnvironmentVariable, Preset, Workload};

    fn check(text: &str, change: impl FnOnce(&mut Job, &mut Preset)) -> Result<(), String> {
        let mut workload = Workload::without_forms("fn");
        workload.wasm = Some(wat::parse_str(text).expect("valid text").into());
        let mut preset = Preset::with_defaults("quick");
        let spare = Arc::new(preset.clone());
        let mut job = Job::new(0, Arc::new(workload), spare, StartKind::Cold);
        change(&mut job, &mut preset);
        job.preset = Arc::new(preset);
        check_module_job("Wasmi", &job)
    }

    #[test]
    fn what_a_runtime_does_not_give_is_refused_and_nothing_is_ignored() {
        const COMMAND: &str = r#"(module (func (export "_start")))"#;
        assert_eq!(check(COMMAND, |_, _| ()), Ok(()));
        assert_eq!(check(COMMAND, |_, preset| preset.workdir = Some("/".to_owned())), Ok(()));
        let told = |result: Result<(), String>, word: &str| {
            let reason = result.expect_err("refused");
            assert!(reason.contains(word) && reason.starts_with("Wasmi "), "{reason}");
        };
        told(check("(component)", |_, _| ()), "a component");
        told(check("(module)", |_, _| ()), "no `_start`");
        told(check(COMMAND, |_, preset| preset.invoke = Some("f".to_owned())), "no exports");
        told(check(COMMAND, |job, _| job.rules.network = true), "no sockets");
        told(check(COMMAND, |_, preset| preset.workdir = Some("/x".to_owned())), "/x");
        let variable = EnvironmentVariable { name: "A".to_owned(), value: "1".to_owned() };
        told(check(COMMAND, |_, preset| preset.env.push(variable)), "no environment");
    }
}
