//! Bills of providers, line by line: FOCUS 1.0 to 1.2, and AWS's Cost and Usage Reports, 2.0 and
//! legacy, as CSV. They hold amounts, not invocations: they are what a simulated bill is held
//! against.

mod amount;
mod columns;
mod reader;

pub use amount::BillAmount;
pub use columns::BillFormat;
pub use reader::{BillFileError, BillReader, BillSummary};

/// Line of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// Service, as the bill calls it: `AWSLambda`, `AWS Lambda`.
    pub service: String,
    /// Region, as the provider calls it.
    pub region: Option<String>,
    /// Account or subscription that used it.
    pub account: Option<String>,
    /// Resource, such as the ARN of a function.
    pub resource: Option<String>,
    /// What was used: the usage type, the meter, or the id of the SKU.
    pub sku: Option<String>,
    /// Kind of charge.
    pub category: BillCategory,
    /// Whether a commitment, such as a savings plan, has to do with it.
    pub commitment: bool,
    /// Quantity that was used.
    pub quantity: Option<BillAmount>,
    /// Unit of the quantity.
    pub unit: Option<String>,
    /// Cost at list prices.
    pub list_cost: Option<BillAmount>,
    /// Cost that is invoiced for the line.
    pub billed_cost: BillAmount,
    /// Cost with the prepaid part of commitments spread over what they cover.
    pub effective_cost: Option<BillAmount>,
    /// Cost at the prices of the contract.
    pub contracted_cost: Option<BillAmount>,
    /// Currency of the costs.
    pub currency: String,
    /// Start of the charge, in nanoseconds since 1970 UTC.
    pub from: i64,
    /// End of the charge, which does not belong to it.
    pub until: Option<i64>,
}

/// Kind of charge of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BillCategory {
    /// Use of a service.
    Usage,
    /// Commitment, subscription or fee.
    Purchase,
    /// Discount that a contract gives as a line of its own.
    Discount,
    /// Credit or refund.
    Credit,
    /// Correction, or what takes back a line that a commitment covers.
    Adjustment,
    /// Tax.
    Tax,
}

impl BillCategory {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Purchase => "purchase",
            Self::Discount => "discount",
            Self::Credit => "credit",
            Self::Adjustment => "adjustment",
            Self::Tax => "tax",
        }
    }
}
