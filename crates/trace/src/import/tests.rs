//! Imports into memory: whole, cut off anywhere, and of files of all kinds.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::format::Reject;
use crate::input::{identify_file, list_inputs};
use crate::row::TraceRow;

/// Keeps what is committed, and fails after some batches.
#[derive(Debug, Default)]
struct MemorySink {
    committed: Kept,
    pending: Kept,
    batches_left: Option<usize>,
    batches: usize,
}

#[derive(Debug, Default, Clone)]
struct Kept {
    headers: Vec<FileHeader>,
    rows: Vec<TraceRow>,
    lines: Vec<u64>,
    cells: Vec<crate::batch::CellLabel>,
    instances: Vec<String>,
    leftovers: Vec<Vec<Leftover>>,
    checkpoint: FileCheckpoint,
    ended: usize,
    content: Vec<Option<String>>,
    digest: String,
}

impl TraceSink for MemorySink {
    fn begin_file(&mut self, header: &FileHeader) -> Result<(), SinkError> {
        if !header.goes_on {
            self.pending.headers.push(header.clone());
            self.pending.leftovers.push(Vec::new());
            self.pending.checkpoint = FileCheckpoint::default();
        }
        Ok(())
    }

    fn store_batch(&mut self, batch: &ImportBatch) -> Result<(), SinkError> {
        if self.batches_left.is_some_and(|left| left == self.batches) {
            return Err(SinkError("killed".to_owned()));
        }
        self.batches += 1;
        let kept = &mut self.pending;
        kept.rows.extend_from_slice(batch.rows.rows());
        kept.lines.extend_from_slice(&batch.lines);
        kept.cells.extend_from_slice(&batch.new_cells);
        kept.instances.extend_from_slice(&batch.new_instances);
        *kept.leftovers.last_mut().expect("a file") = batch.leftovers.clone();
        kept.checkpoint = batch.checkpoint.clone();
        kept.digest.clone_from(&batch.digest);
        if batch.ends_file {
            kept.ended += 1;
            kept.content.push(batch.content.clone());
        }
        if self.batches.is_multiple_of(2) {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.committed = self.pending.clone();
        Ok(())
    }
}

impl MemorySink {
    fn resume_point(&self) -> ResumePoint {
        let kept = &self.committed;
        let mut names = TraceNames::default();
        for cell in &kept.cells {
            names.find_or_add_cell(cell).expect("known");
        }
        for instance in &kept.instances {
            names.find_or_add_instance(instance).expect("known");
        }
        let goes_on = kept.headers.len() > kept.ended;
        ResumePoint {
            file: kept.ended,
            checkpoint: goes_on.then(|| kept.checkpoint.clone()),
            leftovers: if goes_on {
                kept.leftovers.last().cloned().unwrap_or_default()
            } else {
                Vec::new()
            },
            names,
            digest: kept.digest.clone(),
            rejects: kept.checkpoint.rejects,
        }
    }
}

fn plan(paths: &[PathBuf], rejects: &Path) -> ImportPlan {
    let list = list_inputs(paths).expect("listed");
    let identify = |file: InputFile| {
        let opened = file.open().expect("opened").expect("a file");
        let identity = identify_file(&opened).expect("read");
        (file, identity)
    };
    ImportPlan {
        files: list.files.into_iter().map(identify).collect(),
        settings: ImportSettings::default(),
        format: None,
        rejects: rejects.to_owned(),
    }
}

fn run(plan: &ImportPlan, sink: &mut MemorySink) -> Result<ImportEnd, SinkError> {
    let resume = sink.resume_point();
    sink.pending = sink.committed.clone();
    run_import(plan, resume, sink, &Cancel::default(), &mut |_| {})
}

fn log(lines: usize) -> String {
    let mut text = String::new();
    for line in 0..lines {
        let entry = match line % 5 {
            0 => format!("START RequestId: {line:032x}\n"),
            4 => format!("REPORT RequestId: {line:032x}\tDuration: x ms\tMemory Size: 128 MB\n"),
            _ => format!(
                "REPORT RequestId: {line:032x}\tDuration: {line}.25 ms\tBilled Duration: 1 ms\t\
                 Memory Size: {} MB\t\n",
                128 + line % 3
            ),
        };
        text.push_str(&entry);
    }
    text
}

#[test]
fn an_import_that_is_cut_anywhere_ends_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).expect("made");
    std::fs::write(logs.join("a.log"), log(20_000)).expect("written");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(log(9_000).as_bytes()).expect("compressed");
    std::fs::write(logs.join("b.log.gz"), gz.finish().expect("compressed")).expect("written");
    let rejects = folder.path().join("rejects");
    let plan = plan(std::slice::from_ref(&logs), &rejects);
    let mut whole = MemorySink::default();
    assert_eq!(run(&plan, &mut whole), Ok(ImportEnd::Complete));
    // 3 of 5 lines are good, 1 is a START, 1 is bad.
    assert_eq!(whole.committed.rows.len(), (20_000 + 9_000) / 5 * 3);
    assert_eq!(whole.committed.leftovers[0][0].records, 4_000);
    let told = std::fs::read_to_string(&rejects).expect("written");
    assert_eq!(told.lines().count(), (20_000 + 9_000) / 5);
    let mut digest_file =
        cyclometer_system::files::open_user_file(&logs.join("a.log")).expect("there");
    let size = digest_file.metadata().expect("there").len();
    let content = crate::input::digest_content(&mut digest_file, size, &Cancel::default());
    assert_eq!(whole.committed.content[0], content.expect("read"));
    for cut in 0..whole.batches {
        std::fs::remove_file(&rejects).expect("there");
        let mut sink = MemorySink { batches_left: Some(cut), ..MemorySink::default() };
        assert_eq!(run(&plan, &mut sink), Err(SinkError("killed".to_owned())));
        sink.batches_left = None;
        assert_eq!(run(&plan, &mut sink), Ok(ImportEnd::Complete));
        assert_eq!(sink.committed.digest, whole.committed.digest, "after {cut} batches");
        assert!(sink.committed.rows == whole.committed.rows);
        assert_eq!(sink.committed.lines, whole.committed.lines);
        assert_eq!(sink.committed.leftovers, whole.committed.leftovers);
        assert_eq!(std::fs::read_to_string(&rejects).expect("written"), told);
    }
}

