//! Reconciliation of months: the lines of a bill beside what a trace would be billed, by service,
//! region and function.

use std::collections::BTreeMap;

use cyclometer_pricing::Exact;
use cyclometer_store::ProviderRow;
use cyclometer_trace::bill_file::{BillAmount, BillCategory, BillLine};
use time::OffsetDateTime;

use super::billed_time::TariffVersions;

/// Most groups of lines; what comes after them counts without its function.
const MAX_GROUPS: usize = 200_000;

/// Services of bills that are simulated by models of a tariff.
const AWS_LAMBDA: [&str; 2] = ["AWSLambda", "AWS Lambda"];

/// Usage types of AWS Lambda, with the charge that simulates each.
const USAGE_TYPES: [(&str, &str); 4] = [
    ("Lambda-GB-Second", "duration"),
    ("Request", "invocations"),
    ("Lambda-Storage-GB-Second", "tmp storage"),
    ("Lambda-Streaming-Processed-Bytes", "streaming"),
];

/// Group of lines that are compared with each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonthGroup {
    /// Month: `2026-03`.
    pub month: String,
    /// Region; `None` where one side does not name it.
    pub region: Option<String>,
    /// Function; `None` where the bill does not name it.
    pub function: Option<String>,
    /// Charge of the model.
    pub charge: String,
}

/// Sums of one side of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupSums {
    /// Quantity in the unit of the charge.
    pub quantity: Exact,
    /// Cost: of a bill the billed one, of a simulation that at list prices.
    pub cost: Exact,
    /// Part of the quantity whose billed cost is 0: a free tier.
    pub free_quantity: Exact,
    /// Part of the quantity that a commitment covers.
    pub covered_quantity: Exact,
    /// Cost of the quantity that is neither.
    pub paid_cost: Exact,
}

/// Lines of a bill that are no usage which is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedPart {
    /// Tax, credit, discount or correction of the service.
    Category(&'static str),
    /// What a commitment costs, and what it takes back.
    Commitment,
    /// Usage of the service that the model does not simulate, by usage type.
    OtherUsage(String),
    /// Service that is not simulated.
    OtherService(String),
    /// Lines of months in which the trace has no invocation.
    OtherMonth,
}

/// Sums of a bill and of a simulation.
#[derive(Debug, Clone, Default)]
pub struct MonthSums {
    simulated: BTreeMap<MonthGroup, GroupSums>,
    billed: BTreeMap<MonthGroup, GroupSums>,
    named: BTreeMap<NamedPart, (u64, Exact)>,
    currencies: BTreeMap<String, u64>,
    refused: u64,
    undated: u64,
}

/// Relation of the two sides of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// The quantities are the same.
    Same,
    /// They differ by less than the tolerance: bills round quantities.
    Rounded,
    /// The quantities are the same, and the paid part has another price than the model's list:
    /// another region, a volume tier, or a discount.
    OtherPrice,
    /// They differ.
    Different,
    /// The bill has no such line.
    OnlySimulated,
    /// The trace has no such use.
    OnlyBilled,
}

impl Agreement {
    /// Returns the words that are shown.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Rounded => "same but for rounded quantities",
            Self::OtherPrice => "same quantity at ANOTHER PRICE",
            Self::Different => "DIFFERENT",
            Self::OnlySimulated => "only in the trace",
            Self::OnlyBilled => "only in the bill",
        }
    }

    /// Returns whether the bill's line is explained.
    #[must_use]
    pub const fn is_explained(self) -> bool {
        matches!(self, Self::Same | Self::Rounded)
    }
}

/// Both sides of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedGroup {
    /// Group.
    pub group: MonthGroup,
    /// What the bill has.
    pub billed: Option<GroupSums>,
    /// What the trace has.
    pub simulated: Option<GroupSums>,
    /// Relation of the quantities.
    pub agreement: Agreement,
}

/// Comparison of a bill with a simulation.
#[derive(Debug, Clone)]
pub struct MonthComparison {
    /// Groups, in order.
    pub groups: Vec<ComparedGroup>,
    /// Other lines of the bill by what they are, with their number and billed cost.
    pub named: BTreeMap<NamedPart, (u64, Exact)>,
    /// Whether regions are compared; otherwise one side does not name them.
    pub by_region: bool,
    /// Whether functions are compared; otherwise the bill does not name them.
    pub by_function: bool,
    /// Currencies of the bill.
    pub currencies: Vec<String>,
    /// Invocations that the model cannot bill.
    pub refused: u64,
    /// Invocations without a time, which belong to no month.
    pub undated: u64,
}

