//! Checking of a mapping, and what its columns are for.

use std::ops::Range;

use cyclometer_core::meter::{Meter, Provenance, Source};
use cyclometer_core::suggest::format_suggestion;
use cyclometer_core::visible_text::summarize_text;
use toml::Spanned;

use crate::mapping::fill::{
    MeterColumn, Name, Origin, Plan, StatusColumn, TimeColumn, ValueColumn,
};
use crate::mapping::numbers::NumberNotation;
use crate::mapping::schema::{
    RawFields, RawLayout, RawMapping, RawMeter, RawName, RawStatus, RawTime, RawTrace, RawValues,
    Selector,
};
use crate::mapping::units::Target;
use crate::mapping::{Column, Layout, Mapping};
use crate::reading::quantity::{NumberCauses, UnitScale, parse_quantity};
use crate::reading::time_notation::{TimeNotation, parse_zone};

/// Most columns of a mapping.
const MAX_COLUMNS: usize = 256;

/// Something wrong at a byte of the text.
#[derive(Debug)]
pub(super) struct Problem {
    pub at: usize,
    pub message: String,
}

impl Problem {
    fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self { at: span.start, message: message.into() }
    }
}

/// Compiles a mapping; `origin` is its name unless it gives itself one.
pub(super) fn compile_mapping(raw: &RawMapping, origin: &str) -> Result<Mapping, Problem> {
    let mut compiler = Compiler {
        layout: compile_layout(&raw.trace)?,
        notation: compile_notation(&raw.trace)?,
        zone: raw.trace.zone.as_ref().map(compile_zone).transpose()?,
        columns: Vec::new(),
    };
    if raw.trace.platform.get_ref().trim().is_empty() {
        return Err(Problem::new(&raw.trace.platform.span(), "`platform` is empty"));
    }
    let mut plan = compiler.compile_fields(&raw.fields)?;
    let mut meters = Vec::new();
    for (name, meter) in &raw.meters {
        let target = Target::find(name.get_ref()).ok_or_else(|| {
            let near = format_suggestion(name.get_ref(), Target::names());
            Problem::new(&name.span(), format!("there is no meter `{}`{near}", name.get_ref()))
        })?;
        let (column, provenance) = compiler.compile_meter(target, meter)?;
        if let Target::Meter(meter) = target {
            meters.push((meter, provenance));
        }
        plan.meters.push(column);
    }
    if !plan.meters.iter().any(|meter| matches!(meter.origin, Origin::Column { .. })) {
        let message = "`meters` needs a column, such as run = { column = \"ms\", unit = \"ms\" }";
        return Err(Problem { at: 0, message: message.to_owned() });
    }
    add_missing_meters(&plan, &mut meters);
    Ok(Mapping {
        name: raw.trace.name.clone().unwrap_or_else(|| origin.to_owned()),
        platform: raw.trace.platform.get_ref().trim().to_owned(),
        layout: compiler.layout,
        columns: compiler.columns,
        plan,
        meters,
    })
}

/// Says why the main meters are missing, and that wall is a sum.
fn add_missing_meters(plan: &Plan, meters: &mut Vec<(Meter, Provenance)>) {
    let has_run = plan.meters.iter().any(|meter| meter.target == Target::Run);
    for meter in [Meter::Wall, Meter::CpuTime, Meter::MemoryAllocated, Meter::MemoryPeak] {
        if meters.iter().any(|(known, _)| *known == meter) {
            continue;
        }
        let provenance = if meter == Meter::Wall && has_run {
            Provenance::from_source(Source::Log, "sum of the phases that the mapping has")
        } else {
            Provenance::missing("the mapping has no column for it")
        };
        meters.push((meter, provenance));
    }
}

fn compile_layout(trace: &RawTrace) -> Result<Layout, Problem> {
    let layout = *trace.format.get_ref();
    let csv_only = [
        ("delimiter", trace.delimiter.as_ref().map(Spanned::span)),
        ("header", trace.header.as_ref().map(Spanned::span)),
    ];
    for (key, span) in csv_only {
        if let Some(span) = span.filter(|_| layout != RawLayout::Csv) {
            return Err(Problem::new(&span, format!("`{key}` is for format = \"csv\" only")));
        }
    }
    if let Some(array) = trace.array.as_ref().filter(|_| layout != RawLayout::Json) {
        return Err(Problem::new(&array.span(), "`array` is for format = \"json\" only"));
    }
    Ok(match layout {
        RawLayout::Csv => Layout::Csv {
            delimiter: trace.delimiter.as_ref().map_or(Ok(b','), compile_delimiter)?,
            header: trace.header.as_ref().is_none_or(|header| *header.get_ref()),
        },
        RawLayout::Ndjson => Layout::Json { array_keys: &[] },
        RawLayout::Json => Layout::Json {
            array_keys: match &trace.array {
                // Once for each mapping file, of which a run reads a few.
                Some(key) => Vec::leak(vec![leak_text(key.get_ref().clone())]),
                None => &[],
            },
        },
        RawLayout::Parquet => Layout::Parquet,
    })
}

