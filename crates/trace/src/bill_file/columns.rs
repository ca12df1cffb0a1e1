//! Columns of bills: which one has what, and what its words mean.

use super::{BillAmount, BillCategory, BillLine};
use crate::clock_text::parse_timestamp;
use crate::format::Reject;
use crate::formats::csv_fields::CsvFields;

/// Format of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillFormat {
    /// FOCUS 1.0 to 1.2: <https://focus.finops.org/focus-specification/>.
    Focus,
    /// AWS Cost and Usage Report, 2.0 or legacy:
    /// <https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2.html>.
    CostAndUsageReport,
}

impl BillFormat {
    /// Returns the name that is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Focus => "FOCUS",
            Self::CostAndUsageReport => "AWS Cost and Usage Report",
        }
    }
}

type Column = Option<usize>;

/// Positions of the columns of a bill.
#[derive(Debug, Clone)]
pub(super) struct BillColumns {
    pub format: BillFormat,
    pub count: usize,
    service: [Column; 2],
    region: [Column; 3],
    account: [Column; 2],
    resource: Column,
    sku: [Column; 4],
    category: Column,
    class: Column,
    commitment: [Column; 3],
    quantity: [Column; 2],
    unit: [Column; 2],
    list_cost: Column,
    billed_cost: Column,
    effective_cost: [Column; 2],
    contracted_cost: Column,
    currency: Column,
    from: Column,
    until: Column,
}

impl BillColumns {
    /// Finds the columns by the header.
    ///
    /// # Errors
    ///
    /// Fails with the name of a column that is missing, or when the header is of no known bill.
    pub fn find_columns(header: &[String]) -> Result<Self, String> {
        let names: Vec<String> = header.iter().map(|name| normalize_name(name)).collect();
        let find = |name: &str| names.iter().position(|known| known == name);
        let columns = if find("billed_cost").is_some() && find("charge_period_start").is_some() {
            Self::for_focus(names.len(), find)
        } else if find("line_item_unblended_cost").is_some() {
            Self::for_cost_and_usage(names.len(), find)
        } else {
            return Err(
                "is no bill that is known: FOCUS has BilledCost and ChargePeriodStart, a Cost and \
                 Usage Report line_item_unblended_cost or lineItem/UnblendedCost"
                    .to_owned(),
            );
        };
        let needed = [
            (
                columns.service.iter().any(Option::is_some),
                ["ServiceName", "line_item_product_code"],
            ),
            (columns.category.is_some(), ["ChargeCategory", "line_item_line_item_type"]),
            (columns.from.is_some(), ["ChargePeriodStart", "line_item_usage_start_date"]),
            (columns.currency.is_some(), ["BillingCurrency", "line_item_currency_code"]),
        ];
        let missing = needed.iter().find(|(is_there, _)| !is_there);
        match missing {
            Some((_, [focus, report])) => {
                let name = if columns.format == BillFormat::Focus { focus } else { report };
                Err(format!("has no column {name}"))
            }
            None => Ok(columns),
        }
    }

    fn for_focus(count: usize, find: impl Fn(&str) -> Column) -> Self {
        Self {
            format: BillFormat::Focus,
            count,
            service: [find("service_name"), find("x_service_code")],
            region: [find("region_id"), find("region"), find("region_name")],
            account: [find("sub_account_id"), find("billing_account_id")],
            resource: find("resource_id"),
            sku: [
                find("x_usage_type"),
                find("sku_meter"),
                find("sku_id"),
                find("charge_description"),
            ],
            category: find("charge_category"),
            class: find("charge_class"),
            commitment: [find("commitment_discount_id"), find("commitment_discount_status"), None],
            quantity: [find("consumed_quantity"), find("pricing_quantity")],
            unit: [find("consumed_unit"), find("pricing_unit")],
            list_cost: find("list_cost"),
            billed_cost: find("billed_cost"),
            effective_cost: [find("effective_cost"), None],
            contracted_cost: find("contracted_cost"),
            currency: find("billing_currency"),
            from: find("charge_period_start"),
            until: find("charge_period_end"),
        }
    }

    fn for_cost_and_usage(count: usize, find: impl Fn(&str) -> Column) -> Self {
        Self {
            format: BillFormat::CostAndUsageReport,
            count,
            service: [find("line_item_product_code"), find("product_servicecode")],
            region: [find("product_region_code"), find("product_region"), None],
            account: [find("line_item_usage_account_id"), find("bill_payer_account_id")],
            resource: find("line_item_resource_id"),
            sku: [find("line_item_usage_type"), find("product_sku"), None, None],
            category: find("line_item_line_item_type"),
            class: None,
            commitment: [
                find("savings_plan_savings_plan_arn"),
                find("savings_plan_savings_plan_a_r_n"),
                find("reservation_reservation_a_r_n"),
            ],
            quantity: [find("line_item_usage_amount"), None],
            unit: [find("pricing_unit"), None],
            list_cost: find("pricing_public_on_demand_cost"),
            billed_cost: find("line_item_unblended_cost"),
            effective_cost: [
                find("savings_plan_savings_plan_effective_cost"),
                find("line_item_unblended_cost"),
            ],
            contracted_cost: find("line_item_net_unblended_cost"),
            currency: find("line_item_currency_code"),
            from: find("line_item_usage_start_date"),
            until: find("line_item_usage_end_date"),
        }
    }