impl MonthSums {
    /// Adds an invocation of the trace.
    pub fn add_row(&mut self, versions: &TariffVersions, row: &ProviderRow) {
        let Some(month) = row.started_at.and_then(month_of) else {
            self.undated = self.undated.saturating_add(row.weight);
            return;
        };
        let Ok(bill) = versions.bill_row(row) else {
            self.refused = self.refused.saturating_add(row.weight);
            return;
        };
        let weight = Exact::from(row.weight);
        for line in bill.lines {
            let group = MonthGroup {
                month: month.clone(),
                region: row.region.as_deref().map(str::to_owned),
                function: Some(row.key.workload.to_string()),
                charge: line.charge.name().to_owned(),
            };
            let sums = find_sums(&mut self.simulated, group);
            sums.quantity += &(&line.quantity * &weight);
            sums.cost += &(line.amount.as_exact() * &weight);
        }
    }

    /// Adds a line of the bill; `is_arm` says which architecture the model is of. The invocations
    /// of the trace come first.
    pub fn add_line(&mut self, line: &BillLine, is_arm: bool) {
        *self.currencies.entry(line.currency.clone()).or_default() += 1;
        let cost = to_exact(&line.billed_cost);
        let part = match self.find_group(line, is_arm) {
            Err(part) => part,
            Ok((group, quantity)) => {
                let sums = find_sums(&mut self.billed, group);
                if line.commitment {
                    sums.covered_quantity += &quantity;
                } else if cost.is_zero() {
                    sums.free_quantity += &quantity;
                } else {
                    sums.paid_cost += &cost;
                }
                sums.quantity += &quantity;
                sums.cost += &cost;
                return;
            }
        };
        let (lines, sum) = self.named.entry(part).or_default();
        *lines += 1;
        *sum += &cost;
    }

    /// Returns the group that a line belongs to, with its quantity, or what it is instead.
    fn find_group(&self, line: &BillLine, is_arm: bool) -> Result<(MonthGroup, Exact), NamedPart> {
        if !AWS_LAMBDA.contains(&line.service.as_str()) {
            return Err(NamedPart::OtherService(line.service.clone()));
        }
        let month = month_of(line.from).ok_or(NamedPart::OtherMonth)?;
        if !self.simulated.keys().any(|group| group.month == month) {
            return Err(NamedPart::OtherMonth);
        }
        match line.category {
            BillCategory::Usage => {}
            BillCategory::Purchase | BillCategory::Adjustment if line.commitment => {
                return Err(NamedPart::Commitment);
            }
            category => return Err(NamedPart::Category(category.name())),
        }
        let sku = line.sku.as_deref().unwrap_or("");
        let other = || NamedPart::OtherUsage(sku.to_owned());
        let usage = sku.strip_suffix("-ARM");
        if usage.is_some() != is_arm {
            return Err(other());
        }
        let usage = usage.unwrap_or(sku);
        let charge = USAGE_TYPES.iter().find(|(name, _)| {
            // A region may stand before it: `EUC1-Request`.
            let region = usage.strip_suffix(name).map(|before| before.strip_suffix('-'));
            usage == *name || region.flatten().is_some_and(|region| !region.contains('-'))
        });
        let (_, charge) = charge.ok_or_else(other)?;
        // A quantity that is missing is not 0.
        let quantity = line.quantity.as_ref().map(to_exact);
        let missing = || NamedPart::OtherUsage(format!("{sku}, without a quantity"));
        let quantity = quantity.ok_or_else(missing)?;
        let group = MonthGroup {
            month,
            region: line.region.clone(),
            function: line.resource.as_deref().map(function_of_resource),
            charge: (*charge).to_owned(),
        };
        Ok((group, quantity))
    }

