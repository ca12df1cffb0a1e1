//! Subjects of recordings: whether two recordings ran one and the same function.

use super::table::{Cell, Column, Table};
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_store::CellSubject;

/// Number of characters of a digest in text.
const DIGITS: usize = 12;

/// Lists the differences between the functions of two recordings, each once with the
/// lanes that it concerns.
#[must_use]
pub(crate) fn subject_differences(first: &[CellSubject], second: &[CellSubject]) -> Vec<String> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for one in first {
        let Some(two) = second.iter().find(|two| two.key == one.key) else { continue };
        for line in list_differences(one, two) {
            let lane = &*one.key.lane;
            match found.iter_mut().find(|(known, _)| *known == line) {
                Some((_, lanes)) if lanes.contains(&lane) => {}
                Some((_, lanes)) => lanes.push(lane),
                None => found.push((line, vec![lane])),
            }
        }
    }
    found.into_iter().map(|(line, lanes)| format!("{line} (in {})", lanes.join(", "))).collect()
}

fn list_differences(one: &CellSubject, two: &CellSubject) -> Vec<String> {
    const OTHER: &str = ": these are two different functions";
    let name = &one.key.workload;
    let mut lines = Vec::new();
    let mut differ = |what: &str, first: String, second: String, end: &str| {
        if first != second {
            lines.push(format!("{what} of {name} differ: {first} beside {second}{end}"));
        }
    };
    let words = |it: &CellSubject| match it.arguments.as_slice() {
        [] => "none".to_owned(),
        arguments => arguments.join(" "),
    };
    if one.arguments != two.arguments {
        differ("arguments", words(one), words(two), OTHER);
    }
    let input = |it: &CellSubject| match it.input.as_str() {
        "none" => "none".to_owned(),
        other => format!("{} ({other:.DIGITS$})", format_size(it.input_bytes)),
    };
    differ("inputs", input(one), input(two), OTHER);
    let digest = |text: &Option<String>| match text {
        Some(text) => format!("sha256 {text:.DIGITS$}"),
        None => "none".to_owned(),
    };
    let wasm = uses_module(one);
    if wasm != Some(false) {
        differ("WebAssembly modules", digest(&one.module), digest(&two.module), OTHER);
    }
    if wasm != Some(true) {
        differ("programs", digest(&one.program), digest(&two.program), OTHER);
    }
    differ("expected outputs", digest(&one.expected), digest(&two.expected), "");
    let settings = |it: &CellSubject| it.settings.clone().unwrap_or_else(|| "none".to_owned());
    differ("further settings", settings(one), settings(two), "");
    differ("memory limits", format_size(one.memory), format_size(two.memory), "");
    let time = |nanos: i64| Nanos(nanos.unsigned_abs()).to_string();
    differ("time limits", time(one.timeout), time(two.timeout), "");
    if one.program == two.program && one.module == two.module {
        // Layers of an image, or files made by a bundler.
        let shipped = |it: &CellSubject| match it.shipped.as_str() {
            "" => "not known".to_owned(),
            parts => parts.to_owned(),
        };
        differ("shipped parts", shipped(one), shipped(two), "");
    }
    lines
}

/// Returns whether the lane runs the module rather than the program; `None` if its name
/// does not tell.
fn uses_module(subject: &CellSubject) -> Option<bool> {
    let lane = &*subject.key.lane;
    let family = lane.split([':', '@']).next().unwrap_or(lane);
    match family {
        "wasmtime" => Some(true),
        "native" | "docker" => Some(false),
        _ => None,
    }
}

fn format_size(bytes: i64) -> String {
    Bytes(bytes.unsigned_abs()).to_string()
}