    /// Reads a line.
    pub fn read_line(&self, fields: &CsvFields) -> Result<BillLine, Reject> {
        if fields.len() != self.count {
            return Err(Reject::new("another number of fields than the header"));
        }
        let text = |column: Column| {
            let found = fields.text(column)?.filter(|text| !is_null(text));
            Ok::<_, Reject>(found)
        };
        let first = |columns: &[Column]| {
            for column in columns {
                if let Some(text) = text(*column)? {
                    return Ok(Some(text.to_owned()));
                }
            }
            Ok::<_, Reject>(None)
        };
        let amount = |column: Column| {
            let parsed = text(column)?.map(str::parse::<BillAmount>).transpose();
            parsed.map_err(|_| Reject::new("an amount that is no decimal number"))
        };
        let word = text(self.category)?.unwrap_or("");
        let (category, of_commitment) = read_category(self.format, word)?;
        let category = match text(self.class)? {
            Some("Correction") => BillCategory::Adjustment,
            _ => category,
        };
        let is_covered = self.format == BillFormat::Focus || word == "SavingsPlanCoveredUsage";
        let effective = self.effective_cost[usize::from(!is_covered)];
        let quantity = match amount(self.quantity[0])? {
            Some(quantity) => Some(quantity),
            None => amount(self.quantity[1])?,
        };
        let time = |column: Column| {
            let time = text(column)?.map(|text| parse_timestamp(text, Some(0))).transpose();
            time.map_err(Reject::from)
        };
        Ok(BillLine {
            service: first(&self.service)?.ok_or(Reject::new("no service"))?,
            region: first(&self.region)?,
            account: first(&self.account)?,
            resource: first(&[self.resource])?,
            sku: first(&self.sku)?,
            category,
            commitment: of_commitment || first(&self.commitment)?.is_some(),
            quantity,
            unit: first(&self.unit)?,
            list_cost: amount(self.list_cost)?,
            billed_cost: amount(self.billed_cost)?.ok_or(Reject::new("no billed cost"))?,
            effective_cost: amount(effective)?,
            contracted_cost: amount(self.contracted_cost)?,
            currency: first(&[self.currency])?.ok_or(Reject::new("no currency"))?,
            from: time(self.from)?.ok_or(Reject::new("no start of the charge period"))?,
            until: time(self.until)?,
        })
    }
}

fn is_null(text: &str) -> bool {
    text.eq_ignore_ascii_case("null") || text == "\\N"
}

/// Returns the category that a word stands for, and whether a commitment has to do with it.
fn read_category(format: BillFormat, word: &str) -> Result<(BillCategory, bool), Reject> {
    if format == BillFormat::Focus {
        return Ok(match word {
            "Usage" => (BillCategory::Usage, false),
            "Purchase" => (BillCategory::Purchase, false),
            "Tax" => (BillCategory::Tax, false),
            "Credit" => (BillCategory::Credit, false),
            "Adjustment" => (BillCategory::Adjustment, false),
            _ => return Err(Reject::new("an unknown ChargeCategory")),
        });
    }
    Ok(match word {
        "Usage" => (BillCategory::Usage, false),
        "SavingsPlanCoveredUsage" | "DiscountedUsage" => (BillCategory::Usage, true),
        "SavingsPlanNegation" => (BillCategory::Adjustment, true),
        "SavingsPlanRecurringFee" | "SavingsPlanUpfrontFee" | "RIFee" => {
            (BillCategory::Purchase, true)
        }
        "Fee" => (BillCategory::Purchase, false),
        "EdpDiscount" | "PrivateRateDiscount" | "BundledDiscount" | "Discount" => {
            (BillCategory::Discount, false)
        }
        "Credit" | "Refund" => (BillCategory::Credit, false),
        "Tax" => (BillCategory::Tax, false),
        _ => return Err(Reject::new("an unknown line item type")),
    })
}

/// Returns a name in lower case with underscores: `lineItem/UsageType` and `line_item_usage_type`
/// are one.
fn normalize_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    let mut after_small = false;
    for character in name.chars() {
        if matches!(character, '/' | '_' | ' ' | ':') {
            out.push('_');
            after_small = false;
        } else if character.is_ascii_uppercase() {
            if after_small {
                out.push('_');
            }
            out.push(character.to_ascii_lowercase());
            // `SavingsPlanARN` of the legacy report ends in three capitals.
            after_small = false;
        } else {
            out.push(character);
            after_small = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_reports_are_one() {
        for (legacy, name) in [
            ("lineItem/UsageType", "line_item_usage_type"),
            ("lineItem/LineItemType", "line_item_line_item_type"),
            ("pricing/publicOnDemandCost", "pricing_public_on_demand_cost"),
            ("product/regionCode", "product_region_code"),
            ("savingsPlan/SavingsPlanEffectiveCost", "savings_plan_savings_plan_effective_cost"),
            ("savingsPlan/SavingsPlanARN", "savings_plan_savings_plan_arn"),
            ("ChargePeriodStart", "charge_period_start"),
            ("x_UsageType", "x_usage_type"),
            ("line_item_usage_type", "line_item_usage_type"),
        ] {
            assert_eq!(normalize_name(legacy), name);
        }
    }
}
