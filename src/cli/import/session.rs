//! Running an import, or going on with one.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ImportOptions;
use super::options::ChosenReading;
use super::progress::ProgressView;
use super::summary;
use crate::cli::unfinished::{describe_own_command, describe_unfinished};
use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say, signals};
use crate::files::display_path;
use crate::lane::Cancel;
use crate::meter::{Meter, Provenance, Source};
use crate::report::format_count;
use crate::store::{Store, TraceWriter, UnfinishedImport};
use crate::trace::formats::find_format;
use crate::trace::import::{ImportEnd, ImportPlan, InputFormat, ResumePoint, run_import};
use crate::trace::input::{
    FileIdentity, InputFile, InputList, InputStream, digest_content, identify_file, list_inputs,
};

/// Bytes of a file by which a quick mapping finds out how it is divided.
const START: u64 = 64 << 10;

/// Import that is about to run.
pub(super) struct PreparedImport {
    pub plan: ImportPlan,
    /// Same for two commands that import the same files in the same way.
    fingerprint: String,
    description: Value,
    /// Paths that are left out, with the reason of each.
    pub skipped: Vec<(String, String)>,
    /// Paths that the user named.
    pub named: Vec<String>,
}

/// Removes an unfinished import.
pub(super) fn discard(common: &CommonOptions, trace: i64) -> CommandOutcome {
    let store = common.open_existing()?;
    let rows = store.discard_import(trace).map_err(CommandFailure::failed)?;
    say(&format!("the unfinished trace {trace} is removed, with {}", format_count(rows, "row")));
    Ok(ExitCode::SUCCESS)
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &ImportOptions) -> CommandOutcome {
    let cancel = signals::cancel_on_signals()?;
    let mut prepared = prepare(options, &cancel)?;
    let store = common.open_store_until(cancel.clone())?;
    if !options.again {
        prepared.leave_known_files_out(&store, &cancel)?;
    }
    prepared.identify_files();
    for (path, reason) in &prepared.skipped {
        say(&format!("left out: {path}: {reason}"));
    }
    let unfinished = store.list_unfinished_imports().map_err(CommandFailure::failed)?;
    let found = unfinished.iter().find(|it| fingerprint_of(it) == prepared.fingerprint);
    let (writer, resume) = match found {
        Some(found) => {
            check_owner(found)?;
            prepared.plan.rejects = rejects_of(found).unwrap_or(prepared.plan.rejects);
            resume_import(store, found, &prepared.plan)?
        }
        None => begin_import(store, options, &mut prepared, &unfinished)?,
    };
    let was_resumed = found.is_some();
    drive_import(common, writer, resume, &prepared, &cancel, was_resumed)
}

/// Finds the inputs, and identifies them.
fn prepare(options: &ImportOptions, cancel: &Cancel) -> Result<PreparedImport, CommandFailure> {
    let InputList { files, mut skipped } = list_inputs(&options.paths)
        .map_err(|(path, error)| CommandFailure::Failed(format!("cannot read {path}: {error}")))?;
    let mut identified: Vec<(InputFile, FileIdentity)> = Vec::new();
    for file in files {
        let identity = identify(&file)?;
        let same = identified.iter().find(|(other, known)| {
            !options.again && *known == identity && is_same_content(&file, other, &identity, cancel)
        });
        match same {
            Some((other, _)) => {
                let reason = format!("the same content as {} (--again reads it too)", other.path);
                skipped.push((file.path, reason));
            }
            None => identified.push((file, identity)),
        }
    }
    if identified.is_empty() {
        return Err(CommandFailure::failed("there is no file to import"));
    }
    let ChosenReading { settings, format, description } =
        options.reading.choose(|| read_start(&identified[0], cancel))?;
    let mut described = json!({ "format": description });
    described["settings"] = json!(format!("{settings:?}"));
    let plan = ImportPlan {
        files: identified,
        settings,
        format,
        rejects: options.rejects.clone().unwrap_or_default(),
    };
    let named = options.paths.iter().map(|path| display_path(path)).collect();
    let fingerprint = String::new();
    Ok(PreparedImport { plan, fingerprint, description: described, skipped, named })
}

