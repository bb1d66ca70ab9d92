//! Catches panics of a node. A panic is a counterexample, and does not end the
//! simulator.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls `may_panic`. If it panics, returns the panic's message and location.
///
/// The node is not used after a panic, so its half-changed state is never seen.
pub(crate) fn guard<T>(may_panic: impl FnOnce() -> T) -> Result<T, String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_GUARDED.get() {
                LAST.set(info.to_string());
            } else {
                usual(info);
            }
        }));
    });
    let was_guarded = IS_GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(may_panic));
    IS_GUARDED.set(was_guarded);
    done.map_err(|_| LAST.take())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_is_told_with_its_place() {
        let said = super::guard(|| panic!("broken promise")).expect_err("it panics");
        assert!(said.contains("broken promise") && said.contains("panics.rs"), "{said}");
    }
}
