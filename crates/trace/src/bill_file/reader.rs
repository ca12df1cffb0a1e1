//! Reading of a bill as a stream, with bounded memory; what cannot be read is counted by cause.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader};
use thiserror::Error;

use super::BillLine;
use super::columns::{BillColumns, BillFormat};
use crate::format::Reject;
use crate::formats::csv_fields::CsvFields;

/// Longest record, in bytes.
const MAX_RECORD: usize = 16 << 20;
/// Most first lines of a cause that are kept.
const FIRST_LINES: usize = 5;

/// Reason why a bill cannot be read at all.
#[derive(Debug, Error)]
pub enum BillFileError {
    /// The input failed.
    #[error("cannot be read: {0}")]
    Input(#[from] io::Error),
    /// The header is of no known bill.
    #[error("{0}")]
    Header(String),
    /// A record is longer than 16 MiB: a quote that nothing closes.
    #[error("has a record of more than 16 MiB from line {0} on: is a quote not closed?")]
    TooLong(u64),
}

/// What was read of a bill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BillSummary {
    /// Lines that were read.
    pub lines: u64,
    /// Records that were not, by cause, with how many there are and the first line numbers.
    pub rejects: BTreeMap<Reject, (u64, Vec<u64>)>,
}

impl BillSummary {
    /// Returns the number of records that were not read.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejects.values().map(|(count, _)| count).sum()
    }
}

/// Reader of the lines of a bill.
#[derive(Debug)]
pub struct BillReader<R> {
    input: R,
    csv: Reader,
    columns: BillColumns,
    fields: CsvFields,
    line: u64,
    summary: BillSummary,
}

impl<R: BufRead> BillReader<R> {
    /// Opens a bill by its header.
    ///
    /// # Errors
    ///
    /// Fails when the input does, or when its first record is the header of no known bill.
    pub fn open_bill(mut input: R) -> Result<Self, BillFileError> {
        let mut csv = Reader::new();
        let mut fields = CsvFields::default();
        let mut line = 1;
        let is_there = read_record(&mut input, &mut csv, &mut fields, &mut line)?;
        if !is_there {
            return Err(BillFileError::Header("is empty".to_owned()));
        }
        let header = fields.read_header();
        let header = header.map_err(|cause| BillFileError::Header(format!("has {cause}")))?;
        let columns = BillColumns::find_columns(&header).map_err(BillFileError::Header)?;
        Ok(Self { input, csv, columns, fields, line, summary: BillSummary::default() })
    }

    /// Returns the format.
    #[must_use]
    pub const fn format(&self) -> BillFormat {
        self.columns.format
    }

    /// Reads the next line; `None` at the end. Records that cannot be read are counted and passed.
    ///
    /// # Errors
    ///
    /// Fails when the input does, or a record is too long.
    pub fn next_line(&mut self) -> Result<Option<BillLine>, BillFileError> {
        loop {
            skip_line_ends(&mut self.input, &mut self.line)?;
            let line = self.line;
            let is_there =
                read_record(&mut self.input, &mut self.csv, &mut self.fields, &mut self.line)?;
            if !is_there {
                return Ok(None);
            }
            match self.columns.read_line(&self.fields) {
                Ok(read) => {
                    self.summary.lines += 1;
                    return Ok(Some(read));
                }
                Err(cause) => {
                    let (count, lines) = self.summary.rejects.entry(cause).or_default();
                    *count += 1;
                    if lines.len() < FIRST_LINES {
                        lines.push(line);
                    }
                }
            }
        }
    }

    /// Returns what was read so far.
    #[must_use]
    pub const fn summary(&self) -> &BillSummary {
        &self.summary
    }
}

/// Skips the end of the last line, and blank lines.
fn skip_line_ends(input: &mut impl BufRead, line: &mut u64) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        let count = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        *line += memchr::memchr_iter(b'\n', &bytes[..count]).count() as u64;
        let ends_here = count < bytes.len() || bytes.is_empty();
        input.consume(count);
        if ends_here {
            return Ok(());
        }
    }
}

