//! Tests of base images against a real engine, where there is one.

use bollard::body_full;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::TryStreamExt;

use super::tests::{bench, workload};
use super::*;
use crate::Status;
use cyclometer_workload::{FunctionInput, NativeProgram, OutputDigest};

const BASE: &str = "cyclometer-test/base:1";

/// Imports a small base image, made as a person would make one.
fn import_base(engine: &Engine) {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [("etc/marker", "a base image\n"), ("etc/more", "x")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).expect("memory");
    }
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo("cyclometer-test/base")
        .tag("1")
        .build();
    let body = Some(body_full(archive.into_inner().expect("memory").into()));
    let answers = engine.docker.create_image(Some(options), body, None);
    engine.block_on(answers.try_for_each(async |_| Ok(()))).expect("imported");
}

#[test]
fn a_function_runs_on_a_base_image() {
    let Some(mut bench) = bench(None) else { return };
    import_base(&bench.lane.engine);
    let owner = bench.lane.owner.clone();
    bench.lane = DockerLane::open(None, Some(BASE), &owner, None).expect("opened");
    assert!(bench.lane.describe().version.ends_with(&format!("on {BASE}")));
    let job = bench.job(&["show", "/etc/marker"], FunctionInput::default());
    let made = bench.lane.prepare(&job, &Cancel::default()).expect("made");
    let again = bench.lane.prepare(&job, &Cancel::default()).expect("there");
    assert_eq!(again.took, None, "it is made once");
    for start in [StartKind::Cold, StartKind::Warm] {
        let outcome = bench.run(&Job { start, ..job.clone() });
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
        assert_eq!(outcome.output, Some(OutputDigest::from_content(b"a base image\n")));
    }
    let program = bench.workload.native.as_ref().expect("native").read_bytes().expect("read").len();
    let part = |word: &str| {
        let part = made.parts.iter().find(|part| part.name.contains(word));
        part.unwrap_or_else(|| panic!("no {word} in {:?}", made.parts)).bytes.0
    };
    println!("{:?}", made.parts);
    assert_eq!(part("base image"), 14);
    assert_eq!(part("program layer"), (program + starter_report::STARTER.len()) as u64);
    if bench.lane.info.reason_if_remote().is_none() {
        assert!(part("runtime") > 1_000_000 && part("shim") > 1_000_000);
    }
    let image = bench.image();
    bench.lane.close();
    let remove = |name: &str| {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let engine = &bench.lane.engine;
        engine.block_on(engine.docker.remove_image(name, Some(options), None)).expect("removed");
    };
    remove(&image.reference);
    remove(BASE);
}

#[test]
fn an_image_that_is_not_there_is_not_fetched() {
    let Some(bench) = bench(None) else { return };
    let owner = &bench.lane.owner;
    let Err(error) = DockerLane::open(None, Some("cyclometer-test/none:9"), owner, None) else {
        panic!("an image that does not exist was accepted");
    };
    let text = error.to_string();
    assert!(text.contains("never fetched") && text.contains("none:9"), "{text}");
}

#[test]
fn a_program_without_its_loader_says_so() {
    let Some(mut bench) = bench(None) else { return };
    import_base(&bench.lane.engine);
    let owner = bench.lane.owner.clone();
    bench.lane = DockerLane::open(None, Some(BASE), &owner, None).expect("opened");
    // This program's own tests are linked dynamically.
    let dynamic = NativeProgram::from_path("/bin/true".as_ref()).expect("there");
    bench.workload = Arc::new(workload("docker-lane-dynamic", dynamic));
    for start in [StartKind::Cold, StartKind::Warm] {
        let outcome = bench.run(&Job { start, ..bench.job(&[], FunctionInput::default()) });
        assert_eq!(outcome.status, Status::Failed);
        let reason = outcome.reason.unwrap_or_default();
        assert!(reason.contains("the loader that it is linked for"), "{reason}");
    }
}

#[test]
fn wasm_runtimes_are_told_by_their_names() {
    for name in ["io.containerd.wasmtime.v1", "io.containerd.spin.v2", "wasmedge"] {
        assert!(runs_wasm(name), "{name}");
    }
    for name in ["runc", "runsc", "io.containerd.kata.v2", "io.containerd.runc.v2"] {
        assert!(!runs_wasm(name), "{name}");
    }
}