    /// Compares both sides; quantities that differ by at most `tolerance` of the larger one are
    /// the same but for rounding.
    #[must_use]
    pub fn compare(self, tolerance: &Exact) -> MonthComparison {
        let by_region = [&self.simulated, &self.billed]
            .iter()
            .all(|side| side.keys().all(|group| group.region.is_some()));
        let by_function = self.billed.keys().all(|group| group.function.is_some());
        let fold = |side: BTreeMap<MonthGroup, GroupSums>| {
            let mut folded: BTreeMap<MonthGroup, GroupSums> = BTreeMap::new();
            for (mut group, sums) in side {
                group.region = group.region.filter(|_| by_region);
                group.function = group.function.filter(|_| by_function);
                let into = folded.entry(group).or_default();
                into.quantity += &sums.quantity;
                into.cost += &sums.cost;
                into.free_quantity += &sums.free_quantity;
                into.covered_quantity += &sums.covered_quantity;
                into.paid_cost += &sums.paid_cost;
            }
            folded
        };
        let mut simulated = fold(self.simulated);
        let billed = fold(self.billed);
        let mut groups: Vec<ComparedGroup> = Vec::new();
        for (group, billed) in billed {
            let simulated = simulated.remove(&group);
            let agreement = match &simulated {
                None => Agreement::OnlyBilled,
                Some(other) => compare_sides(&billed, other, tolerance),
            };
            groups.push(ComparedGroup { group, billed: Some(billed), simulated, agreement });
        }
        // A charge of nothing, such as streaming, has no line in a bill.
        let rest = simulated.into_iter().filter(|(_, sums)| !sums.quantity.is_zero());
        groups.extend(rest.map(|(group, sums)| ComparedGroup {
            group,
            billed: None,
            simulated: Some(sums),
            agreement: Agreement::OnlySimulated,
        }));
        groups.sort_by(|left, right| left.group.cmp(&right.group));
        MonthComparison {
            groups,
            named: self.named,
            by_region,
            by_function,
            currencies: self.currencies.into_keys().collect(),
            refused: self.refused,
            undated: self.undated,
        }
    }
}

impl MonthComparison {
    /// Returns the share of the service's billed cost that is explained; of the number of its
    /// groups if nothing was billed.
    #[must_use]
    pub fn explained_share(&self) -> Option<Exact> {
        let (mut explained, mut all) = (Exact::default(), Exact::default());
        for group in &self.groups {
            let Some(billed) = &group.billed else { continue };
            all += &billed.cost;
            if group.agreement.is_explained() {
                explained += &billed.cost;
            }
        }
        for (part, (_, cost)) in &self.named {
            let size = absolute(cost);
            match part {
                NamedPart::Category(_) | NamedPart::Commitment => {
                    all += &size;
                    explained += &size;
                }
                NamedPart::OtherUsage(_) => all += &size,
                NamedPart::OtherService(_) | NamedPart::OtherMonth => {}
            }
        }
        if !all.is_zero() {
            return explained.checked_div(&all);
        }
        let count = |explained: bool| {
            let chosen = |it: &&ComparedGroup| !explained || it.agreement.is_explained();
            Exact::from(self.groups.iter().filter(chosen).count() as u64)
        };
        count(true).checked_div(&count(false))
    }

    /// Returns whether every group is explained.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        let usage = |part: &NamedPart| matches!(part, NamedPart::OtherUsage(_));
        !self.groups.is_empty()
            && self.groups.iter().all(|group| group.agreement.is_explained())
            && !self.named.iter().any(|(part, (_, cost))| usage(part) && !cost.is_zero())
            && self.refused == 0
    }
}

fn absolute(value: &Exact) -> Exact {
    let zero = Exact::default();
    if *value < zero { &zero - value } else { value.clone() }
}

/// Least difference of costs that counts: bills round each line.
const LEAST_COST: &str = "0.000001";

/// Compares the quantities, and then the price of what was paid for.
fn compare_sides(billed: &GroupSums, simulated: &GroupSums, tolerance: &Exact) -> Agreement {
    let agreement = compare_quantities(&billed.quantity, &simulated.quantity, tolerance);
    if !agreement.is_explained() {
        return agreement;
    }
    let expected = billed.price_at_list(simulated);
    let difference = absolute(&(&billed.paid_cost - &expected));
    let least: Exact = LEAST_COST.parse().unwrap_or_default();
    let allowed = (&expected * tolerance).max(least);
    if difference <= allowed { agreement } else { Agreement::OtherPrice }
}

impl GroupSums {
    /// Returns what the paid part of a bill costs at the list prices of a simulation.
    #[must_use]
    pub fn price_at_list(&self, simulated: &Self) -> Exact {
        let unpaid = &self.free_quantity + &self.covered_quantity;
        let paid = &self.quantity - &unpaid;
        let price = simulated.cost.checked_div(&simulated.quantity).unwrap_or_default();
        &paid * &price
    }
}

