//! Reconciling: what a provider says it billed, beside what a price model says.

mod billed_time;
mod month;
mod month_report;
mod rows;
mod rows_report;
mod rules;

pub use billed_time::{TariffVersions, VersionsError};
pub use month::{
    Agreement, ComparedGroup, GroupSums, MonthComparison, MonthGroup, MonthSums, NamedPart,
};
pub use month_report::{describe_month, month_table, month_to_json, named_table};
pub use rows::{ListedRow, RowReconciliation, RuleCount};
pub use rows_report::{
    ReconciledRows, describe_rows, listed_rows_table, rows_to_json, rules_table,
};
pub use rules::{Finding, Rule};
