//! Rules that explain the difference between a billed time and what was logged.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::Usage;
use cyclometer_core::units::Nanos;
use cyclometer_store::ProviderRow;

use super::billed_time::{TariffVersion, TariffVersions};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// Most that a function runs beyond its limit before it is stopped.
const BEYOND_LIMIT: u64 = SECOND;

/// Rule by which a billed time follows from what was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The model's own arithmetic, without a start in it.
    Exact,
    /// The model's own arithmetic: INIT and run are added, then rounded up.
    InitBilled,
    /// The model's own arithmetic: INIT was free.
    InitFree,
    /// The model's own arithmetic, with the billed part of restoring a snapshot.
    Restored,
    /// A whole millisecond in the log, which the provider had not rounded when it billed.
    WholeMillisecond,
    /// Digits that the log lacks decide, where several spans are added.
    LoggedDigits,
    /// The billed part of restoring is logged in whole milliseconds.
    RestoreDigits,
    /// INIT was billed before 2025-08: a container image or a custom runtime.
    InitBilledEarly,
    /// The billed part of restoring was billed before 2025-08 too.
    RestoredEarly,
    /// Billed up to the time limit, which the function ran beyond.
    Timeout,
    /// No rule explains it.
    Unexplained,
    /// The model cannot bill the row.
    Refused,
    /// The log has no billed time.
    NoBilledTime,
}

impl Rule {
    /// Returns the word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::InitBilled => "init_billed",
            Self::InitFree => "init_free",
            Self::Restored => "restored",
            Self::WholeMillisecond => "whole_millisecond",
            Self::LoggedDigits => "logged_digits",
            Self::RestoreDigits => "restore_digits",
            Self::InitBilledEarly => "init_billed_early",
            Self::RestoredEarly => "restored_early",
            Self::Timeout => "timeout",
            Self::Unexplained => "unexplained",
            Self::Refused => "refused",
            Self::NoBilledTime => "no_billed_time",
        }
    }

    /// Returns the rule in words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Exact => "exact: the logged duration, rounded up",
            Self::InitBilled => "exact, INIT billed: INIT and duration are added, then rounded up",
            Self::InitFree => "exact, INIT free: only the duration is billed",
            Self::Restored => "exact, restored: the billed part of restoring and the duration",
            Self::WholeMillisecond => {
                "whole-millisecond duration: logged to 10 us, billed from the unrounded"
            }
            Self::LoggedDigits => "sum at a whole millisecond: logged to 10 us, billed unrounded",
            Self::RestoreDigits => "restored: its billed part is logged in whole milliseconds",
            Self::InitBilledEarly => {
                "INIT billed before 2025-08: a container image or a custom runtime"
            }
            Self::RestoredEarly => {
                "restored before 2025-08: its billed part was billed while INIT was free"
            }
            Self::Timeout => "timeout: billed up to the limit, which it ran beyond",
            Self::Unexplained => "unexplained",
            Self::Refused => "the model cannot bill it",
            Self::NoBilledTime => "the log has no billed duration",
        }
    }

    /// Returns whether the model gives the billed time by itself.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Exact | Self::InitBilled | Self::InitFree | Self::Restored)
    }

    /// Returns whether there is a billed time, and a rule that leads to it.
    #[must_use]
    pub const fn is_explained(self) -> bool {
        !matches!(self, Self::Unexplained | Self::Refused | Self::NoBilledTime)
    }
}

/// What was found of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Rule that explains the billed time.
    pub rule: Rule,
    /// Time that the model in force bills for what was logged.
    pub modelled: Option<Nanos>,
    /// Id of that model.
    pub model: String,
    /// Remark on a row without an explanation.
    pub hint: Option<String>,
}

impl TariffVersions {
    /// Finds the rule that explains the billed time of a row.
    #[must_use]
    pub fn explain_row(&self, row: &ProviderRow) -> Finding {
        let version = self.find_in_force(row.started_at);
        let found =
            |rule, modelled, hint| Finding { rule, modelled, model: version.id().to_owned(), hint };
        let modelled = version.billed_time(&row.usage);
        // Rows of another platform, such as request logs, have nothing to be held against.
        let Some(billed) = row.billed else {
            return found(Rule::NoBilledTime, modelled.ok(), None);
        };
        let modelled = match modelled {
            Ok(modelled) => modelled,
            Err(reason) => return found(Rule::Refused, None, Some(reason)),
        };
        let case = Case { version, row, billed };
        let rule = if modelled == billed {
            Some(case.name_exact(modelled))
        } else {
            case.find_difference(self)
        };
        let hint = rule.is_none().then(|| case.find_hint(self)).flatten();
        found(rule.unwrap_or(Rule::Unexplained), Some(modelled), hint)
    }
}

