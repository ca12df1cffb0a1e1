//! `pricing import`: writes the regional prices of a provider's price list as contracts.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ValueEnum;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{create_new, display_path, open_user_file};
use crate::pricing::price_list::{
    PriceListFormat, PriceListImport, PriceOrigin, RegionalPrices, read_price_list,
};
use crate::report::{Cell, Column, Table};
use crate::suggest::find_nearest_name;

/// Kinds of unused SKUs that are named.
const SHOWN_KINDS: usize = 12;

/// Options of `pricing import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  curl -sO https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AWSLambda/current/index.json
  cyclometer pricing import aws-offer index.json
  cyclometer pricing import aws-offer index.json --region eu-central-1 --folder my-prices
  cyclometer --pricing my-prices replay latest --model aws-lambda-x86-eu-central-1

Nothing is fetched: the list is a file as the provider serves it, up to 4 GiB,
read as a stream. aws-offer takes the offer file of AWSLambda or AmazonECS, or
what `aws pricing get-products` prints; azure-retail pages of
https://prices.azure.com/api/retail/prices in USD; google-skus pages of the
billing catalog's SKUs of Cloud Run. Without --folder nothing is written.")]
pub(super) struct PriceImportOptions {
    /// Format of the list
    #[arg(value_enum, value_name = "FORMAT")]
    list_format: ListFormat,
    /// The price list, `-` for standard input
    file: PathBuf,
    /// Folder to write the contracts to, one file for each model and region
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Only these regions
    #[arg(long, value_delimiter = ',', value_name = "REGION,REGION")]
    region: Vec<String>,
}

/// Format of a price list, as named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListFormat {
    /// AWS Price List: an offer file
    AwsOffer,
    /// Azure Retail Prices: pages
    AzureRetail,
    /// Google Cloud Billing catalog: SKUs
    GoogleSkus,
}

