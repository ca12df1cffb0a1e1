//! Making of rows, with what the user gave where a log has nothing.

use cyclometer_core::invocation::StartKind;
use cyclometer_core::meter::Meter;

use crate::batch::{CellId, CellLabel, TraceNames, memory_configuration};
use crate::format::{ImportSettings, Reject};
use crate::row::TraceRow;

/// Names and sizes of a row that its record has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowNames<'a> {
    /// Platform; that of the format unless it is given.
    pub platform: Option<&'a str>,
    /// Function.
    pub function: Option<&'a str>,
    /// Region.
    pub region: Option<&'a str>,
    /// Memory that the function was given, in bytes.
    pub memory: Option<u64>,
    /// CPU share that the function was given, in thousandths.
    pub vcpu_milli: Option<u64>,
    /// Whether the instance was made for it.
    pub cold: bool,
}

/// Maker of rows for one input.
#[derive(Debug)]
pub(crate) struct RowMaker {
    platform: String,
    settings: ImportSettings,
    file: String,
    /// Names of the last cell, and its number: most rows share it with the row before. Their
    /// memory is used again.
    label: CellLabel,
    last_cell: Option<(Option<u64>, CellId)>,
}

impl RowMaker {
    /// Creates a maker for an input with its settings.
    pub fn new(platform: &str, settings: &ImportSettings, file: &str) -> Self {
        Self {
            platform: platform.to_owned(),
            settings: settings.clone(),
            file: file.to_owned(),
            label: CellLabel {
                platform: String::new(),
                function: String::new(),
                configuration: String::new(),
                region: None,
                start: StartKind::Warm,
            },
            last_cell: None,
        }
    }

    /// Returns the minutes that times without a zone are ahead of UTC, if the user gave them.
    pub const fn zone_minutes(&self) -> Option<i32> {
        self.settings.zone_minutes
    }

    /// Makes a row in the cell of these names.
    pub fn make_row(
        &mut self,
        names: &mut TraceNames,
        given: &RowNames<'_>,
    ) -> Result<TraceRow, Reject> {
        let memory = given.memory.or(self.settings.memory);
        let cell = self.find_cell(names, given, memory)?;
        let mut row = TraceRow::new(cell, given.cold);
        row.usage.set(Meter::MemoryAllocated, memory);
        row.usage.set(Meter::VcpuAllocated, given.vcpu_milli.or(self.settings.vcpu_milli));
        Ok(row)
    }

    fn find_cell(
        &mut self,
        names: &mut TraceNames,
        given: &RowNames<'_>,
        memory: Option<u64>,
    ) -> Result<CellId, Reject> {
        let function = given.function.filter(|name| !name.is_empty());
        let function = function.or(self.settings.function.as_deref()).unwrap_or(&self.file);
        let region = given.region.filter(|name| !name.is_empty());
        let region = region.or(self.settings.region.as_deref());
        let platform = given.platform.unwrap_or(&self.platform);
        let start = if given.cold { StartKind::Cold } else { StartKind::Warm };
        let label = &mut self.label;
        if let Some((known, cell)) = self.last_cell
            && known == memory
            && label.start == start
            && label.function == function
            && label.region.as_deref() == region
            && label.platform == platform
        {
            return Ok(cell);
        }
        label.start = start;
        label.configuration = memory_configuration(memory);
        replace_text(&mut label.function, function);
        replace_text(&mut label.platform, platform);
        match (&mut label.region, region) {
            (Some(known), Some(region)) => replace_text(known, region),
            (known, region) => *known = region.map(str::to_owned),
        }
        self.last_cell = None;
        let cell = names.find_or_add_cell(label)?;
        self.last_cell = Some((memory, cell));
        Ok(cell)
    }
}

fn replace_text(text: &mut String, by: &str) {
    text.clear();
    text.push_str(by);
}