/// Row whose billed time is to be explained.
struct Case<'a> {
    version: &'a TariffVersion,
    row: &'a ProviderRow,
    billed: Nanos,
}

impl Case<'_> {
    /// Returns the rule of a row that the model gives by itself.
    fn name_exact(&self, modelled: Nanos) -> Rule {
        let phases = &self.row.usage.phases;
        if phases.start.is_none_or(|start| start.0 == 0) {
            return Rule::Exact;
        }
        let without = self.version.billed_time(&without_start(&self.row.usage));
        match without {
            Ok(without) if without == modelled => Rule::InitFree,
            _ if phases.create.is_some() => Rule::Restored,
            _ => Rule::InitBilled,
        }
    }

    /// Finds the rule of a row that the model does not give by itself.
    fn find_difference(&self, versions: &TariffVersions) -> Option<Rule> {
        if self.is_within_digits(self.version) {
            let spans = self.billed_spans();
            let rule = if spans > 1 { Rule::LoggedDigits } else { Rule::WholeMillisecond };
            return Some(rule);
        }
        if self.is_within_restore(self.version) {
            return Some(Rule::RestoreDigits);
        }
        if self.is_timeout() {
            return Some(Rule::Timeout);
        }
        // The other way round is no rule: since 2025-08 INIT is billed for all functions.
        let ignores_start = self.version.billed_time(&self.row.usage).is_ok_and(|time| {
            self.version.billed_time(&without_start(&self.row.usage)) == Ok(time)
        });
        let has_start = self.row.usage.phases.start.is_some_and(|start| start.0 > 0);
        let bills_start = |version: &&TariffVersion| {
            let whole = version.billed_time(&self.row.usage);
            whole.is_ok() && whole != version.billed_time(&without_start(&self.row.usage))
        };
        if ignores_start && has_start {
            let mut others = versions.versions().iter().filter(bills_start);
            let matches = others.any(|version| {
                version.billed_time(&self.row.usage) == Ok(self.billed)
                    || self.is_within_digits(version)
            });
            let is_restored = self.row.usage.phases.create.is_some();
            let rule = if is_restored { Rule::RestoredEarly } else { Rule::InitBilledEarly };
            return matches.then_some(rule);
        }
        None
    }

    /// Returns how many logged spans are part of the billed time.
    fn billed_spans(&self) -> usize {
        let usage = &self.row.usage;
        let has_start = usage.phases.start.is_some_and(|start| start.0 > 0);
        let whole = self.version.billed_time(&stretch_start(usage, SECOND));
        let counts = has_start && whole != self.version.billed_time(usage);
        if counts { 2 } else { 1 }
    }

    /// Returns whether digits that the log lacks lead to the billed time.
    fn is_within_digits(&self, version: &TariffVersion) -> bool {
        let usage = &self.row.usage;
        let phases = &usage.phases;
        let run = phases.run.map_or(0, |span| lost_digits(span.0));
        let start = match (phases.create, phases.start) {
            (None, Some(start)) if start.0 > 0 => lost_digits(start.0),
            _ => 0,
        };
        let longest = version.billed_time(&stretch_run(usage, run.saturating_add(start), true));
        let shortest = version.billed_time(&stretch_run(usage, run.saturating_add(start), false));
        longest == Ok(self.billed) || shortest == Ok(self.billed)
    }

    /// Returns whether a fraction of the whole milliseconds that restoring is billed in leads to
    /// the billed time.
    fn is_within_restore(&self, version: &TariffVersion) -> bool {
        let usage = &self.row.usage;
        let has_restore = usage.phases.create.is_some()
            && usage.phases.start.is_some_and(|start| start.0.is_multiple_of(MILLISECOND));
        let stretched = |up| version.billed_time(&stretch_run(usage, MILLISECOND - 1, up));
        has_restore && (stretched(true) == Ok(self.billed) || stretched(false) == Ok(self.billed))
    }

    /// Returns whether a row that timed out is billed for whole seconds which it ran beyond.
    fn is_timeout(&self) -> bool {
        self.row.status == Status::Timeout && self.find_limit().is_some()
    }

    /// Returns the whole seconds for which the billed time would result.
    fn find_limit(&self) -> Option<Nanos> {
        let run = self.row.usage.phases.run?.0;
        let limit = run / SECOND * SECOND;
        if limit == 0 || run - limit > BEYOND_LIMIT {
            return None;
        }
        let mut usage = self.row.usage;
        usage.phases.run = Some(Nanos(limit));
        (self.version.billed_time(&usage) == Ok(self.billed)).then_some(Nanos(limit))
    }

    /// Says what a billed time without an explanation is equal to.
    fn find_hint(&self, versions: &TariffVersions) -> Option<String> {
        if let Some(limit) = self.find_limit() {
            return Some(format!("billed {limit}: a timeout which the log does not name?"));
        }
        if self.version.billed_time(&without_start(&self.row.usage)) == Ok(self.billed) {
            return Some("equal to the duration without INIT".to_owned());
        }
        let others = versions.versions().iter().filter(|other| other.id() != self.version.id());
        let equal = |other: &&TariffVersion| other.billed_time(&self.row.usage) == Ok(self.billed);
        if let Some(other) = others.clone().find(equal) {
            return Some(format!("equal to {}, which was not in force", other.id()));
        }
        None
    }
}

