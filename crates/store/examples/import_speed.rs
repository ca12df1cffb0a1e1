//! Speed and memory of an import: `import_speed LINES [report|whole] [parse|store] [FOLDER]`.
//!
//! Writes a log of that many REPORT lines into the folder (`report`: nothing else; `whole`: with
//! the START and END lines and a line of the function between), reads it (`parse`: into nothing;
//! `store`: into a database beside it), and prints lines a second of wall and CPU time and the
//! most memory that was resident.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cyclometer_core::invocation::Cancel;
use cyclometer_store::{Store, TraceWriter};
use cyclometer_system::files::read_kernel_text;
use cyclometer_trace::ImportSettings;
use cyclometer_trace::import::{
    FileHeader, ImportBatch, ImportPlan, ResumePoint, SinkError, TraceSink, run_import,
};
use cyclometer_trace::input::{identify_file, list_inputs};

/// Sink that keeps nothing.
struct Nothing(u64);

impl TraceSink for Nothing {
    fn begin_file(&mut self, _: &FileHeader) -> Result<(), SinkError> {
        Ok(())
    }

    fn store_batch(&mut self, batch: &ImportBatch) -> Result<(), SinkError> {
        self.0 += batch.rows.len() as u64;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize, default: &str| words.get(at).cloned().unwrap_or(default.to_owned());
    let lines: u64 = word(0, "1000000").parse()?;
    let folder = PathBuf::from(word(3, "/tmp"));
    let path = folder.join(format!("import-speed-{lines}-{}.log", word(1, "report")));
    if !path.exists() {
        write_log(&path, lines, word(1, "report") == "whole")?;
    }
    let file =
        list_inputs(std::slice::from_ref(&path)).map_err(|(_, error)| error)?.files.remove(0);
    let identity = identify_file(&file.open()?.ok_or("no file")?)?;
    let plan = ImportPlan {
        files: vec![(file, identity)],
        settings: ImportSettings::default(),
        format: None,
        rejects: folder.join("import-speed.rejects"),
    };
    let begun = Instant::now();
    let cancel = Cancel::default();
    let rows = if word(2, "store") == "parse" {
        let mut sink = Nothing(0);
        run_import(&plan, ResumePoint::default(), &mut sink, &cancel, &mut |_| {})?;
        sink.0
    } else {
        let database = folder.join("import-speed.db");
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", database.display()));
        }
        let mut writer = TraceWriter::begin(Store::open(&database)?, None, "{}")?;
        run_import(&plan, ResumePoint::default(), &mut writer, &cancel, &mut |_| {})?;
        println!("read and stored after {:.2} s", begun.elapsed().as_secs_f64());
        let rows = writer.files()?[0].rows;
        writer.finish(&[])?;
        rows
    };
    let wall = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds()?;
    let status = read_kernel_text("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per = |seconds: f64| rows as f64 / seconds;
    println!("{rows} rows: wall {wall:.2} s, {:.0} a second", per(wall));
    println!("CPU {cpu:.2} s, {:.0} a second; {peak}", per(cpu));
    Ok(())
}

/// Returns the CPU time of this process.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let value = time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        value
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Writes a log like those of a function with five memory sizes, one start in a hundred cold.
fn write_log(path: &Path, lines: u64, whole: bool) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::new();
    for _ in 0..lines {
        text.clear();
        let (one, two) = (next(), next());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            one >> 32,
            (one >> 16) & 0xffff,
            one & 0xfff,
            0x8000 | ((two >> 48) & 0x3fff),
            two & 0xffff_ffff_ffff
        );
        // Hundredths of a millisecond.
        let duration = 200 + next() % 60_000;
        let memory = [128, 256, 512, 1_024, 1_769][usize::try_from(next() % 5)?];
        if whole {
            writeln!(text, "START RequestId: {id} Version: $LATEST")?;
            writeln!(text, "2025-05-12T20:24:06.154Z\t{id}\tINFO\tresized 3 images")?;
            writeln!(text, "END RequestId: {id}")?;
        }
        write!(
            text,
            "REPORT RequestId: {id}\tDuration: {}.{:02} ms\tBilled Duration: {} ms\t\
             Memory Size: {memory} MB\tMax Memory Used: {} MB\t",
            duration / 100,
            duration % 100,
            duration.div_ceil(100),
            memory / 2 + next() % 40
        )?;
        if next() % 100 == 0 {
            write!(text, "Init Duration: {}.{:02} ms\t", 100 + next() % 400, next() % 100)?;
        }
        text.push('\n');
        out.write_all(text.as_bytes())?;
    }
    out.flush()?;
    Ok(())
}