#[test]
fn files_of_no_known_format_are_left_out_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join("logs").join(name), content).expect("written");
    };
    std::fs::create_dir(folder.path().join("logs")).expect("made");
    write("a.log", log(10).as_bytes());
    write("b.txt", b"nothing known\n");
    write("c.zip", b"PK\x03\x04....");
    write("d", b"");
    write("e.csv", b"\xff\xfea\0");
    let plan = plan(&[folder.path().join("logs")], &folder.path().join("rejects"));
    let mut sink = MemorySink::default();
    assert_eq!(run(&plan, &mut sink), Ok(ImportEnd::Complete));
    assert_eq!(sink.committed.rows.len(), 6);
    let told: Vec<_> =
        sink.committed.leftovers[1..].iter().map(|it| it[0].cause.to_string()).collect();
    assert_eq!(
        told,
        [
            "left out: of no known format: name one with --from",
            "left out: a zip archive: unpack it first",
            "left out: an empty file",
            "left out: text in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
        ]
    );
}

#[test]
fn rows_of_a_truncated_file_are_kept_and_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log.gz");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(log(50_000).as_bytes()).expect("compressed");
    let content = gz.finish().expect("compressed");
    std::fs::write(&path, &content[..content.len() / 2]).expect("written");
    let plan = plan(&[path], &folder.path().join("rejects"));
    let mut sink = MemorySink::default();
    assert_eq!(run(&plan, &mut sink), Ok(ImportEnd::Complete));
    assert!(sink.committed.rows.len() > 10_000, "{}", sink.committed.rows.len());
    let causes: Vec<_> = sink.committed.leftovers[0].iter().map(|it| it.cause.as_ref()).collect();
    assert!(causes.contains(&"cut off by the end of the input"), "{causes:?}");
    assert!(causes.iter().any(|it| it.starts_with("the input breaks off: ")), "{causes:?}");
    assert_eq!(sink.committed.content, [None]);
}