/// Returns half of the last digit in which a span is logged: 10 us in text, 1 us in JSON.
const fn lost_digits(nanos: u64) -> u64 {
    if nanos.is_multiple_of(10_000) {
        5_000
    } else if nanos.is_multiple_of(1_000) {
        500
    } else {
        0
    }
}

fn without_start(usage: &Usage) -> Usage {
    let mut usage = *usage;
    usage.phases.start = None;
    usage
}

fn stretch_start(usage: &Usage, by: u64) -> Usage {
    let mut usage = *usage;
    usage.phases.start = usage.phases.start.map(|span| Nanos(span.0.saturating_add(by)));
    usage
}

fn stretch_run(usage: &Usage, by: u64, up: bool) -> Usage {
    let mut usage = *usage;
    usage.phases.run = usage
        .phases
        .run
        .map(|span| Nanos(if up { span.0.saturating_add(by) } else { span.0.saturating_sub(by) }));
    usage
}

#[cfg(test)]
mod tests {
    use cyclometer_core::invocation::StartKind;
    use cyclometer_core::meter::Meter;
    use cyclometer_pricing::{Terms, builtin_models, find_builtin_model};
    use cyclometer_replay::CellKey;

    use super::*;

    fn lambda() -> TariffVersions {
        let model = find_builtin_model("aws-lambda-x86").expect("a model");
        TariffVersions::find_versions(model, &Terms::for_model(model), builtin_models())
            .expect("a model by time")
    }

    /// Row with times in microseconds, of a day in seconds since 1970.
    fn row(day: i64, [create, start, run]: [Option<u64>; 3], billed_ms: u64) -> ProviderRow {
        let start_kind = if start.is_some() { StartKind::Cold } else { StartKind::Warm };
        let mut usage = Usage::new(start.is_some());
        let span = |micros: Option<u64>| micros.map(|micros| Nanos(micros * 1000));
        usage.phases.create = span(create);
        usage.phases.start = span(start);
        usage.phases.run = span(run);
        usage.set(Meter::MemoryAllocated, 1 << 30);
        ProviderRow {
            invocation: 1,
            key: CellKey::new("aws-lambda", "f", "1024MB", start_kind),
            region: None,
            usage,
            status: Status::Ok,
            billed: Some(Nanos(billed_ms * MILLISECOND)),
            request: None,
            started_at: Some(day * 1_000_000_000),
            weight: 1,
        }
    }

    // `date -u -d 2026-03-01 +%s`, of 2025-01-15, 2019-06-07 and 2023-06-02.
    const IN_2026: i64 = 1_772_323_200;
    const IN_2025: i64 = 1_736_899_200;
    const IN_2019: i64 = 1_559_865_600;
    const IN_2023: i64 = 1_685_664_000;

