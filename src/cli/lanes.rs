//! `lanes`: what runs here, and why the rest does not.

use std::process::ExitCode;

use super::{Common, Failure, Outcome};
use crate::lane::{self, LaneSpec, docker};
use crate::meter::procfs::ProcessIdentity;
use crate::report::{Cell, Column, Table};

/// Runs the command.
pub(super) fn run(common: &Common) -> Outcome {
    let owner = ProcessIdentity::current().map_err(Failure::failed)?;
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("state", "state"),
        Column::text("version", "version"),
        Column::text("starts", "starts"),
        Column::text("note", "note"),
    ]);
    for spec in all() {
        let name = Cell::text(spec.to_string());
        table.push(match lane::open(&spec, &owner) {
            Ok(mut lane) => {
                let about = lane.describe();
                let starts: Vec<_> = lane.starts().iter().map(|start| start.label()).collect();
                lane.close();
                vec![
                    name,
                    Cell::text("available"),
                    Cell::text(about.version),
                    Cell::text(starts.join(", ")),
                    Cell::text(about.note),
                ]
            }
            Err(error) => vec![
                name,
                Cell::text("unavailable"),
                Cell::maybe::<String>(None),
                Cell::maybe::<String>(None),
                Cell::text(error.to_string()),
            ],
        });
    }
    common.print(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// The named lanes and one for each OCI runtime that an engine offers.
fn all() -> Vec<LaneSpec> {
    let mut specs = LaneSpec::all();
    if let Ok(info) = docker::inspect() {
        // Short names only: the shims that containerd lists are the same runtimes.
        let short = info.runtimes.iter().filter(|name| !name.starts_with("io.containerd."));
        specs.extend(short.map(|name| LaneSpec::Docker { runtime: Some(name.clone()) }));
    }
    specs
}