/// Builds the table of subjects, one row a workload and preset where all its cells ran
/// the same.
#[must_use]
pub fn subject_table(subjects: &[CellSubject]) -> Table {
    let mut table = Table::new(&[
        Column::text("workload", "workload"),
        Column::text("preset", "preset"),
        Column::text("arguments", "arguments"),
        Column::text("input", "input"),
        Column::text("module", "module_sha256"),
        Column::text("program", "program_sha256"),
        Column::number("memory", "memory_limit_bytes"),
        Column::number("time limit", "timeout_ns"),
        if subjects.iter().any(|it| it.settings.is_some()) {
            Column::text("settings", "settings")
        } else {
            Column::hidden("settings")
        },
    ]);
    let shown = |text: &Option<String>| {
        Cell::optional(text.as_ref().map(|text| (format!("{text:.DIGITS$}"), text.clone())))
    };
    let mut known: Vec<CellSubject> = Vec::new();
    for it in subjects {
        let CellKey { workload, preset, .. } = &it.key;
        // Whatever the lane and the start.
        let key = CellKey::new("", workload, preset, StartKind::Cold);
        let same = CellSubject { key, shipped: String::new(), ..it.clone() };
        if known.contains(&same) {
            continue;
        }
        let input = match it.input.as_str() {
            "none" => "none".to_owned(),
            other => format!("{}, {other:.DIGITS$}", format_size(it.input_bytes)),
        };
        table.push(vec![
            Cell::text(&**workload),
            Cell::text(&**preset),
            Cell::new(it.arguments.join(" "), it.arguments.clone()),
            Cell::new(input, it.input.clone()),
            shown(&it.module),
            shown(&it.program),
            Cell::new(format_size(it.memory), it.memory),
            Cell::new(Nanos(it.timeout.unsigned_abs()), it.timeout),
            Cell::optional_text(it.settings.clone()),
        ]);
        known.push(same);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(lane: &str) -> CellSubject {
        CellSubject {
            key: CellKey::new(lane, "nbody", "quick", StartKind::Cold),
            arguments: vec!["1000000".to_owned()],
            input: "none".to_owned(),
            input_bytes: 0,
            module: Some("a".repeat(64)),
            program: Some("b".repeat(64)),
            expected: None,
            memory: 128 << 20,
            timeout: 60_000_000_000,
            settings: None,
            shipped: String::new(),
        }
    }

    #[test]
    fn other_arguments_are_another_function_and_said_once_for_all_lanes() {
        let first = [subject("native"), subject("docker")];
        assert_eq!(subject_differences(&first, &first), Vec::<String>::new());
        let mut second = first.clone();
        for it in &mut second {
            it.arguments = vec!["2000000".to_owned()];
        }
        assert_eq!(
            subject_differences(&first, &second),
            ["arguments of nbody differ: 1000000 beside 2000000: these are two different \
              functions (in native, docker)"]
        );
    }

    #[test]
    fn a_module_concerns_the_lanes_that_run_it() {
        let first = [subject("native"), subject("wasmtime:fuel")];
        let mut second = first.clone();
        for it in &mut second {
            it.module = Some("c".repeat(64));
        }
        let found = subject_differences(&first, &second);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("WebAssembly modules of nbody differ: sha256 aaaaaaaaaaaa "));
        assert!(found[0].ends_with("(in wasmtime:fuel)"));
    }

    #[test]
    fn inputs_limits_and_images_are_part_of_what_was_run() {
        let first = [subject("docker")];
        for (change, said) in [
            (&|it: &mut CellSubject| it.input = "counter".to_owned(), "inputs of nbody"),
            (&|it: &mut CellSubject| it.memory = 1 << 20, "memory limits of nbody differ: 128 MiB"),
            (&|it: &mut CellSubject| it.timeout = 1, "time limits of nbody differ"),
            (&|it: &mut CellSubject| it.shipped = "layer 5".to_owned(), "shipped parts of nbody"),
        ] as [(&dyn Fn(&mut CellSubject), &str); 4]
        {
            let mut second = first.clone();
            second.iter_mut().for_each(change);
            let found = subject_differences(&first, &second);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(said), "{found:?}");
        }
    }
}