#[test]
fn a_cancelled_import_keeps_what_was_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    std::fs::write(&path, log(50_000)).expect("written");
    let plan = plan(&[path], &folder.path().join("rejects"));
    let cancel = Cancel::default();
    let mut sink = MemorySink::default();
    let mut tell = |progress: &ImportProgress| {
        if progress.rows > 0 {
            cancel.cancel();
        }
    };
    let end = run_import(&plan, ResumePoint::default(), &mut sink, &cancel, &mut tell);
    assert_eq!(end, Ok(ImportEnd::Cancelled));
    assert!(!sink.committed.rows.is_empty() && sink.committed.rows.len() < 30_000);
}

#[test]
fn a_nul_byte_and_too_many_rows_are_rejected() {
    struct Many;
    impl RecordReader for Many {
        fn read_record(
            &mut self,
            record: &crate::format::Record<'_>,
            names: &mut TraceNames,
            batch: &mut RowBatch,
        ) -> Result<crate::format::RecordOutcome, Reject> {
            let cell = names.find_or_add_cell(&crate::batch::CellLabel {
                platform: "p".into(),
                function: "f".into(),
                configuration: "any".into(),
                region: None,
                start: cyclometer_core::invocation::StartKind::Warm,
            })?;
            for _ in 0..record.bytes.len() * 40_000 {
                batch.push(TraceRow::new(cell, false));
            }
            Ok(crate::format::RecordOutcome::Rows)
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    std::fs::write(&path, b"a\nbb\nccc\n\0\n").expect("written");
    let mut plan = plan(&[path], &folder.path().join("rejects"));
    plan.format = Some(InputFormat {
        name: "many".into(),
        framing: Framing::Lines,
        platform: None,
        meters: Vec::new(),
        open: Arc::new(|_, _| Box::new(Many)),
        columns: None,
    });
    let mut sink = MemorySink::default();
    assert_eq!(run(&plan, &mut sink), Ok(ImportEnd::Complete));
    assert_eq!(sink.committed.rows.len(), 40_000 + 80_000);
    let rejected =
        sink.committed.leftovers[0].iter().filter(|it| it.kind == LeftoverKind::Rejected);
    let causes: Vec<_> = rejected.map(|it| it.cause.as_ref()).collect();
    assert_eq!(causes, ["a record of more than 100,000 invocations", "a NUL byte"]);
}

const COLUMNS: &str = r#"
[trace]
format = "parquet"
platform = "p"
[fields]
function = { column = "fn" }
[meters]
run = { column = "dur", unit = "ms" }
"#;

fn column_plan(paths: &[PathBuf], rejects: &Path) -> ImportPlan {
    let mapping = crate::mapping::parse_mapping(COLUMNS, "m.toml").expect("a mapping");
    ImportPlan { format: Some(mapping.into()), ..plan(paths, rejects) }
}

fn parquet_sample() -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/traces/parquet");
    Path::new(folder).join("pyarrow-zstd.parquet")
}

#[test]
fn a_parquet_import_that_is_cut_anywhere_ends_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("rejects");
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).expect("made");
    std::fs::copy(parquet_sample(), logs.join("a.parquet")).expect("copied");
    std::fs::copy(parquet_sample(), logs.join("b.parquet")).expect("copied");
    let plan = column_plan(&[logs], &rejects);
    let mut whole = MemorySink::default();
    assert_eq!(run(&plan, &mut whole), Ok(ImportEnd::Complete));
    // Row groups of 2, 2 and 1 rows, of which the third has no value and the last a negative one,
    // and a batch that ends the file.
    assert_eq!(whole.batches, 2 * 4);
    assert_eq!(whole.committed.lines, [1, 2, 4, 1, 2, 4]);
    let causes: Vec<_> = whole.committed.leftovers[0]
        .iter()
        .map(|it| (it.cause.as_ref(), it.first_lines.as_slice()))
        .collect();
    assert_eq!(
        causes,
        [
            (
                "no time in it: where others have one, it stands at that of a row beside it",
                &[1, 2, 4][..]
            ),
            ("a record without any meter of the mapping", &[3][..]),
            ("column `dur`: a negative number", &[5][..]),
        ]
    );
    assert_eq!(whole.committed.checkpoint.records, 5);
    let content = crate::input::to_hexadecimal(&<sha2::Sha256 as sha2::Digest>::digest(
        std::fs::read(parquet_sample()).expect("there"),
    ));
    assert_eq!(whole.committed.content, [Some(content.clone()), Some(content)]);
    let told = std::fs::read_to_string(&rejects).expect("written");
    assert!(told.contains("\"record\":\"fn=b, dur=-1\""), "{told}");
    for cut in 0..whole.batches {
        let _ = std::fs::remove_file(&rejects);
        let mut sink = MemorySink { batches_left: Some(cut), ..MemorySink::default() };
        assert_eq!(run(&plan, &mut sink), Err(SinkError("killed".to_owned())));
        sink.batches_left = None;
        assert_eq!(run(&plan, &mut sink), Ok(ImportEnd::Complete));
        assert_eq!(sink.committed.digest, whole.committed.digest, "after {cut} batches");
        assert!(sink.committed.rows == whole.committed.rows);
        assert_eq!(sink.committed.lines, whole.committed.lines);
        assert_eq!(sink.committed.leftovers, whole.committed.leftovers);
        assert_eq!(std::fs::read_to_string(&rejects).expect("written"), told);
    }
}

