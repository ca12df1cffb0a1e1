//! `pricing explain`: prints the arithmetic of a bill, step by step.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{self, Bound, display_path};
use crate::meter::Meter;
use crate::output::{json_text, text_output};
use crate::pricing::{
    self, Dimension, Exact, Example, MAX_FILE_BYTES, Missing, ModelInput, PriceModel, Refusal,
    Rounding, RoundingPolicy, Terms, UsageBuilder, UsageGroup, gigabyte_note,
};
use crate::report::explain::{Explanation, explain_period};
use crate::report::{Format, markdown_code};

/// Size limit of a file of usage groups.
const USAGE: Bound = Bound::new("a file of usage groups", MAX_FILE_BYTES as u64);

/// Options of `pricing explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer pricing explain aws-lambda-x86 --requests 3M --set run=120ms \\
      --set memory_allocated=1536MB
  cyclometer pricing explain aws-lambda-x86 --set memory_allocated=1536MB \\
      --set provisioned_memory=1536MB --set provisioned_concurrency=100 \\
      --set provisioned_time=8h --group requests=500k,run=100ms,provisioned \\
      --group requests=2.5M,run=120ms
  cyclometer pricing explain cloudflare-durable-objects --requests 1.5M \\
      --instances 1 --instance-time 1000000s
  cyclometer pricing explain google-cloud-run --example 1

NAME is a meter (cpu_time=7ms, cycles=70400000, vcpu_allocated=2vCPU), a phase
(create, start, run, teardown), `cold`, or an input of the model: `pricing show
MODEL` lists those. MB and GB are what the provider means by them; MiB and GiB
are always binary. --format json has every step with exact numbers.")]
pub(super) struct PricingExplainOptions {
    /// The model's id
    model: String,
    /// Usage of each request, or an input of the model; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Number of requests, such as 3000000 or 3M [default: 1]
    #[arg(long, value_name = "N")]
    requests: Option<String>,
    /// Number of instance lifetimes, where requests share instances
    #[arg(long, value_name = "N", requires = "instance_time")]
    instances: Option<String>,
    /// Length of each instance lifetime, such as 1h
    #[arg(long, value_name = "TIME", requires = "instances")]
    instance_time: Option<String>,
    /// Group of equal requests, in addition to --set: requests=500k,run=100ms,...; may be repeated
    #[arg(long, value_name = "NAME=VALUE,...", conflicts_with_all = ["requests", "instances"])]
    group: Vec<String>,
    /// TOML file of such groups, in the form of [[example.usage]]; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["requests", "instances", "group"])]
    usage: Option<PathBuf>,
    /// One of the model's own examples, by number or name
    #[arg(
        long,
        value_name = "NUMBER|NAME",
        conflicts_with_all =
            ["set", "requests", "instances", "group", "usage", "no_free", "days"]
    )]
    example: Option<String>,
    /// Leave free allowances out
    #[arg(long)]
    no_free: bool,
    /// Length of the billing period: days, or a time such as 730h [default: the
    /// model's]
    #[arg(long, value_name = "DAYS|TIME", value_parser = pricing::parse_period)]
    days: Option<Exact>,
    /// Rounding policy of the bill [default: the model's]
    #[arg(long, value_name = "POLICY", value_parser = policies())]
    rounding: Option<String>,
    /// Number of decimals to round to [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=18))]
    digits: Option<u32>,
}

fn policies() -> clap::builder::PossibleValuesParser {
    RoundingPolicy::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().into()
}

/// Usage to bill, with its terms.
struct BillRequest {
    groups: Vec<UsageGroup>,
    terms: Terms,
    rounding: Rounding,
    notes: Vec<String>,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &PricingExplainOptions) -> CommandOutcome {
    let catalog = common.price_catalog()?;
    let model = catalog.find_model(&options.model).map_err(CommandFailure::usage)?;
    let mut bill = match &options.example {
        Some(wanted) => bill_from_example(find_example(model, wanted)?),
        None => bill_from_options(model, options)?,
    };
    if let Some(name) = &options.rounding {
        let found = RoundingPolicy::ALL.iter().find(|(_, known)| known == name);
        bill.rounding.policy = found.map_or(bill.rounding.policy, |(policy, _)| *policy);
    }
    if let Some(digits) = options.digits {
        bill.rounding.digits = digits;
    }
    let explanation = explain_period(model, &bill.groups, &bill.terms, bill.rounding)
        .map_err(|refusals| refusal_failure(model, &refusals))?
        .with_notes(bill.notes);
    print_explanation(common, &explanation)
}