fn compile_delimiter(text: &Spanned<String>) -> Result<u8, Problem> {
    match text.get_ref().as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(Problem::new(&text.span(), "a delimiter is one character: `,`, `;`, `\\t`, `|`")),
    }
}

fn compile_notation(trace: &RawTrace) -> Result<NumberNotation, Problem> {
    let mut notation = NumberNotation::PLAIN;
    if let Some(text) = &trace.decimal {
        notation.decimal = match text.get_ref().as_str() {
            "." => '.',
            "," => ',',
            _ => return Err(Problem::new(&text.span(), "`decimal` is `.` or `,`")),
        };
    }
    if let Some(text) = &trace.group {
        let wrong = "`group` is `.`, `,`, `'` or a blank, and not the decimal mark";
        notation.group = match text.get_ref().as_str() {
            "." if notation.decimal != '.' => Some('.'),
            "," if notation.decimal != ',' => Some(','),
            "'" => Some('\''),
            " " => Some(' '),
            _ => return Err(Problem::new(&text.span(), wrong)),
        };
    }
    Ok(notation)
}

fn compile_zone(text: &Spanned<String>) -> Result<i32, Problem> {
    parse_zone(text.get_ref())
        .ok_or_else(|| Problem::new(&text.span(), "a zone is like \"+02:00\" or \"UTC\""))
}

