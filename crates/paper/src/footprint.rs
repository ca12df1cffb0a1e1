//! Sizes of the files that run a function: the program, module or image, and the runtime
//! around it.

use super::PaperPart;
use super::report::ReportMaterial;
use cyclometer_core::units::Bytes;

/// The sizes of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFootprint {
    /// The lane.
    pub lane: String,
    /// Size of the files shipped to run `nop`: program, module or image.
    pub function: Option<Bytes>,
    /// Size of the runtime's files.
    pub runtime: Option<Bytes>,
    /// Whether the function is shipped as a container image.
    pub is_image: bool,
}

impl LaneFootprint {
    /// Returns the sum of both sizes, as far as they are known.
    #[must_use]
    pub(crate) fn total_size(&self) -> Option<Bytes> {
        match (self.function, self.runtime) {
            (None, None) => None,
            (function, runtime) => {
                Some(Bytes(function.map_or(0, |it| it.0) + runtime.map_or(0, |it| it.0)))
            }
        }
    }
}

/// Returns the sizes of all lanes that ran.
pub(super) fn measure_footprints(material: &ReportMaterial<'_>) -> Vec<LaneFootprint> {
    let nop = material.series.iter().filter(|(part, _)| *part == PaperPart::Nop);
    let mut all: Vec<LaneFootprint> = Vec::new();
    for series in nop.flat_map(|(_, series)| series) {
        if all.iter().any(|it| *it.lane == *series.key.lane) {
            continue;
        }
        let about = material.lanes.iter().find(|about| *about.name == *series.key.lane);
        all.push(LaneFootprint {
            lane: series.key.lane.to_string(),
            function: series.function,
            runtime: series.runtime,
            is_image: about.is_some_and(|about| about.docker),
        });
    }
    all
}