fn print_explanation(common: &CommonOptions, explanation: &Explanation<'_>) -> CommandOutcome {
    let mut out = text_output();
    match common.format {
        Format::Table => out.write_all(explanation.to_text().as_bytes())?,
        Format::Markdown => write!(out, "{}", markdown_code(&explanation.to_text()))?,
        Format::Json => {
            writeln!(out, "{}", json_text(&explanation.to_json(), true))?;
        }
        Format::Csv | Format::Jsonl => {
            for note in explanation.notes() {
                say(&format!("note: {note}"));
            }
            drop(out);
            common.print_table(&explanation.position_table())?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn bill_from_example(example: &Example) -> BillRequest {
    let mut notes = vec![format!("example \"{}\"; source: {}", example.name(), example.source())];
    notes.extend(example.dispute_reason().map(|reason| format!("disputed: {reason}")));
    BillRequest {
        groups: example.usage_groups().to_vec(),
        terms: example.terms().clone(),
        rounding: example.rounding(),
        notes,
    }
}

/// Finds an example by its number, from 1, or by a part of its name that no other has.
fn find_example<'a>(model: &'a PriceModel, wanted: &str) -> Result<&'a Example, CommandFailure> {
    let examples = model.examples();
    let number = wanted.parse::<usize>().ok();
    let numbered = number.and_then(|it| it.checked_sub(1)).and_then(|index| examples.get(index));
    if let Some(example) = numbered {
        return Ok(example);
    }
    let lower = wanted.to_lowercase();
    let part =
        |example: &&Example| number.is_none() && example.name().to_lowercase().contains(&lower);
    let mut found = examples.iter().filter(part);
    match (examples.iter().find(|it| it.name() == wanted), found.next(), found.next()) {
        (Some(example), ..) | (None, Some(example), None) => Ok(example),
        (None, first, _) => {
            let what = if first.is_some() { "more than one example" } else { "no example" };
            let names = examples.iter().enumerate();
            let names: Vec<String> =
                names.map(|(index, it)| format!("\n  {}  {}", index + 1, it.name())).collect();
            let id = model.id();
            let list = if names.is_empty() { " none".to_owned() } else { names.concat() };
            Err(CommandFailure::usage(format!("{id} has {what} `{wanted}`; it has{list}")))
        }
    }
}

/// Builds the usage from the options.
fn bill_from_options(
    model: &PriceModel,
    options: &PricingExplainOptions,
) -> Result<BillRequest, CommandFailure> {
    let mut terms = Terms::for_model(model);
    if let Some(days) = &options.days {
        terms.set_period(days.clone());
    }
    if options.no_free {
        terms.exclude_allowances();
    }
    let mut given = UsageBuilder::new(model, terms.clone());
    for text in &options.set {
        given.apply_assignment(text).map_err(CommandFailure::usage)?;
    }
    if let Some(requests) = &options.requests {
        given.set_value("requests", Some(requests)).map_err(CommandFailure::usage)?;
    }
    let stretches = [("instances", &options.instances), ("instance_time", &options.instance_time)];
    for (name, value) in stretches {
        if let Some(value) = value {
            given.set_instance_value(name, value).map_err(CommandFailure::usage)?;
        }
    }
    let rounding = model.rounding();
    if let Some(path) = &options.usage {
        return bill_from_file(model, options, path, &terms, &given);
    }
    let terms = given.terms().clone();
    let mut notes: Vec<String> = given.notes().to_vec();
    let mut groups = Vec::new();
    if options.group.is_empty() {
        if given.has_usage() {
            let (group, said) = given.build_group().map_err(CommandFailure::usage)?;
            groups.push(group);
            notes = said;
        } else if options.set.is_empty() && !model.bills_inputs_alone(&terms) {
            return Err(CommandFailure::usage(nothing_to_bill_message(model)));
        }
    }
    for text in &options.group {
        let (group, said) = parse_group(&given, text)?;
        groups.push(group);
        let new: Vec<String> = said.into_iter().filter(|note| !notes.contains(note)).collect();
        notes.extend(new);
    }
    notes.extend(unread_meters_note(model, &groups));
    Ok(BillRequest { groups, terms, rounding, notes })
}

fn parse_group(
    all: &UsageBuilder<'_>,
    text: &str,
) -> Result<(UsageGroup, Vec<String>), CommandFailure> {
    let mut given = all.new_group();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if item.bytes().all(|byte| byte.is_ascii_digit()) {
            let text = "in --group a comma is between names: write 3_000_000 or 3M";
            return Err(CommandFailure::usage(text));
        }
        given.apply_assignment(item).map_err(CommandFailure::usage)?;
    }
    given.build_group().map_err(CommandFailure::usage)
}

