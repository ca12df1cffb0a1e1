//! Properties that must hold of everything that workers, the launcher, engines and authors of
//! profiles may send, whatever it is: for fuzzing and for tests.

use crate::command::worker_protocol::{WorkerResponse, parse_response};
use crate::docker::frames::FrameDecoder;
use crate::docker::responses;
use crate::launcher;
use crate::profile::Profile;
use crate::wasmtime::protocol::WasmWorkerReport;
use cyclometer_core::units::Nanos;

/// Parses a text as a profile, which is usable, or refused in few words.
///
/// # Panics
/// Panics when it is neither.
pub fn profile_survives(text: &str) {
    let read = |name: &str| match name {
        "there.mjs" => Ok(b"script".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match crate::profile::resolve::parse_profiles("some", text, "some.toml", &read) {
        Ok(profiles) => {
            assert!(!profiles.is_empty(), "a file without a runtime was accepted");
            profiles.iter().for_each(profile_is_usable);
        }
        Err(error) => assert_bounded(&error.to_string(), text),
    }
}

/// Checks that every command line can be filled in, and holds nothing that exec would cut.
fn profile_is_usable(profile: &Profile) {
    assert_eq!(profile.base_name(), "some");
    let value = |name: &str| Some(format!("/{name}"));
    let lines = [Some(&profile.cold), profile.warm.as_ref(), profile.cleanup.as_ref()];
    let compile = profile.compile.as_ref().map(|it| &it.args);
    for line in lines.into_iter().flatten().chain(compile).chain([&profile.program.version_args]) {
        let line = line.expand(&value, &["x".to_owned()]).expect("every placeholder has a value");
        assert!(line.iter().all(|argument| !argument.contains('\0')), "NUL in an argument");
    }
    for need in &profile.needs {
        assert!(profile.need_variable(need).is_ascii());
    }
    let _ = profile.find_known_failure("nop", "some reason");
}

/// Checks that a message about a text is short, however long the text.
fn assert_bounded(message: &str, text: &str) {
    let most = 4096 + 2 * text.len().min(4096);
    assert!(message.len() <= most, "{} bytes of message", message.len());
}

/// Decodes bytes as the report of a worker, which once understood encodes to the same report.
///
/// # Panics
/// Panics when that does not hold.
pub fn worker_report_survives(bytes: &[u8]) {
    let Some(report) = WasmWorkerReport::decode(bytes) else { return };
    let again = WasmWorkerReport::decode(&report.encode()).expect("what was encoded is whole");
    let cut = |report: WasmWorkerReport| WasmWorkerReport { text: String::new(), ..report };
    assert!(report.text.starts_with(&again.text), "another text");
    assert_eq!(cut(again), cut(report));
}

/// Parses a line as one response, or refuses it in few words; a report is believed only within its
/// request.
///
/// # Panics
/// Panics when that does not hold.
pub fn worker_line_survives(bytes: &[u8]) {
    match parse_response(bytes) {
        Ok(WorkerResponse::Done(report)) => {
            let within = report.check_within_request(Nanos(1_000), Nanos(2_000)).is_ok();
            let told = [report.begun, report.started, report.ended];
            let holds = told.is_sorted() && told.iter().all(|it| (1_000..=2_000).contains(&it.0));
            assert_eq!(within, holds, "{report:?}");
        }
        Ok(WorkerResponse::Ready | WorkerResponse::TidiedUp) => {}
        Err(error) => assert!(error.to_string().len() < 4096, "a long message"),
    }
}

/// Decodes bytes as a message of the launcher.
///
/// # Panics
/// Panics when a message is longer than the longest kind.
pub fn launcher_answer_survives(bytes: &[u8]) {
    if let Some(answer) = launcher::messages::LauncherMessage::decode(bytes) {
        assert!(bytes.len() <= launcher::messages::LauncherMessage::LONGEST);
        let _ = (answer.kind(), answer.request_number());
    }
}

/// Parses everything that an engine, or process 1 of a container, may send as each of the expected
/// messages.
///
/// # Panics
/// Panics when that does not hold.
pub fn engine_reply_survives(bytes: &[u8]) {
    let _ = responses::parse_version(bytes);
    let _ = responses::parse_info(bytes);
    for container in responses::parse_containers(bytes).unwrap_or_default() {
        assert!(
            responses::is_path_safe_id(&container.id),
            "{:?} would be part of a path",
            container.id
        );
    }
    let _ = responses::parse_images(bytes);
    let _ = responses::parse_inspected_image("me/fn", bytes);
    let _ = responses::parse_layer_sizes(bytes);
    let _ = responses::parse_container_state(bytes, "cyclometer-1-2-boot-c3");
    let _ = responses::parse_command_state(bytes);
    let _ = responses::parse_event(bytes);
    let _ = responses::parse_pull_line(bytes);
    assert!(responses::parse_error_message(bytes).len() <= 4096, "a long message");
    let _ = responses::parse_starter_report(bytes, [0; 16]);
    let mut decoder = FrameDecoder::default();
    let _ = decoder.decode(bytes, |_, place| assert!(place.end <= bytes.len(), "{place:?}"));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = responses::parse_timestamp(text);
        assert!(responses::sanitize_engine_text(text).chars().count() <= 600, "a long text");
    }
}
