//! Ctrl-C as a flag that long work looks at. A second Ctrl-C ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

/// The flag; set once the user has asked to stop. The first call takes over Ctrl-C.
pub fn flag() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    static HANDLER: Once = Once::new();
    let flag = FLAG.get_or_init(Arc::default).clone();
    HANDLER.call_once(|| {
        let flag = flag.clone();
        let handler = move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("stopping; Ctrl-C again ends at once");
        };
        if let Err(e) = ctrlc::set_handler(handler) {
            tracing::warn!("Ctrl-C will end the program at once: {e}");
        }
    });
    flag
}