/// Reads groups from a file; inputs given by --set override the file's.
fn bill_from_file(
    model: &PriceModel,
    options: &PricingExplainOptions,
    path: &Path,
    terms: &Terms,
    given: &UsageBuilder<'_>,
) -> Result<BillRequest, CommandFailure> {
    if given.has_usage() {
        let text =
            "--usage says what the requests used: --set is for inputs of the model beside it";
        return Err(CommandFailure::usage(text));
    }
    let origin = display_path(path);
    let text = files::read_user_file(path, USAGE).and_then(files::into_text).map_err(|error| {
        let what = "--usage takes a TOML file with [[usage]] groups";
        CommandFailure::usage(format!("cannot read {origin}: {error}; {what}"))
    })?;
    let inputs = |terms: &mut Terms| {
        let mut own = UsageBuilder::new(model, terms.clone());
        // These inputs were accepted before.
        let all = options.set.iter().try_for_each(|text| own.apply_assignment(text));
        if all.is_ok() {
            *terms = own.terms().clone();
        }
    };
    let (groups, terms) =
        model.read_usage(&text, &origin, terms, inputs).map_err(CommandFailure::usage)?;
    let mut notes = given.notes().to_vec();
    notes.extend(gigabyte_note(model).filter(|_| text.contains("MB") || text.contains("GB")));
    notes.extend(unread_meters_note(model, &groups));
    Ok(BillRequest { groups, terms, rounding: model.rounding(), notes })
}

/// Returns a note on given meters that the model does not read.
fn unread_meters_note(model: &PriceModel, groups: &[UsageGroup]) -> Option<String> {
    let read = model.used_meters();
    let given = |meter: &&Meter| groups.iter().any(|group| group.usage.get(**meter).is_some());
    let unread = Meter::ALL.iter().filter(given).filter(|meter| !read.contains(meter));
    // The wall time is made of the phases, or they of it.
    let unread = unread.filter(|meter| **meter != Meter::Wall || model.used_phases().is_empty());
    let run = |group: &UsageGroup| group.usage.phases.run.is_some();
    let unread = unread.filter(|meter| **meter != Meter::Wall || !groups.iter().any(run));
    let names: Vec<&str> = unread.map(|meter| meter.name()).collect();
    (!names.is_empty()).then(|| format!("makes no difference to this model: {}", names.join(", ")))
}

/// Explains that there is nothing to bill, and which usage the model reads.
fn nothing_to_bill_message(model: &PriceModel) -> String {
    let meters = model.used_meters().into_iter().map(Meter::name);
    let phases = model.used_phases().into_iter().map(pricing::Phase::name);
    let reads: Vec<&str> = phases.chain(meters).collect();
    let inputs: Vec<&str> = model.inputs().iter().map(ModelInput::name).collect();
    let mut text = format!(
        "nothing to bill: say how many --requests and what each used with --set NAME=VALUE, or \
         give --example or --usage.\n  {} reads: {}",
        model.id(),
        if reads.is_empty() { "requests alone".to_owned() } else { reads.join(", ") }
    );
    if !inputs.is_empty() {
        let _ = write!(text, "\n  its inputs: {}", inputs.join(", "));
    }
    text
}

/// Reports everything that is missing, and how to give it.
fn refusal_failure(model: &PriceModel, refusals: &[Refusal]) -> CommandFailure {
    let mut text = format!("cannot bill this by {}:", model.id());
    for refusal in refusals {
        let _ = write!(text, "\n  {refusal}");
        let hint = match &refusal.missing {
            Missing::Meter { meter, .. } => {
                let value = match Dimension::for_meter(*meter) {
                    Dimension::Time => "10ms",
                    Dimension::Size => "128MB",
                    Dimension::SizeTime => "1GB-s",
                    Dimension::CpuShare => "1vCPU",
                    _ => "1000000",
                };
                format!("{meter}={value}")
            }
            Missing::Phases(phases) => {
                let run = phases.iter().find(|phase| phase.name() == "run").or(phases.first());
                format!("{}=100ms", run.map_or("run", |phase| phase.name()))
            }
            Missing::Input(_) | Missing::Limit { .. } => continue,
        };
        let _ = write!(text, "; give it with --set {hint}");
    }
    CommandFailure::failed(text)
}