impl PreparedImport {
    /// Leaves out files of folders that a trace has already.
    ///
    /// Fails if such a file was named, or if all files are known.
    fn leave_known_files_out(
        &mut self,
        store: &Store,
        cancel: &Cancel,
    ) -> Result<(), CommandFailure> {
        let known = find_known_files(store, &self.plan, cancel)?;
        let Some((trace, path)) = known.first() else { return Ok(()) };
        let is_named = |(_, path): &(i64, String)| self.named.contains(path);
        if known.len() == self.plan.files.len() || known.iter().any(is_named) {
            let others = match known.len() {
                1 => String::new(),
                count => format!(", and {} more of these files are known", count - 1),
            };
            return Err(CommandFailure::Failed(format!(
                "{path} is imported already: trace {trace} has it{others}; --again imports it \
                 once more"
            )));
        }
        for (trace, path) in known {
            self.plan.files.retain(|(file, _)| file.path != path);
            let reason = format!("trace {trace} has it already (--again reads it too)");
            self.skipped.push((path, reason));
        }
        Ok(())
    }

    /// Describes the files, by which the same command goes on with an import that was cut off.
    fn identify_files(&mut self) {
        let files = self.plan.files.iter();
        let files: Vec<Value> = files
            .map(|(file, identity)| json!({ "path": file.path, "identity": identity.digest }))
            .collect();
        self.description["files"] = json!(files);
        // A pipe cannot be read twice: nothing goes on with it.
        if self.plan.files.iter().all(|(_, identity)| identity.size.is_some()) {
            let digest = Sha256::digest(self.description.to_string().as_bytes());
            self.fingerprint = crate::workload::hex(&digest);
        }
    }
}

fn identify(file: &InputFile) -> Result<FileIdentity, CommandFailure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        CommandFailure::Failed(format!("cannot read {}: {error}", file.path))
    };
    match file.open().map_err(|error| unreadable(&error))? {
        None => Ok(FileIdentity { size: None, digest: String::new() }),
        Some(opened) => identify_file(&opened).map_err(|error| unreadable(&error)),
    }
}

/// Returns whether two files of the same size, beginning and end are the same throughout.
fn is_same_content(
    one: &InputFile,
    other: &InputFile,
    identity: &FileIdentity,
    cancel: &Cancel,
) -> bool {
    let digest = |file: &InputFile| content_digest(file, identity, cancel);
    identity.size.is_some() && digest(one).is_some_and(|it| digest(other) == Some(it))
}

fn content_digest(file: &InputFile, identity: &FileIdentity, cancel: &Cancel) -> Option<String> {
    let mut opened = file.open().ok().flatten()?;
    digest_content(&mut opened, identity.size?, cancel).ok().flatten()
}

/// Reads the beginning of a file, decompressed.
fn read_start(
    (file, identity): &(InputFile, FileIdentity),
    cancel: &Cancel,
) -> Result<Vec<u8>, CommandFailure> {
    if identity.size.is_none() {
        return Err(CommandFailure::usage(
            "--map needs a file, by whose beginning it finds out how columns are divided; for a \
             pipe, write a mapping file: `cyclometer import new`",
        ));
    }
    let unreadable = |error| CommandFailure::Failed(format!("cannot read {}: {error}", file.path));
    let opened = file.open().map_err(|error| unreadable(error.to_string()))?;
    let opened = opened.map(|opened| (opened, identity.size));
    let stream = InputStream::open(opened, 0, cancel).map_err(|it| unreadable(it.to_string()))?;
    let mut start = Vec::new();
    stream.take(START).read_to_end(&mut start).map_err(|it| unreadable(it.to_string()))?;
    Ok(start)
}

fn import_of(unfinished: &UnfinishedImport) -> Value {
    let plan: Value = serde_json::from_str(&unfinished.plan).unwrap_or_default();
    plan["import"].clone()
}

fn fingerprint_of(unfinished: &UnfinishedImport) -> String {
    import_of(unfinished)["fingerprint"]
        .as_str()
        .filter(|it| !it.is_empty())
        .unwrap_or("none")
        .to_owned()
}

fn rejects_of(unfinished: &UnfinishedImport) -> Option<PathBuf> {
    import_of(unfinished)["rejects"].as_str().map(PathBuf::from)
}

fn check_owner(found: &UnfinishedImport) -> Result<(), CommandFailure> {
    match found.process {
        Some(process) => Err(CommandFailure::Failed(format!(
            "process {process} is importing the same files as trace {}: wait for its end",
            found.recording
        ))),
        None => Ok(()),
    }
}