    #[test]
    fn each_time_is_explained_by_the_rule_of_its_day() {
        let versions = lambda();
        for (row, rule, model) in [
            // 1233.96 + 463.512 = 1697.472, rounded up 1698.
            (
                row(IN_2026, [None, Some(463_512), Some(1_233_960)], 1698),
                Rule::InitBilled,
                "aws-lambda-x86",
            ),
            // 329.177, rounded up 330: the 503.083 of INIT were free.
            (
                row(IN_2025, [None, Some(503_083), Some(329_177)], 330),
                Rule::InitFree,
                "aws-lambda-x86-2020",
            ),
            // 329.177 + 503.083 = 832.26: an image in 2025.
            (
                row(IN_2025, [None, Some(503_083), Some(329_177)], 833),
                Rule::InitBilledEarly,
                "aws-lambda-x86-2020",
            ),
            // 128.83 up to the next 100.
            (row(IN_2019, [None, None, Some(128_830)], 200), Rule::Exact, "aws-lambda-x86-2014"),
            (row(IN_2026, [None, None, Some(22_000)], 22), Rule::Exact, "aws-lambda-x86"),
            (
                row(IN_2026, [None, None, Some(22_000)], 23),
                Rule::WholeMillisecond,
                "aws-lambda-x86",
            ),
            // 22.01 is not: up to 22.015 it is billed 23.
            (row(IN_2026, [None, None, Some(22_010)], 24), Rule::Unexplained, "aws-lambda-x86"),
            // 10.505 + 20.49 = 30.995, which may be 31.0005 (0.5 us and 5 us more).
            (
                row(IN_2026, [None, Some(10_505), Some(20_490)], 32),
                Rule::LoggedDigits,
                "aws-lambda-x86",
            ),
            // Since 2025-08 nothing frees INIT.
            (
                row(IN_2026, [None, Some(463_512), Some(1_233_960)], 1234),
                Rule::Unexplained,
                "aws-lambda-x86",
            ),
        ] {
            let finding = versions.explain_row(&row);
            assert_eq!((finding.rule, finding.model.as_str()), (rule, model), "{row:?}");
        }
    }

    #[test]
    fn restoring_is_billed_in_part() {
        // In force in June 2023 is the tariff that bills no start: what restoring adds is billed
        // nevertheless. 2338.66 + 182 = 2520.66.
        let versions = lambda();
        let restored = row(IN_2026, [Some(216_970), Some(182_000), Some(2_338_660)], 2521);
        assert_eq!(versions.explain_row(&restored).rule, Rule::Restored);
        let early = row(IN_2023, [Some(216_970), Some(182_000), Some(2_338_660)], 2521);
        assert_eq!(versions.explain_row(&early).rule, Rule::RestoredEarly);
        // 147.156 + 53 = 200.156; a part of 53.9 would make it 202.
        let fraction = row(IN_2026, [Some(447_795), Some(53_000), Some(147_156)], 202);
        assert_eq!(versions.explain_row(&fraction).rule, Rule::RestoreDigits);
    }

    #[test]
    fn timeouts_are_billed_up_to_the_limit() {
        let versions = lambda();
        let mut stopped = row(IN_2026, [None, None, Some(3_003_170)], 3000);
        let finding = versions.explain_row(&stopped);
        assert_eq!(finding.rule, Rule::Unexplained);
        assert!(finding.hint.is_some_and(|hint| hint.contains("a timeout")));
        stopped.status = Status::Timeout;
        assert_eq!(versions.explain_row(&stopped).rule, Rule::Timeout);
        stopped.billed = Some(Nanos(2_999_000_000));
        assert_eq!(versions.explain_row(&stopped).rule, Rule::Unexplained);
        stopped.billed = None;
        assert_eq!(versions.explain_row(&stopped).rule, Rule::NoBilledTime);
        stopped.usage.phases.run = None;
        assert_eq!(versions.explain_row(&stopped).rule, Rule::NoBilledTime);
        stopped.billed = Some(Nanos(1));
        assert_eq!(versions.explain_row(&stopped).rule, Rule::Refused);
    }
}