fn compare_quantities(billed: &Exact, simulated: &Exact, tolerance: &Exact) -> Agreement {
    if billed == simulated {
        return Agreement::Same;
    }
    let difference = absolute(&(billed - simulated));
    let most = billed.clone().max(simulated.clone());
    if difference <= &most * tolerance { Agreement::Rounded } else { Agreement::Different }
}

/// Returns the sums of a group; those beyond the most groups are summed without functions.
fn find_sums(side: &mut BTreeMap<MonthGroup, GroupSums>, mut group: MonthGroup) -> &mut GroupSums {
    if side.len() >= MAX_GROUPS && !side.contains_key(&group) {
        group.function = None;
        group.region = None;
    }
    side.entry(group).or_default()
}

/// Returns an amount of a bill as a fraction.
pub(super) fn to_exact(amount: &BillAmount) -> Exact {
    let size = Exact::from(&amount.size);
    if amount.is_negative { &Exact::default() - &size } else { size }
}

/// Returns the calendar month of a time, UTC.
fn month_of(nanos: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok()?;
    Some(format!("{:04}-{:02}", time.year(), u8::from(time.month())))
}

/// Returns the function that an ARN names: `arn:aws:lambda:us-east-1:1:function:NAME`, perhaps
/// with an alias or version; other resources as they are.
fn function_of_resource(resource: &str) -> String {
    let rest = resource.split(":function:").nth(1).unwrap_or(resource);
    rest.split(':').next().unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests {
    use cyclometer_core::invocation::{StartKind, Status};
    use cyclometer_core::meter::{Meter, Usage};
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::{Terms, builtin_models, find_builtin_model};
    use cyclometer_replay::CellKey;
    use cyclometer_trace::bill_file::BillReader;

    use super::*;

    /// A thousand invocations of 100 ms at 1 GiB: 100 GB-s and 1000 requests.
    fn simulate(region: Option<&str>) -> MonthSums {
        let model = find_builtin_model("aws-lambda-x86").expect("a model");
        let versions =
            TariffVersions::find_versions(model, &Terms::for_model(model), builtin_models());
        let versions = versions.expect("a model by time");
        let mut usage = Usage::new(false);
        usage.phases.run = Some(Nanos(100_000_000));
        usage.set(Meter::MemoryAllocated, 1 << 30);
        let row = ProviderRow {
            invocation: 1,
            key: CellKey::new("aws-lambda", "thumbnail", "1024MB", StartKind::Warm),
            region: region.map(Into::into),
            usage,
            status: Status::Ok,
            billed: None,
            request: None,
            // `date -u -d 2026-03-31T23:59:59Z +%s`.
            started_at: Some(1_775_001_599_000_000_000),
            weight: 1000,
        };
        let mut sums = MonthSums::default();
        sums.add_row(&versions, &row);
        sums.add_row(&versions, &ProviderRow { started_at: None, weight: 3, ..row });
        sums
    }

    fn add_bill(sums: &mut MonthSums, rows: &str) {
        let header = "ServiceName,x_UsageType,RegionId,ResourceId,ConsumedQuantity,BilledCost,\
                      ChargeCategory,BillingCurrency,ChargePeriodStart,CommitmentDiscountId";
        let rows: Vec<String> = rows
            .lines()
            .map(|row| row.trim().replace("MARCH", "USD,2026-03-01T00:00:00Z"))
            .collect();
        let text = format!("{header}\n{}\n", rows.join("\n"));
        let mut reader = BillReader::open_bill(text.as_bytes()).expect("a bill");
        while let Some(line) = reader.next_line().expect("a record") {
            sums.add_line(&line, false);
        }
        assert_eq!(reader.summary().rejected(), 0);
    }

    const ARN: &str = "arn:aws:lambda:eu-central-1:1:function:thumbnail";

    #[test]
    fn a_missing_quantity_is_named_and_no_0() {
        let mut sums = simulate(Some("eu-central-1"));
        let line = "AWS Lambda,EUC1-Request,eu-central-1,";
        add_bill(&mut sums, &format!("{line}{ARN},,0.5,Usage,MARCH,"));
        let compared = sums.compare(&Exact::default());
        let missing = NamedPart::OtherUsage("EUC1-Request, without a quantity".into());
        assert_eq!(compared.named.get(&missing).map(|(lines, _)| *lines), Some(1));
        assert!(compared.groups.iter().all(|group| group.billed.is_none()));
    }

    #[test]
    fn lines_are_held_against_the_trace_and_named() {
        let mut sums = simulate(Some("eu-central-1"));
        add_bill(
            &mut sums,
            &format!(
                "AWS Lambda,EUC1-Lambda-GB-Second,eu-central-1,{ARN},60,0.001,Usage,MARCH,
                 AWS Lambda,EUC1-Lambda-GB-Second,eu-central-1,{ARN}:live,40.001,0,Usage,MARCH,
                 AWS Lambda,EUC1-Request,eu-central-1,{ARN},1000,0.0002,Usage,MARCH,
                 AWS Lambda,EUC1-Lambda-Provisioned-GB-Second,eu-central-1,{ARN},5,0.004,Usage,MARCH,
                 AWS Lambda,EUC1-Lambda-GB-Second-ARM,eu-central-1,{ARN},5,0,Usage,MARCH,
                 AWS Lambda,,,,,0.19,Tax,MARCH,
                 AWS Lambda,,,,,-0.1,Credit,MARCH,
                 AWS Lambda,,,,,0.05,Purchase,MARCH,sp-1
                 Amazon S3,Requests,,,9,12.5,Usage,MARCH,
                 AWS Lambda,EUC1-Request,eu-central-1,{ARN},7,7,Usage,USD,2026-04-01T00:00:00Z,"
            ),
        );
        // 0.001 GB-s of 100 are 0.001 %.
        let compared = sums.clone().compare(&"0.0001".parse().expect("a number"));
        assert!(compared.by_region && compared.by_function);
        assert_eq!((compared.refused, compared.undated), (0, 3));
        let found: Vec<_> = compared
            .groups
            .iter()
            .map(|group| (group.group.charge.as_str(), group.agreement))
            .collect();
        assert_eq!(found, [("duration", Agreement::Rounded), ("invocations", Agreement::Same)]);
        let duration = compared.groups[0].billed.as_ref().expect("billed");
        assert_eq!(duration.free_quantity.to_plain_string(), "40.001");
        // 0.001 + 0.0002 + 0.19 + 0.1 + 0.05 of that and 0.004.
        let share = compared.explained_share().expect("a share");
        let wanted: Exact = "0.3412".parse().expect("a number");
        assert_eq!(Some(share), wanted.checked_div(&"0.3452".parse().expect("a number")));
        assert!(!compared.is_explained());
        let named: Vec<_> = compared.named.keys().cloned().collect();
        assert_eq!(
            named,
            [
                NamedPart::Category("credit"),
                NamedPart::Category("tax"),
                NamedPart::Commitment,
                NamedPart::OtherUsage("EUC1-Lambda-GB-Second-ARM".into()),
                NamedPart::OtherUsage("EUC1-Lambda-Provisioned-GB-Second".into()),
                NamedPart::OtherService("Amazon S3".into()),
                NamedPart::OtherMonth,
            ]
        );
        let strict = sums.compare(&Exact::default());
        assert_eq!(strict.groups[0].agreement, Agreement::Different);
    }

    /// 100 GB-s cost 0.00166667 at list; 17 % less are 0.0013833361.
    #[test]
    fn another_price_is_no_agreement() {
        for (cost, wanted) in
            [("0.00166667", Agreement::Same), ("0.0013833361", Agreement::OtherPrice)]
        {
            let mut sums = simulate(Some("eu-central-1"));
            let row = format!(
                "AWS Lambda,EUC1-Lambda-GB-Second,eu-central-1,{ARN},100,{cost},Usage,MARCH,"
            );
            add_bill(&mut sums, &row);
            let compared = sums.compare(&"0.0001".parse().expect("a number"));
            assert_eq!(compared.groups[0].agreement, wanted);
        }
    }

    #[test]
    fn sides_are_summed_where_one_names_less() {
        let mut sums = simulate(None);
        add_bill(
            &mut sums,
            "AWS Lambda,Lambda-GB-Second,us-east-1,,60,0.001000002,Usage,MARCH,
             AWS Lambda,EUC1-Lambda-GB-Second,eu-central-1,,40,0.000666668,Usage,MARCH,",
        );
        let compared = sums.compare(&Exact::default());
        assert!(!compared.by_region && !compared.by_function);
        let found: Vec<_> = compared.groups.iter().map(|group| group.agreement).collect();
        assert_eq!(found, [Agreement::Same, Agreement::OnlySimulated]);
    }
}
