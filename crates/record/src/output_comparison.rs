//! Comparison of a function's outputs between lanes, where nothing is expected of them: the same
//! function in several forms should write the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use cyclometer_lanes::{Job, Status};
use cyclometer_workload::{Event, OutputDigest};

/// Most different outputs of a cell that are told apart.
const MOST_KINDS: usize = 2;

/// Outputs of the cells of a recording.
#[derive(Debug, Default)]
pub struct OutputComparison {
    cells: BTreeMap<usize, CellOutputs>,
}

/// Outputs of one cell.
#[derive(Debug)]
struct CellOutputs {
    lane: String,
    job: Arc<Job>,
    /// Different outputs of successes, in the order of their first.
    kinds: Vec<OutputDigest>,
    /// Number of successes.
    runs: u64,
}

impl OutputComparison {
    /// Takes note of an event.
    pub fn observe_event(&mut self, event: &Event) {
        match event {
            Event::Cell { lane, job } => self.add_cell(lane, job),
            Event::Finished { cell, outcome, .. } if outcome.status == Status::Ok => {
                self.add_output(*cell, outcome.output);
            }
            _ => {}
        }
    }

    /// Adds a cell.
    pub fn add_cell(&mut self, lane: &str, job: &Arc<Job>) {
        let (lane, job) = (lane.to_owned(), Arc::clone(job));
        self.cells.insert(job.cell, CellOutputs { lane, job, kinds: Vec::new(), runs: 0 });
    }

    /// Adds the output of a success; `None`: it could not be read.
    pub fn add_output(&mut self, cell: usize, output: Option<OutputDigest>) {
        let (Some(outputs), Some(output)) = (self.cells.get_mut(&cell), output) else { return };
        outputs.runs += 1;
        if outputs.kinds.len() < MOST_KINDS && !outputs.kinds.contains(&output) {
            outputs.kinds.push(output);
        }
    }

    /// Returns whether lanes wrote different outputs, each always the same.
    #[must_use]
    pub fn has_differences(&self) -> bool {
        self.list_functions().iter().any(|(_, cells)| find_difference(cells).is_some())
    }

    /// Returns a sentence for each function of the user's own, or of which nothing is expected:
    /// whether its outputs are the same in all lanes.
    #[must_use]
    pub fn list_sentences(&self) -> Vec<String> {
        self.list_functions().iter().map(|(name, cells)| describe_outputs(name, cells)).collect()
    }

    /// Returns the cells of each function of which nothing is expected, with its name.
    fn list_functions(&self) -> Vec<(&str, Vec<&CellOutputs>)> {
        let mut functions: Vec<(&str, Vec<&CellOutputs>)> = Vec::new();
        for outputs in self.cells.values() {
            if outputs.job.preset.expected.is_some() || outputs.runs == 0 {
                continue;
            }
            let name = outputs.job.workload.name.as_str();
            match functions.iter_mut().find(|(other, _)| *other == name) {
                Some((_, cells)) => cells.push(outputs),
                None => functions.push((name, vec![outputs])),
            }
        }
        functions
    }
}