/// Keeps a text for as long as the program runs: causes of rejects are such texts, and each
/// mapping file has a bounded number.
fn leak_text(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Collector of the columns that are used.
struct Compiler {
    layout: Layout,
    notation: NumberNotation,
    zone: Option<i32>,
    columns: Vec<Column>,
}

impl Compiler {
    /// Returns the number of a column, and adds it if it is new.
    fn add_column(&mut self, selector: &Selector, span: &Range<usize>) -> Result<usize, Problem> {
        let by_name = matches!(selector, Selector::Name(_) | Selector::Keys(_));
        let wrong = match self.layout {
            Layout::Csv { header: false, .. } if by_name => {
                Some("without a header, a column is a position from 1: column = 3")
            }
            Layout::Json { .. } | Layout::Parquet if !by_name => {
                Some("a column of JSON or Parquet has a name or a path: column = \"a.b\"")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(Problem::new(span, wrong));
        }
        if let Some(known) = self.columns.iter().position(|it| it.selector == *selector) {
            return Ok(known);
        }
        if self.columns.len() >= MAX_COLUMNS {
            return Err(Problem::new(span, format!("more than {MAX_COLUMNS} columns")));
        }
        let label = summarize_text(&selector.label(), 80);
        let missing = leak_text(format!("there is no column {label} of the mapping"));
        self.columns.push(Column { selector: selector.clone(), missing });
        Ok(self.columns.len() - 1)
    }

    fn compile_fields(&mut self, fields: &RawFields) -> Result<Plan, Problem> {
        let mut plan = Plan {
            function: self.compile_name(fields.function.as_ref())?,
            region: self.compile_name(fields.region.as_ref())?,
            instance: self.compile_name(fields.instance.as_ref())?,
            request: self.compile_name(fields.request.as_ref())?,
            started: self.compile_time(fields.started.as_ref())?,
            ended: self.compile_time(fields.ended.as_ref())?,
            cold: self.compile_values(fields.cold.as_ref())?,
            only: self.compile_values(fields.only.as_ref())?,
            ..Plan::default()
        };
        for (name, field) in [("instance", &fields.instance), ("request", &fields.request)] {
            if let Some(field) = field.as_ref().filter(|field| field.get_ref().column.is_none()) {
                let message = format!("`{name}` needs a column: it is another for each");
                return Err(Problem::new(&field.span(), message));
            }
        }
        if let Some(status) = &fields.status {
            plan.status = Some(self.compile_status(status)?);
        }
        if let Some(weight) = &fields.weight {
            plan.weight = Some(self.add_column(&weight.get_ref().column, &weight.span())?);
        }
        Ok(plan)
    }

    fn compile_name(&mut self, raw: Option<&Spanned<RawName>>) -> Result<Option<Name>, Problem> {
        let Some(raw) = raw else { return Ok(None) };
        let wrong = "either `column` or `value` is needed";
        match (&raw.get_ref().column, &raw.get_ref().value) {
            (Some(column), None) => {
                self.add_column(column, &raw.span()).map(|column| Some(Name::Column(column)))
            }
            (None, Some(value)) if !value.is_empty() => Ok(Some(Name::Value(value.clone()))),
            _ => Err(Problem::new(&raw.span(), wrong)),
        }
    }

    fn compile_time(
        &mut self,
        raw: Option<&Spanned<RawTime>>,
    ) -> Result<Option<TimeColumn>, Problem> {
        let Some(raw) = raw else { return Ok(None) };
        let time = raw.get_ref();
        let column = self.add_column(&time.column, &raw.span())?;
        let notation = compile_time_notation(&time.notation)?;
        let own = time.zone.as_ref().map(compile_zone).transpose()?;
        // Types of Parquet tell whether their numbers count from 1970 UTC.
        let may_lack_zone = notation.may_lack_zone() || self.layout == Layout::Parquet;
        if let Some(zone) = time.zone.as_ref().filter(|_| !may_lack_zone) {
            return Err(Problem::new(&zone.span(), "times in this notation have their zone"));
        }
        Ok(Some(TimeColumn { column, notation, zone_minutes: own.or(self.zone) }))
    }

    fn compile_values(
        &mut self,
        raw: Option<&Spanned<RawValues>>,
    ) -> Result<Option<ValueColumn>, Problem> {
        let Some(raw) = raw else { return Ok(None) };
        let RawValues { column, values } = raw.get_ref();
        if values.is_empty() {
            return Err(Problem::new(&raw.span(), "`values` is empty"));
        }
        let column = self.add_column(column, &raw.span())?;
        Ok(Some(ValueColumn { column, values: values.clone() }))
    }

    fn compile_status(&mut self, raw: &Spanned<RawStatus>) -> Result<StatusColumn, Problem> {
        let RawStatus { column, ok, failed, timeout } = raw.get_ref();
        if ok.is_empty() && failed.is_empty() && timeout.is_empty() {
            let message = "`status` needs values: failed = [\"error\", \"5*\"]";
            return Err(Problem::new(&raw.span(), message));
        }
        Ok(StatusColumn {
            column: self.add_column(column, &raw.span())?,
            ok: ok.clone(),
            failed: failed.clone(),
            timeout: timeout.clone(),
        })
    }

    fn compile_meter(
        &mut self,
        target: Target,
        raw: &Spanned<RawMeter>,
    ) -> Result<(MeterColumn, Provenance), Problem> {
        let meter = raw.get_ref();
        let unit = meter.unit.get_ref();
        let scale = target.find_scale(unit).map_err(|it| Problem::new(&meter.unit.span(), it))?;
        let (origin, source, place) = match (&meter.column, &meter.value) {
            (Some(column), None) => {
                let label = summarize_text(&column.label(), 80);
                let column = self.add_column(column, &raw.span())?;
                let causes = name_causes(&label);
                let origin = Origin::Column { column, scale, notation: self.notation, causes };
                (origin, Source::Log, format!("column {label} in {unit}"))
            }
            (None, Some(value)) => {
                let (number, text) = compile_constant(value, scale)?;
                (Origin::Value(number), Source::Plan, format!("{text} {unit} by the mapping"))
            }
            _ => return Err(Problem::new(&raw.span(), "either `column` or `value` is needed")),
        };
        let source = if meter.estimate { Source::Estimate } else { source };
        let note = match &meter.note {
            Some(note) => format!("{place}: {}", summarize_text(note, 200)),
            None => place,
        };
        Ok((MeterColumn { target, origin }, Provenance::from_source(source, note)))
    }
}

fn compile_time_notation(text: &Spanned<String>) -> Result<TimeNotation, Problem> {
    Ok(match text.get_ref().as_str() {
        "iso" => TimeNotation::Iso,
        "s" => TimeNotation::Epoch(UnitScale::SECONDS),
        "ms" => TimeNotation::Epoch(UnitScale::MILLISECONDS),
        "us" => TimeNotation::Epoch(UnitScale::MICROSECONDS),
        "ns" => TimeNotation::Epoch(UnitScale::ONE),
        pattern if pattern.contains('%') => TimeNotation::parse_pattern(pattern)
            .map_err(|message| Problem::new(&text.span(), message))?,
        other => {
            let message = format!(
                "unknown notation `{other}`: there are iso, s, ms, us and ns (since 1970), and \
                 patterns such as %d.%m.%Y %H:%M:%S"
            );
            return Err(Problem::new(&text.span(), message));
        }
    })
}

fn compile_constant(
    value: &Spanned<toml::Value>,
    scale: UnitScale,
) -> Result<(u64, String), Problem> {
    let text = match value.get_ref() {
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::String(text) => text.clone(),
        _ => return Err(Problem::new(&value.span(), "a value is a number")),
    };
    let causes = NumberCauses {
        number: "a value is a number",
        negative: "a value is not negative",
        range: "the value is too large",
    };
    let number = parse_quantity(text.as_bytes(), scale, causes);
    let number = number.map_err(|reject| Problem::new(&value.span(), reject.0))?;
    Ok((number, summarize_text(&text, 40)))
}

fn name_causes(label: &str) -> NumberCauses {
    NumberCauses {
        number: leak_text(format!("column {label}: no number")),
        negative: leak_text(format!("column {label}: a negative number")),
        range: leak_text(format!("column {label}: a number beyond 63 bits")),
    }
}