#[test]
fn parquet_that_cannot_be_read_is_left_out_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).expect("made");
    let whole = std::fs::read(parquet_sample()).expect("there");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(logs.join(name), content).expect("written");
    };
    write("a", b"");
    write("b", b"\x1f\x8b\x08\0");
    write("c", b"fn,dur\na,1\n");
    write("d", &whole[..whole.len() / 2]);
    let rejects = folder.path().join("rejects");
    let told = |plan: &ImportPlan| {
        let mut sink = MemorySink::default();
        assert_eq!(run(plan, &mut sink), Ok(ImportEnd::Complete));
        assert!(sink.committed.headers.iter().all(|it| it.format.is_empty()));
        let first = |it: &Vec<Leftover>| it[0].cause.to_string();
        sink.committed.leftovers.iter().map(first).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&column_plan(std::slice::from_ref(&logs), &rejects)),
        [
            "left out: an empty file",
            "left out: a compressed file, and the mapping is of Parquet: decompress it first",
            "left out: no Parquet file, and the mapping is of Parquet",
            "left out: it cannot be read as Parquet: it does not end in PAR1: it may be cut off",
        ]
    );
    // Without a mapping, it is said that one is needed.
    let causes = told(&plan(&[parquet_sample()], &rejects));
    assert!(causes[0].contains("a Parquet file: say with --map or --mapping"), "{causes:?}");
    // A mapping whose column the file lacks.
    let mut plan = plan(&[parquet_sample()], &rejects);
    let other = COLUMNS.replace("\"dur\"", "\"duration\"");
    plan.format = Some(crate::mapping::parse_mapping(&other, "m").expect("a mapping").into());
    assert_eq!(told(&plan), ["left out: there is no column `duration` of the mapping"]);
}
