//! What a node said when it panicked: a panic is a finding, not the end.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does what may panic; if it does, answers with what the panic said and where.
///
/// The node is not used after a panic, so nobody sees it half changed.
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
