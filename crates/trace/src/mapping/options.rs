//! Quick mappings of the command line: `--map dur_ms=run:ms`.

use std::collections::BTreeMap;

use cyclometer_core::suggest::format_suggestion;
use toml::Spanned;

use crate::mapping::Mapping;
use crate::mapping::compile::compile_mapping;
use crate::mapping::schema::{
    RawFields, RawLayout, RawMapping, RawMeter, RawName, RawStatus, RawTime, RawTrace, RawValues,
    RawWeight, Selector,
};
use crate::mapping::units::Target;
use crate::reading::csv_reader::has_columns_divided;
use crate::reading::json_reader::begins_like_json;

/// Fields that are no meters.
const FIELDS: [&str; 10] = [
    "function", "region", "instance", "request", "started", "ended", "status", "cold", "only",
    "weight",
];

/// Parses quick mappings into a mapping for an input that begins with `start`.
///
/// Each is `COLUMN=METER:UNIT`, such as `dur_ms=run:ms` or `mem=memory_allocated:MiB`;
/// `COLUMN=function`, `region`, `instance`, `request` or `weight`; `COLUMN=started:NOTATION` with
/// `iso`, `s`, `ms`, `us`, `ns` or a pattern; or `COLUMN=status:VALUE|VALUE` with the values that
/// mean failed, and so `cold:VALUE|VALUE` and `only:VALUE|VALUE`. A column is a name of the header,
/// or a path of JSON. The input is JSON or Parquet if it begins like it, and otherwise CSV, divided
/// by that of `,`, `;`, tab and `|` by which its header has all columns.
///
/// # Errors
///
/// Returns a message that names the option, and says what is wrong and what would be accepted.
pub fn parse_map_options(
    options: &[String],
    platform: &str,
    start: &[u8],
) -> Result<Mapping, String> {
    let mut raw = RawMapping {
        trace: RawTrace {
            format: spanned(0, RawLayout::Csv),
            name: Some("--map".to_owned()),
            platform: spanned(0, platform.to_owned()),
            delimiter: None,
            header: None,
            array: None,
            decimal: None,
            group: None,
            zone: None,
        },
        fields: RawFields::default(),
        meters: BTreeMap::new(),
    };
    let mut columns = Vec::new();
    for (index, option) in options.iter().enumerate() {
        let problem = |message: String| format!("--map {option}: {message}");
        columns.push(add_option(&mut raw, index, option).map_err(problem)?);
    }
    let layout = if start.starts_with(b"PAR1") {
        RawLayout::Parquet
    } else if begins_like_json(start) {
        RawLayout::Json
    } else {
        raw.trace.delimiter = Some(spanned(0, find_delimiter(start, &columns)?.to_string()));
        RawLayout::Csv
    };
    raw.trace.format = spanned(0, layout);
    compile_mapping(&raw, "--map").map_err(|problem| {
        let option = options.get(problem.at).map_or("", String::as_str);
        format!("--map {option}: {}", problem.message)
    })
}

fn spanned<T>(index: usize, value: T) -> Spanned<T> {
    // Places of problems are the numbers of the options.
    Spanned::new(index..index, value)
}

fn find_delimiter(start: &[u8], columns: &[String]) -> Result<char, String> {
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let fitting = |mark: &char| {
        u8::try_from(*mark).is_ok_and(|mark| has_columns_divided(start, &names, mark))
    };
    let marks = [',', ';', '\t', '|'];
    marks.into_iter().find(fitting).ok_or_else(|| {
        format!(
            "--map: the first line of the input is no header with the columns {}",
            names.join(", ")
        )
    })
}

/// Adds an option to the mapping, and returns its column.
fn add_option(raw: &mut RawMapping, index: usize, option: &str) -> Result<String, String> {
    let form = "an option is COLUMN=METER:UNIT, such as dur_ms=run:ms";
    let at = option.rfind('=').filter(|at| *at > 0).ok_or(form)?;
    let (name, target) = (&option[..at], &option[at + 1..]);
    let (target, rest) = match target.split_once(':') {
        Some((target, rest)) => (target, Some(rest)),
        None => (target, None),
    };
    let column = Selector::Name(name.to_owned());
    if FIELDS.contains(&target) {
        add_field(&mut raw.fields, index, target, column, rest)?;
        return Ok(name.to_owned());
    }
    if Target::find(target).is_none() {
        let names = FIELDS.into_iter().chain(Target::names());
        return Err(format!("there is no meter `{target}`{}", format_suggestion(target, names)));
    }
    let unit = rest.ok_or_else(|| format!("`{target}` needs its unit: {name}={target}:UNIT"))?;
    let meter = RawMeter {
        column: Some(column),
        value: None,
        unit: spanned(index, unit.to_owned()),
        estimate: false,
        note: None,
    };
    let known = raw.meters.keys().any(|it| it.get_ref() == target);
    if known {
        return Err(format!("`{target}` has another column already"));
    }
    raw.meters.insert(spanned(index, target.to_owned()), spanned(index, meter));
    Ok(name.to_owned())
}

fn add_field(
    fields: &mut RawFields,
    index: usize,
    target: &str,
    column: Selector,
    rest: Option<&str>,
) -> Result<(), String> {
    let needs = match target {
        "started" | "ended" => Some("its notation: iso, s, ms, us, ns or a pattern"),
        "status" => Some("the values that mean failed: status:error|5*"),
        "cold" => Some("the values that mean cold: cold:true|1"),
        "only" => Some("the values of rows to take: only:invocation"),
        _ => None,
    };
    let given = match (needs, rest.filter(|rest| !rest.is_empty())) {
        (Some(needs), None) => return Err(format!("`{target}` needs {needs}")),
        (None, Some(_)) => return Err(format!("`{target}` has no unit")),
        (_, given) => given.unwrap_or_default(),
    };
    let values: Vec<String> = given.split('|').map(str::to_owned).collect();
    let time = |column| {
        let notation = spanned(index, given.to_owned());
        spanned(index, RawTime { column, notation, zone: None })
    };
    let is_taken = match target {
        "started" => fields.started.replace(time(column)).is_some(),
        "ended" => fields.ended.replace(time(column)).is_some(),
        "cold" => fields.cold.replace(spanned(index, RawValues { column, values })).is_some(),
        "only" => fields.only.replace(spanned(index, RawValues { column, values })).is_some(),
        "weight" => fields.weight.replace(spanned(index, RawWeight { column })).is_some(),
        "status" => {
            let status = RawStatus { column, ok: Vec::new(), failed: values, timeout: Vec::new() };
            fields.status.replace(spanned(index, status)).is_some()
        }
        _ => {
            let name = spanned(index, RawName { column: Some(column), value: None });
            let place = match target {
                "function" => &mut fields.function,
                "region" => &mut fields.region,
                "instance" => &mut fields.instance,
                _ => &mut fields.request,
            };
            place.replace(name).is_some()
        }
    };
    if is_taken {
        return Err(format!("`{target}` has another column already"));
    }
    Ok(())
}
