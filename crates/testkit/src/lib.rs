//! Helpers that the tests of all crates have in common.

mod signals;

pub use signals::usual_signals;

/// Says on standard error that a test was skipped, past the test harness'
/// capture, so that a green run shows what it did not try.
///
/// # Panics
/// In CI, where `CYCLOMETER_REQUIRE_DOCKER=1` promises a Docker engine, for a
/// reason that has to do with it.
pub fn skip(reason: &str) {
    let required = std::env::var_os("CYCLOMETER_REQUIRE_DOCKER").is_some_and(|value| value == "1");
    let about_docker = reason.to_ascii_lowercase().contains("docker");
    assert!(!(required && about_docker), "Docker is required here, but: {reason}");
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    cyclometer_system::output::write_message(&format!("skipped: {test}: {reason}"));
}

/// Says that a test was skipped for want of `name`, like [`skip`].
///
/// # Panics
/// Where `CYCLOMETER_REQUIRE_RUNTIMES` lists that name.
pub fn skip_unless_required(name: &str, reason: &str) {
    let required = std::env::var("CYCLOMETER_REQUIRE_RUNTIMES").unwrap_or_default();
    assert!(!required.split(',').any(|it| it == name), "{name} is required here, but: {reason}");
    skip(reason);
}

/// CPU time of this thread: for limits that a busy machine must not break.
///
/// # Panics
/// Never on Linux, which has this clock.
#[must_use]
pub fn cpu_time() -> std::time::Duration {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    nix::time::clock_gettime(clock).expect("a clock of this thread").into()
}