/// Reads a record into its fields; `false` at the end of the input.
fn read_record(
    input: &mut impl BufRead,
    csv: &mut Reader,
    fields: &mut CsvFields,
    line: &mut u64,
) -> Result<bool, BillFileError> {
    let begin = *line;
    let mut place = fields.begin_record();
    loop {
        let bytes = input.fill_buf()?;
        let is_end = bytes.is_empty();
        let (result, read) = fields.feed(csv, bytes, &mut place);
        let breaks = memchr::memchr_iter(b'\n', &bytes[..read]).count();
        input.consume(read);
        *line += breaks as u64;
        match result {
            ReadRecordResult::Record => {
                fields.end_record(&place);
                return Ok(true);
            }
            ReadRecordResult::End => return Ok(false),
            ReadRecordResult::InputEmpty if is_end => return Ok(false),
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                if !fields.grow_within(MAX_RECORD) {
                    return Err(BillFileError::TooLong(begin));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill_file::{BillAmount, BillCategory};

    fn read(text: &str) -> (BillFormat, Vec<BillLine>, BillSummary) {
        let mut reader = BillReader::open_bill(text.as_bytes()).expect("a bill");
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().expect("a record") {
            lines.push(line);
        }
        (reader.format(), lines, reader.summary().clone())
    }

    fn amount(text: &str) -> BillAmount {
        text.parse().expect("an amount")
    }

    /// Columns of FOCUS 1.0 (focus.finops.org), some of them, in another order, and a column that
    /// AWS adds.
    #[test]
    fn focus_lines_are_read() {
        let (format, lines, summary) = read(
            "\u{feff}BilledCost,ListCost,EffectiveCost,ContractedCost,BillingCurrency,ChargeCategory,\
             ChargePeriodStart,ChargePeriodEnd,ConsumedQuantity,ConsumedUnit,RegionId,ResourceId,\
             ServiceName,SubAccountId,x_UsageType,CommitmentDiscountId\r\n\
             1.66667,1.66667,1.5,1.6,USD,Usage,2026-03-01T00:00:00Z,2026-03-02T00:00:00Z,100000,\
             Lambda-GB-Second,us-east-1,arn:aws:lambda:us-east-1:1:function:thumbnail,AWS Lambda,1,\
             Lambda-GB-Second,NULL\r\n\
             0.32,,0.32,,USD,Tax,2026-03-01 00:00:00,2026-04-01 00:00:00,,,,,\"AWS, Lambda\",1,,\r\n\
             -1,,,,USD,Credit,2026-03-01T00:00:00Z,,,,,,AWS Lambda,1,,\r\n\
             x,,,,USD,Credit,2026-03-01T00:00:00Z,,,,,,AWS Lambda,1,,\r\n\
             1,,,,USD,Other,2026-03-01T00:00:00Z,,,,,,AWS Lambda,1,,\r\n\
             1,2\r\n",
        );
        assert_eq!((format, lines.len()), (BillFormat::Focus, 3));
        assert_eq!(lines[0].quantity, Some(amount("100000")));
        assert_eq!(lines[0].effective_cost, Some(amount("1.5")));
        assert_eq!(lines[0].sku.as_deref(), Some("Lambda-GB-Second"));
        assert!(!lines[0].commitment);
        // `date -u -d 2026-03-01 +%s`.
        assert_eq!(lines[0].from, 1_772_323_200_000_000_000);
        assert_eq!(
            (lines[1].category, lines[1].service.as_str()),
            (BillCategory::Tax, "AWS, Lambda")
        );
        assert_eq!(
            (lines[2].category, lines[2].billed_cost.clone()),
            (BillCategory::Credit, amount("-1"))
        );
        let causes: Vec<_> = summary
            .rejects
            .iter()
            .map(|(cause, (count, lines))| (cause.0, *count, lines[0]))
            .collect();
        assert_eq!(
            causes,
            [
                ("an amount that is no decimal number", 1, 5),
                ("an unknown ChargeCategory", 1, 6),
                ("another number of fields than the header", 1, 7)
            ]
        );
    }

    /// Columns of the table dictionary of CUR 2.0, and the legacy names of the same.
    #[test]
    fn both_cost_and_usage_reports_are_read() {
        let rows = "Usage,AWSLambda,Lambda-GB-Second,100000,1.66667,1.66667,USD,2026-03-01T00:00:00Z,\
                    2026-03-01T01:00:00Z,us-east-1,,\n\
                    SavingsPlanCoveredUsage,AWSLambda,Lambda-GB-Second,100000,1.66667,1.66667,USD,\
                    2026-03-01T00:00:00Z,2026-03-01T01:00:00Z,us-east-1,1.38333361,arn:sp\n\
                    SavingsPlanNegation,AWSLambda,Lambda-GB-Second,100000,-1.66667,0,USD,\
                    2026-03-01T00:00:00Z,2026-03-01T01:00:00Z,us-east-1,,arn:sp\n";
        let new = "line_item_line_item_type,line_item_product_code,line_item_usage_type,\
                   line_item_usage_amount,line_item_unblended_cost,pricing_public_on_demand_cost,\
                   line_item_currency_code,line_item_usage_start_date,line_item_usage_end_date,\
                   product_region_code,savings_plan_savings_plan_effective_cost,\
                   savings_plan_savings_plan_a_r_n";
        let legacy = "lineItem/LineItemType,lineItem/ProductCode,lineItem/UsageType,\
                      lineItem/UsageAmount,lineItem/UnblendedCost,pricing/publicOnDemandCost,\
                      lineItem/CurrencyCode,lineItem/UsageStartDate,lineItem/UsageEndDate,\
                      product/region,savingsPlan/SavingsPlanEffectiveCost,savingsPlan/SavingsPlanARN";
        let (format, lines, summary) = read(&format!("{new}\n{rows}"));
        assert_eq!((format, summary.rejected()), (BillFormat::CostAndUsageReport, 0));
        let (_, same, _) = read(&format!("{legacy}\n{rows}"));
        assert_eq!(lines, same);
        let found: Vec<_> = lines.iter().map(|line| (line.category, line.commitment)).collect();
        assert_eq!(
            found,
            [
                (BillCategory::Usage, false),
                (BillCategory::Usage, true),
                (BillCategory::Adjustment, true)
            ]
        );
        assert_eq!(lines[1].effective_cost, Some(amount("1.38333361")));
        assert_eq!(lines[0].effective_cost, Some(amount("1.66667")));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let open = |text: &str| BillReader::open_bill(text.as_bytes()).expect_err(text).to_string();
        assert_eq!(open(""), "is empty");
        assert!(open("a,b\n1,2\n").starts_with("is no bill that is known"));
        assert!(open("BilledCost,BilledCost\n").contains("one name twice"));
        assert_eq!(
            open("BilledCost,ChargePeriodStart,ChargeCategory,BillingCurrency\n"),
            "has no column ServiceName"
        );
    }

    #[test]
    fn an_open_quote_ends_in_an_error_and_not_in_all_memory() {
        let header = "BilledCost,ChargePeriodStart,ChargeCategory,BillingCurrency,ServiceName\n";
        let text = format!("{header}\"{}", "x\n".repeat(9 << 20));
        let mut reader = BillReader::open_bill(text.as_bytes()).expect("a bill");
        assert!(matches!(reader.next_line(), Err(BillFileError::TooLong(2))));
    }
}
