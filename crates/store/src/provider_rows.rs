//! Reading of what a provider says of each invocation of a trace: the time it billed, beside what
//! the invocation took.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row as SqlRow};

use super::invocation_scan::{BILLABLE, Selection, invocation_range, select_cells};
use super::open::{Store, StoreError};
use cyclometer_core::invocation::{StartKind, Status};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_replay::CellKey;

/// Meters that a time which is billed can depend on, with their columns.
const METERS: [(Meter, &str); 5] = [
    (Meter::Wall, "wall_ns"),
    (Meter::CpuTime, "cpu_ns"),
    (Meter::MemoryAllocated, "memory_allocated_bytes"),
    (Meter::MemoryPeak, "memory_peak_bytes"),
    (Meter::VcpuAllocated, "vcpu_allocated_milli"),
];

/// Earliest time of a log, in nanoseconds since 1970: less is a count of rows without a time.
const EARLIEST: i64 = 1_000_000_000;

/// Invocation of a trace, as its provider has logged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRow {
    /// Number of the invocation.
    pub invocation: i64,
    /// Platform, function and size.
    pub key: CellKey,
    /// Region, if the log has it.
    pub region: Option<Arc<str>>,
    /// What the invocation took.
    pub usage: Usage,
    /// End state.
    pub status: Status,
    /// Time that the provider says it billed.
    pub billed: Option<Nanos>,
    /// Identity of the request.
    pub request: Option<[u8; 16]>,
    /// Start, in nanoseconds since 1970 UTC; `None` if the log has no time.
    pub started_at: Option<i64>,
    /// Invocations that the row stands for.
    pub weight: u64,
}

/// What is known of a cell besides its key.
struct CellPlace {
    region: Option<Arc<str>>,
    has_times: bool,
}

impl Store {
    /// Calls `each` with every invocation of a selection that a provider bills.
    ///
    /// # Errors
    /// Returns the first error of the database or of `each`.
    pub fn for_each_provider_row<E: From<StoreError>>(
        &self,
        selection: &Selection,
        mut each: impl FnMut(ProviderRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| E::from(StoreError::Sql { action: "read of invocations", source });
        let cells = select_cells(&self.connection, selection)?;
        let places = read_places(&self.connection).map_err(failed)?;
        let Some((first, last)) = invocation_range(&self.connection, &cells)? else {
            return Ok(());
        };
        let columns: Vec<&str> = METERS.iter().map(|(_, column)| *column).collect();
        let sql = format!(
            "SELECT id, cell_id, offset_ns, status, billed_ns, request_id, weight, create_ns,
                start_ns, run_ns, {} FROM invocation
             WHERE id BETWEEN ?1 AND ?2 AND {BILLABLE} ORDER BY id",
            columns.join(", ")
        );
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query([first, last]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let cell: i64 = row.get(1).map_err(failed)?;
            if let (Some(key), Some(place)) = (cells.get(&cell), places.get(&cell)) {
                each(read_provider_row(row, key, place).map_err(failed)?)?;
            }
        }
        Ok(())
    }
}

fn read_places(connection: &Connection) -> rusqlite::Result<HashMap<i64, CellPlace>> {
    connection
        .prepare("SELECT id, region, offset_base_ns FROM cell")?
        .query_map([], |row| {
            let region: Option<String> = row.get(1)?;
            let base: i64 = row.get(2)?;
            let region = region.map(Into::into);
            Ok((row.get(0)?, CellPlace { region, has_times: base >= EARLIEST }))
        })?
        .collect()
}

fn read_provider_row(
    row: &SqlRow<'_>,
    key: &CellKey,
    place: &CellPlace,
) -> rusqlite::Result<ProviderRow> {
    let unsigned = |at: usize| {
        let value: Option<i64> = row.get(at)?;
        Ok::<_, rusqlite::Error>(value.and_then(|value| u64::try_from(value).ok()))
    };
    let mut usage = Usage::new(key.start == StartKind::Cold);
    usage.phases.create = unsigned(7)?.map(Nanos);
    usage.phases.start = unsigned(8)?.map(Nanos);
    usage.phases.run = unsigned(9)?.map(Nanos);
    for (at, (meter, _)) in (10..).zip(METERS) {
        usage.set(meter, unsigned(at)?);
    }
    let offset: i64 = row.get(2)?;
    let request: Option<Vec<u8>> = row.get(5)?;
    let status = match row.get_ref(3)?.as_str()? {
        "ok" => Status::Ok,
        "timeout" => Status::Timeout,
        _ => Status::Failed,
    };
    Ok(ProviderRow {
        invocation: row.get(0)?,
        key: key.clone(),
        region: place.region.clone(),
        usage,
        status,
        billed: unsigned(4)?.map(Nanos),
        request: request.and_then(|bytes| bytes.try_into().ok()),
        started_at: Some(offset).filter(|offset| place.has_times && *offset >= EARLIEST),
        weight: unsigned(6)?.unwrap_or(1),
    })
}