fn resume_import(
    store: Store,
    found: &UnfinishedImport,
    plan: &ImportPlan,
) -> Result<(TraceWriter, ResumePoint), CommandFailure> {
    let (writer, point) =
        TraceWriter::resume(store, found.recording).map_err(CommandFailure::failed)?;
    let line = point.checkpoint.as_ref().map_or(0, |it| it.position.lines) + 1;
    let has_rows = plan.format.as_ref().is_some_and(|it| it.columns.is_some());
    let what = if has_rows { "row" } else { "line" };
    match plan.files.get(point.file) {
        Some((file, _)) => say(&format!(
            "resuming at {what} {line} of {}: {} of trace {} are stored already",
            file.path,
            format_count(found.rows, "row"),
            found.recording
        )),
        None => say(&format!("all rows of trace {} are stored already", found.recording)),
    }
    Ok((writer, point))
}

fn begin_import(
    store: Store,
    options: &ImportOptions,
    prepared: &mut PreparedImport,
    unfinished: &[UnfinishedImport],
) -> Result<(TraceWriter, ResumePoint), CommandFailure> {
    for left in unfinished.iter().filter(|it| it.process.is_none()) {
        say(&describe_unfinished(left));
    }
    if options.rejects.is_none() {
        prepared.plan.rejects = new_rejects_path(&store)?;
    } else if prepared.plan.rejects.exists() {
        return Err(CommandFailure::Usage(format!(
            "{} exists already: name a new file with --rejects",
            display_path(&prepared.plan.rejects)
        )));
    }
    let mut described = prepared.description.clone();
    described["fingerprint"] = json!(prepared.fingerprint);
    described["command"] = json!(describe_own_command());
    described["rejects"] = json!(prepared.plan.rejects.to_string_lossy());
    let plan = json!({ "import": described }).to_string();
    let writer = TraceWriter::begin(store, options.label.as_deref(), &plan)
        .map_err(CommandFailure::failed)?;
    Ok((writer, ResumePoint::default()))
}

/// Returns the files that a trace has already, with the number of the trace.
fn find_known_files(
    store: &Store,
    plan: &ImportPlan,
    cancel: &Cancel,
) -> Result<Vec<(i64, String)>, CommandFailure> {
    let mut known: Vec<(i64, String)> = Vec::new();
    for (file, identity) in &plan.files {
        let found = store.find_imported_file(&identity.digest).map_err(CommandFailure::failed)?;
        let mut own = None;
        let same = found.into_iter().find(|it| match &it.content {
            // Read in part: size, beginning and end are all that is known.
            None => true,
            Some(content) => {
                let own = own.get_or_insert_with(|| content_digest(file, identity, cancel));
                own.as_ref() == Some(content)
            }
        });
        known.extend(same.map(|it| (it.recording, file.path.clone())));
    }
    Ok(known)
}

/// Returns a path beside the database that is not in use.
fn new_rejects_path(store: &Store) -> Result<PathBuf, CommandFailure> {
    let base = store.path().to_string_lossy().into_owned();
    let paths = (1..100_000).map(|number| PathBuf::from(format!("{base}.rejects-{number}.ndjson")));
    let free = paths.into_iter().find(|path| path.symlink_metadata().is_err());
    free.ok_or_else(|| CommandFailure::failed("100,000 files of rejected records are there"))
}

fn drive_import(
    common: &CommonOptions,
    mut writer: TraceWriter,
    resume: ResumePoint,
    prepared: &PreparedImport,
    cancel: &Cancel,
    was_resumed: bool,
) -> CommandOutcome {
    let plan = &prepared.plan;
    let trace = writer.recording();
    let sizes = plan.files.iter().map(|(_, identity)| identity.size);
    let mut view = ProgressView::new(sizes.sum());
    let mut stored = 0;
    let end = run_import(plan, resume, &mut writer, cancel, &mut |progress| {
        stored = progress.rows;
        view.show(progress);
    });
    view.clear();
    let goes_on = !prepared.fingerprint.is_empty();
    match end {
        Ok(ImportEnd::Complete) => {}
        Ok(ImportEnd::Cancelled) => {
            stop_import(writer, trace, goes_on);
            return Ok(signals::interrupted_status());
        }
        Err(error) => {
            stop_import(writer, trace, goes_on);
            return Err(CommandFailure::failed(error));
        }
    }
    let files = writer.files().map_err(CommandFailure::failed)?;
    if files.iter().all(|file| file.rows == 0) {
        let reasons = summary::describe_nothing(&files, &plan.rejects);
        let store = writer.close().map_err(CommandFailure::failed)?;
        store.discard_import(trace).map_err(CommandFailure::failed)?;
        return Err(CommandFailure::Failed(reasons));
    }
    let meters = list_meters(&writer, prepared)?;
    let store = writer.finish(&meters).map_err(CommandFailure::failed)?;
    if was_resumed {
        digest_parts(&store, trace, plan, cancel)?;
    }
    summary::print(common, &store, trace, prepared)
}

