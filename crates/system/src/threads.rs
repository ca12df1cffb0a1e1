//! Starting threads, with the probable cause where the system refuses one.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use nix::sys::resource::Resource;

use crate::sys::soft_limit;

/// Starts a thread called `name`.
///
/// # Errors
/// Returns an error when the system refuses the thread, with its name and the limits that
/// may be the cause.
pub fn start_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(|error| missing_thread(name, &error))
}

/// Starts a thread called `name` that ends before `scope` does.
///
/// # Errors
/// Fails like [`start_thread`].
pub fn start_thread_within<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    let builder = Builder::new().name(name.to_owned());
    builder.spawn_scoped(scope, work).map_err(|error| missing_thread(name, &error))
}

fn missing_thread(name: &str, error: &io::Error) -> io::Error {
    let lacks =
        describe_limits(soft_limit(Resource::RLIMIT_AS), soft_limit(Resource::RLIMIT_NPROC));
    io::Error::new(error.kind(), format!("cannot start the thread `{name}`: {error}: {lacks}"))
}

/// Describes the limits of memory and of threads, either of which may be the cause.
fn describe_limits(memory: Option<u64>, threads: Option<u64>) -> String {
    let memory = memory.map(|bytes| {
        // `ulimit -v` counts in KiB.
        let kib = bytes >> 10;
        format!("its address space may be {kib} KiB at most (raise that by `ulimit -v`)")
    });
    let threads = threads.map(|number| {
        format!("this user may have {number} threads and processes (raise that by `ulimit -u`)")
    });
    match (memory, threads) {
        (Some(memory), Some(threads)) => format!("{memory}, and {threads}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "the machine, or its container, has no more memory or threads".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_missing_is_named_with_the_limits_that_there_are() {
        let error = io::Error::from_raw_os_error(libc::EAGAIN);
        let text = missing_thread("signals", &error).to_string();
        assert!(text.starts_with("cannot start the thread `signals`: Resource temp"), "{text}");
        assert_eq!(
            describe_limits(Some(200_000 << 10), None),
            "its address space may be 200000 KiB at most (raise that by `ulimit -v`)"
        );
        assert!(describe_limits(Some(1 << 30), Some(7)).contains("have 7 threads"));
    }

    #[test]
    fn a_thread_has_its_name() {
        let name = || std::thread::current().name().map(str::to_owned);
        let thread = start_thread("signals", name).expect("started");
        assert_eq!(thread.join().expect("ended").as_deref(), Some("signals"));
    }
}
