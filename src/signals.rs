//! Signals as ordinary events: stop requests become a flag, a file-size limit becomes a failed write, and a
//! mapped file that shrinks under the program ends it with a sentence instead of a bare crash.

use signal_hook::consts::{SIGBUS, SIGINT, SIGTERM, SIGXFSZ};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Once};

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(e) = signal_hook::flag::register(signal, flag.clone()) {
            tracing::warn!("signal {signal} cannot be caught ({e}): it will stop the program without saving");
        }
    }
    flag
});

/// From now on SIGINT and SIGTERM only set the flag that [`stop_requested`] reads; a long job polls it, saves
/// and ends with [`crate::error::Kind::Stopped`]. Signals that arrive while it saves change nothing.
pub fn catch_stop() {
    LazyLock::force(&STOP);
}

/// Whether a stop was requested since [`catch_stop`].
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// A write beyond the file-size limit (`ulimit -f`) fails with an error instead of killing the process.
pub fn survive_file_limits() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The flag is never read: registering any handler makes the write return EFBIG.
        if let Err(e) = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))) {
            tracing::warn!("a file-size limit cannot be caught: {e}");
        }
    });
}

/// Reading a mapped file that another process cuts off, or whose disk fails, raises SIGBUS: the process then
/// ends with exit code 74 and says why. Call it before mapping files.
pub fn explain_bus_errors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let explain = || {
            let text = b"error: a file was cut off, or its disk failed, while it was being read (SIGBUS)\n";
            rustix::io::write(std::io::stderr(), text).ok();
            signal_hook::low_level::exit(crate::error::Kind::Io.exit_code().into());
        };
        // SAFETY: the handler makes two system calls (write, _exit), both async-signal-safe, and allocates and
        // locks nothing: `stderr()` is a handle whose descriptor is a constant.
        if let Err(e) = unsafe { signal_hook::low_level::register(SIGBUS, explain) } {
            tracing::warn!("SIGBUS cannot be caught: {e}");
        }
    });
}