impl ListFormat {
    const fn to_price_list_format(self) -> PriceListFormat {
        match self {
            Self::AwsOffer => PriceListFormat::AwsOffer,
            Self::AzureRetail => PriceListFormat::AzureRetail,
            Self::GoogleSkus => PriceListFormat::GoogleSkus,
        }
    }
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &PriceImportOptions) -> CommandOutcome {
    let shown = display_path(&options.file);
    let failed =
        |error: &dyn std::fmt::Display| CommandFailure::failed(format!("{shown}: {error}"));
    let source: Box<dyn Read> = if options.file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(open_user_file(&options.file).map_err(|error| failed(&error))?)
    };
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let today = now.split('T').next().unwrap_or("2026-01-01");
    let import = read_price_list(options.list_format.to_price_list_format(), source, today)
        .map_err(|error| failed(&error))?;
    let selected = select_regions(&import, &options.region)?;
    let (contracts, selected) = write_contracts(&import, &selected, &options.file, today);
    if let Some(folder) = &options.folder {
        save_contracts(folder, &contracts)?;
    }
    let mut table = Table::new(&[
        Column::text("contract", "contract"),
        Column::text("over", "extends"),
        Column::text("region", "region"),
        Column::text("from", "effective_from"),
        Column::number("prices", "prices"),
    ]);
    for prices in &selected {
        table.push(vec![
            Cell::text(prices.contract_id()),
            Cell::text(prices.model),
            Cell::text(&prices.region),
            Cell::optional_text(prices.effective_from.clone()),
            Cell::new(prices.price_count(), prices.price_count()),
        ]);
    }
    if !selected.is_empty() {
        common.print_table(&table)?;
    }
    say_summary(&import, &selected, options.folder.as_deref());
    Ok(if selected.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns the prices of the selected regions, or all.
fn select_regions<'a>(
    import: &'a PriceListImport,
    wanted: &[String],
) -> Result<Vec<&'a RegionalPrices>, CommandFailure> {
    let known = || import.regions.iter().map(|prices| prices.region.as_str());
    for region in wanted {
        if known().any(|known| known == region) {
            continue;
        }
        let shown: String = region.chars().take(40).collect();
        let hint = find_nearest_name(region, known()).map_or_else(
            || {
                let mut all: Vec<&str> = known().collect();
                all.sort_unstable();
                all.dedup();
                format!(
                    "there are {}",
                    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        let text = format!("the list has no prices of the region `{shown}`: {hint}");
        return Err(CommandFailure::usage(text));
    }
    let is_wanted = |prices: &&RegionalPrices| wanted.is_empty() || wanted.contains(&prices.region);
    Ok(import.regions.iter().filter(is_wanted).collect())
}

/// Writes the text of each contract, by its id. Prices that give no contract are left out and told.
fn write_contracts<'a>(
    import: &PriceListImport,
    selected: &[&'a RegionalPrices],
    file: &Path,
    today: &str,
) -> (BTreeMap<String, String>, Vec<&'a RegionalPrices>) {
    let name = file.file_name().map_or_else(|| "standard input".into(), |it| it.to_string_lossy());
    let name = display_path(Path::new(&*name));
    let source = format!("{} ({name}, {} SKUs)", import.description, import.sku_count);
    let origin = PriceOrigin { source: &source, retrieved: today };
    let (mut contracts, mut written) = (BTreeMap::new(), Vec::new());
    for prices in selected {
        let id = prices.contract_id();
        if contracts.contains_key(&id) {
            say(&format!("left out: there is another contract {id}"));
            continue;
        }
        match prices.to_contract(origin) {
            Ok(text) => {
                contracts.insert(id, text);
                written.push(*prices);
            }
            Err(error) => say(&format!("left out: {error}")),
        }
    }
    (contracts, written)
}

/// Saves each contract in a file of its own; writes none if one of the files exists.
fn save_contracts(
    folder: &Path,
    contracts: &BTreeMap<String, String>,
) -> Result<(), CommandFailure> {
    let shown = display_path(folder);
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(CommandFailure::failed(format!("cannot create {shown}: {error}")));
        }
        _ => {}
    }
    let path = |id: &str| folder.join(format!("{id}.toml"));
    let taken = contracts.keys().map(|id| path(id)).find(|path| path.symlink_metadata().is_ok());
    if let Some(taken) = taken {
        return Err(CommandFailure::failed(format!(
            "{} exists and is left alone, and nothing was written: choose another folder",
            display_path(&taken)
        )));
    }
    for (id, text) in contracts {
        let path = path(id);
        create_new(&path, text.as_bytes(), 0o666).map_err(|error| {
            CommandFailure::failed(format!("cannot write {}: {error}", display_path(&path)))
        })?;
    }
    Ok(())
}

/// Says what was read, what was left out, and what was written.
fn say_summary(import: &PriceListImport, selected: &[&RegionalPrices], folder: Option<&Path>) {
    let unused: u64 = import.unused.values().sum();
    say(&format!(
        "{}: {} SKUs, prices of {} models and regions",
        import.description,
        import.sku_count,
        import.regions.len()
    ));
    if import.is_partial {
        say("this is a part of the list: it says that a page follows, which is not in the file");
    }
    if unused > 0 {
        let mut kinds: Vec<(&String, &u64)> = import.unused.iter().collect();
        kinds.sort_by(|(one, n), (other, m)| m.cmp(n).then(one.cmp(other)));
        let named = kinds.iter().take(SHOWN_KINDS).map(|(kind, count)| format!("{count} {kind}"));
        let more = kinds.len().checked_sub(SHOWN_KINDS).filter(|more| *more > 0);
        let more = more.map(|more| format!("and {more} other kinds"));
        let text = named.chain(more).collect::<Vec<_>>().join(", ");
        say(&format!("left out, since no model has a price for them: {unused} SKUs: {text}"));
    }
    match folder {
        _ if selected.is_empty() => say("nothing was written: no price of a known model is in it"),
        Some(folder) => {
            let shown = display_path(folder);
            say(&format!("wrote {} contracts to {shown}", selected.len()));
            say(&format!("check them:  cyclometer pricing check {shown}/*.toml"));
            say(&format!("use them:    cyclometer --pricing {shown} ..."));
        }
        None => say("nothing was written: name a folder with --folder"),
    }
}