/// Finds the first two cells of a function whose outputs differ; `None` where a cell's own output
/// varies, which compares nothing.
fn find_difference<'a>(cells: &[&'a CellOutputs]) -> Option<[(&'a CellOutputs, OutputDigest); 2]> {
    if cells.iter().any(|it| it.kinds.len() > 1) {
        return None;
    }
    let mut outputs = cells.iter().filter_map(|it| Some((*it, *it.kinds.first()?)));
    let first = outputs.next()?;
    outputs.find(|(_, output)| *output != first.1).map(|other| [first, other])
}

/// Formats the number of runs: `in all 3 runs`, `in its only run`.
fn format_runs(runs: u64) -> String {
    if runs == 1 { "in its only run".to_owned() } else { format!("in all {runs} runs") }
}

/// Describes the outputs of a function in one sentence.
fn describe_outputs(name: &str, cells: &[&CellOutputs]) -> String {
    let cell_name = |it: &CellOutputs| format!("{}, {}", it.lane, it.job.start);
    let runs: u64 = cells.iter().map(|it| it.runs).sum();
    if let Some(varying) = cells.iter().find(|it| it.kinds.len() > 1) {
        return format!(
            "{name}: its output varies from run to run ({}: {}, then {}), so lanes are not \
             compared by it; only its exit code is checked",
            cell_name(varying),
            varying.kinds[0],
            varying.kinds[1]
        );
    }
    let Some(output) = cells.iter().find_map(|it| it.kinds.first()) else {
        return format!("{name}: its output could not be read; only its exit code is checked");
    };
    match find_difference(cells) {
        Some([(first, output), (cell, own)]) => format!(
            "{name}: OUTPUTS DIFFER: {output} in {}, but {own} in {}: these do not run the same \
             function, or it depends on where it runs",
            cell_name(first),
            cell_name(cell)
        ),
        None if cells.len() == 1 => {
            format!(
                "{name}: nothing is expected of its output, {output}, which was the same {}",
                format_runs(runs)
            )
        }
        None => format!(
            "{name}: nothing is expected of its output, so lanes were compared by it: {output} \
             {} of {} cells",
            format_runs(runs),
            cells.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::units::Nanos;
    use cyclometer_lanes::{Outcome, StartKind};
    use cyclometer_workload::{Preset, Workload};

    /// Returns the sentences about lanes with these outputs; `None` is a failure.
    fn sentences(lanes: &[(&str, &[Option<&str>])], preset: &Preset) -> Vec<String> {
        let (workload, preset) =
            (Arc::new(Workload::without_forms("fn")), Arc::new(preset.clone()));
        let mut comparison = OutputComparison::default();
        for (cell, (lane, outputs)) in lanes.iter().enumerate() {
            let (workload, preset) = (Arc::clone(&workload), Arc::clone(&preset));
            let job = Arc::new(Job::new(cell, workload, preset, StartKind::Cold));
            comparison
                .observe_event(&Event::Cell { lane: (*lane).to_owned(), job: Arc::clone(&job) });
            for output in *outputs {
                let mut outcome = Outcome::failed_to_start(&job, Nanos(0), "failed");
                if let Some(text) = output {
                    outcome.status = Status::Ok;
                    outcome.output = Some(OutputDigest::from_content(text.as_bytes()));
                }
                comparison.observe_event(&Event::Finished {
                    cell,
                    sequence: 1,
                    outcome: Box::new(outcome),
                    samples: Vec::new(),
                });
            }
        }
        comparison.list_sentences()
    }

    #[test]
    fn equal_outputs_of_all_lanes_are_told_with_the_output() {
        let all = sentences(
            &[("native", &[Some("5\n"), Some("5\n")]), ("docker", &[None, Some("5\n")])],
            &Preset::with_defaults("quick"),
        );
        let expected = "fn: nothing is expected of its output, so lanes were compared by it: \
                        \"5\\n\" in all 3 runs of 2 cells";
        assert_eq!(all, [expected]);
    }

    #[test]
    fn different_outputs_name_two_lanes() {
        let all = sentences(
            &[("native", &[Some("5")]), ("wasmtime", &[Some("5")]), ("docker", &[Some("6")])],
            &Preset::with_defaults("quick"),
        );
        let begins = "fn: OUTPUTS DIFFER: \"5\" in native, cold, but \"6\" in docker, cold";
        assert!(all.len() == 1 && all[0].starts_with(begins), "{all:?}");
    }

    #[test]
    fn an_output_that_varies_compares_nothing() {
        let lanes: [(&str, &[Option<&str>]); 2] =
            [("native", &[Some("1"), Some("2"), Some("3")]), ("docker", &[Some("9")])];
        let all = sentences(&lanes, &Preset::with_defaults("quick"));
        assert!(all[0].contains("(native, cold: \"1\", then \"2\")"), "{all:?}");
    }

    #[test]
    fn nothing_is_said_of_what_is_expected_or_never_ended_well() {
        let expected = Some(OutputDigest::from_content(b"5"));
        let preset = Preset { expected, ..Preset::with_defaults("quick") };
        assert_eq!(sentences(&[("native", &[Some("5")])], &preset), [""; 0]);
        let failed = sentences(&[("native", &[None])], &Preset::with_defaults("quick"));
        assert_eq!(failed, [""; 0]);
    }
}
