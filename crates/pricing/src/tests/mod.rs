//! Tests of the rules of the format, of the bills of models, and of properties that must hold for
//! every usage and every text.

mod evaluate;
mod factors;
mod hostile;
pub(super) mod mutations;
mod properties;
mod refusals;
mod schema;
mod settle;
mod shapes;
mod shipped;
mod split;

use super::PriceModel;
use super::builtin_files;

const HEAD: &str = r#"id = "test"
name = "Test"
currency = "USD"
granularity = "coarse"
effective_from = 2025-08-01
retrieved = 2025-08-02
source = "by hand"
rounding = "none"
"#;

/// A valid charge, for files that test something else.
const CHARGE: &str = "[[charge]]\nname = \"cpu\"\nprice = \"0.02\"\n[[charge.factor]]\n\
                      meter = \"cpu_time\"\nunit = \"s\"\n";

/// Returns a file with that charge, and more lines for the charge and its factor.
fn with(charge: &str, factor: &str) -> String {
    format!(
        "{HEAD}[[charge]]\nname = \"cpu\"\nprice = \"0.02\"\n{charge}\n\
         [[charge.factor]]\nmeter = \"cpu_time\"\nunit = \"s\"\n{factor}\n"
    )
}

fn parse(text: &str) -> PriceModel {
    PriceModel::parse_first(text, "test.toml").unwrap()
}

fn complaint(text: &str) -> String {
    PriceModel::parse_first(text, "test.toml").unwrap_err().to_string()
}