/// Leaves an import to be gone on with, or removes it if nothing can.
fn stop_import(writer: TraceWriter, trace: i64, goes_on: bool) {
    let closed = writer.close().and_then(|store| {
        if goes_on {
            let all = store.list_unfinished_imports()?;
            let rows = all.iter().find(|it| it.recording == trace).map_or(0, |it| it.rows);
            say(&format!(
                "{} of trace {trace} are stored, and not seen yet: the same command goes on with \
                 it, `cyclometer import --discard {trace}` removes it",
                format_count(rows, "row")
            ));
        } else {
            store.discard_import(trace)?;
            say("what was read of a pipe cannot be gone on with, and is removed");
        }
        Ok(())
    });
    if let Err(error) = closed {
        say(&format!("note: {error}"));
    }
}

/// Digests the files that were read in parts, so that they are noticed again.
fn digest_parts(
    store: &Store,
    trace: i64,
    plan: &ImportPlan,
    cancel: &Cancel,
) -> Result<(), CommandFailure> {
    for file in store.trace_files(trace).map_err(CommandFailure::failed)? {
        let is_read = !file.format.is_empty() && file.content.is_none();
        let Some((input, identity)) = plan.files.get(file.position).filter(|_| is_read) else {
            continue;
        };
        if let Some(content) = content_digest(input, identity, cancel) {
            let stored = store.set_content_digest(trace, file.position, &content);
            stored.map_err(CommandFailure::failed)?;
        }
    }
    Ok(())
}

/// Lists what the logs of each platform have and lack.
fn list_meters(
    writer: &TraceWriter,
    prepared: &PreparedImport,
) -> Result<Vec<(String, Meter, Provenance)>, CommandFailure> {
    let plan = &prepared.plan;
    let mut formats: Vec<InputFormat> = plan.format.clone().into_iter().collect();
    if formats.is_empty() {
        let files = writer.files().map_err(CommandFailure::failed)?;
        let mut names: Vec<&str> =
            files.iter().filter(|it| it.rows > 0).map(|it| it.format.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        formats = names.into_iter().filter_map(find_format).map(InputFormat::from).collect();
    }
    let mut all = Vec::new();
    for platform in writer.platforms().map_err(CommandFailure::failed)? {
        let own = |it: &&InputFormat| it.platform.as_ref().is_none_or(|own| *own == platform);
        let known: Vec<&(Meter, Provenance)> =
            formats.iter().filter(own).flat_map(|it| &it.meters).collect();
        for meter in Meter::ALL.iter().copied() {
            let of_meter = || known.iter().filter(|it| it.0 == meter).map(|it| &it.1);
            let mut found: Vec<Provenance> =
                of_meter().filter(|it| has_source(meter, it, plan)).cloned().collect();
            if found.is_empty() {
                let given = match meter {
                    Meter::MemoryAllocated => plan.settings.memory.map(|_| "given with --memory"),
                    Meter::VcpuAllocated => plan.settings.vcpu_milli.map(|_| "given with --vcpu"),
                    _ => None,
                };
                let missing = || Provenance::missing("the log does not have it");
                found.push(match given {
                    Some(note) => Provenance::from_source(Source::Plan, note),
                    None => of_meter()
                        .next()
                        .map_or_else(missing, |it| Provenance::missing(it.note.as_str())),
                });
            }
            found.dedup();
            all.extend(found.into_iter().map(|it| (platform.clone(), meter, it)));
        }
    }
    Ok(all)
}

/// Returns whether a format has a meter; what a user gives it has only if it is given.
fn has_source(meter: Meter, provenance: &Provenance, plan: &ImportPlan) -> bool {
    let is_given = match meter {
        Meter::MemoryAllocated => plan.settings.memory.is_some(),
        Meter::VcpuAllocated => plan.settings.vcpu_milli.is_some(),
        _ => true,
    };
    provenance.source.is_some_and(|source| source != Source::Plan || is_given)
}
