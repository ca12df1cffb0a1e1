//! Sums of a reconciliation by rule, with the rows that need one.

use std::collections::BTreeMap;

use cyclometer_core::units::Nanos;
use cyclometer_pricing::Exact;
use cyclometer_store::ProviderRow;

use super::billed_time::TariffVersions;
use super::rules::{Finding, Rule};

/// Sums of the rows that one rule explains under one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// Invocations, with what sampled rows stand for.
    pub invocations: u64,
    /// Sum of the times that the provider billed, in nanoseconds.
    pub billed: u128,
    /// Sum of the times that the model in force bills for what was logged, in nanoseconds.
    pub modelled: u128,
}

/// Row that is listed: one that the model does not give by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRow {
    /// Row.
    pub row: ProviderRow,
    /// What was found of it.
    pub finding: Finding,
}

/// Reconciliation of all rows of a trace.
#[derive(Debug, Clone)]
pub struct RowReconciliation {
    counts: BTreeMap<(Rule, String), RuleCount>,
    /// Rows without an explanation, then rows that need a rule; the first of each.
    unexplained: Vec<ListedRow>,
    by_rule: Vec<ListedRow>,
    most: usize,
}

impl RowReconciliation {
    /// Creates one without rows; it keeps at most `most` rows of each kind to list.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { counts: BTreeMap::new(), unexplained: Vec::new(), by_rule: Vec::new(), most }
    }

    /// Adds a row.
    pub fn add_row(&mut self, versions: &TariffVersions, row: ProviderRow) {
        let finding = versions.explain_row(&row);
        let key = (finding.rule, finding.model.clone());
        let count = self.counts.entry(key).or_default();
        let weight = row.weight;
        let sum =
            |span: Option<Nanos>| u128::from(span.map_or(0, |span| span.0)) * u128::from(weight);
        count.invocations = count.invocations.saturating_add(weight);
        count.billed = count.billed.saturating_add(sum(row.billed));
        count.modelled = count.modelled.saturating_add(sum(finding.modelled));
        let list = match finding.rule {
            Rule::NoBilledTime => return,
            rule if rule.is_exact() => return,
            rule if rule.is_explained() => &mut self.by_rule,
            _ => &mut self.unexplained,
        };
        if list.len() < self.most {
            list.push(ListedRow { row, finding });
        }
    }

    /// Returns the sums by rule and model, in the order of the rules.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<(Rule, String), RuleCount> {
        &self.counts
    }

    /// Returns the rows to list: first those without an explanation.
    pub fn listed_rows(&self) -> impl Iterator<Item = &ListedRow> {
        self.unexplained.iter().chain(&self.by_rule)
    }

    /// Returns the number of invocations whose rule fulfils a condition.
    #[must_use]
    pub fn count_rules(&self, wanted: impl Fn(Rule) -> bool) -> u64 {
        let chosen = self.counts.iter().filter(|((rule, _), _)| wanted(*rule));
        chosen.fold(0, |sum, (_, count)| sum.saturating_add(count.invocations))
    }

    /// Returns the number of invocations whose billed time is known.
    #[must_use]
    pub fn billed_invocations(&self) -> u64 {
        self.count_rules(|rule| rule != Rule::NoBilledTime)
    }

    /// Returns the number of invocations that no rule explains.
    #[must_use]
    pub fn unexplained_invocations(&self) -> u64 {
        self.count_rules(|rule| matches!(rule, Rule::Unexplained | Rule::Refused))
    }

    /// Returns the share of the invocations with a billed time that a rule explains; `None` if
    /// there are none.
    #[must_use]
    pub fn explained_share(&self) -> Option<Exact> {
        let explained = Exact::from(self.count_rules(Rule::is_explained));
        explained.checked_div(&Exact::from(self.billed_invocations()))
    }
}
