//! Panics of libraries that are expected of damaged input, and are told in the caller's words.

use std::cell::Cell;
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Ends the silence also when the work panics.
struct Silence {
    before: bool,
}

impl Drop for Silence {
    fn drop(&mut self) {
        IS_QUIET.set(self.before);
    }
}

/// Runs some work, and returns `None` if it panics; nothing is printed then. Panics of other
/// threads are told as before.
pub fn catch_quiet_panic<T>(work: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                before(panic);
            }
        }));
    });
    let _silence = Silence { before: IS_QUIET.replace(true) };
    catch_unwind(work).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_panics_of_the_work_are_quiet() {
        assert_eq!(catch_quiet_panic(|| 7), Some(7));
        assert!(!IS_QUIET.get());
        let inner = || {
            assert_eq!(catch_quiet_panic(|| u32::from(IS_QUIET.get())), Some(1));
            assert!(IS_QUIET.get(), "the outer one stays quiet");
            let other = std::thread::spawn(|| IS_QUIET.get());
            assert!(!other.join().expect("ends"), "another thread is not");
            assert!(std::hint::black_box(false), "expected of the input");
        };
        assert_eq!(catch_quiet_panic(inner), None);
        assert!(!IS_QUIET.get());
    }
}
