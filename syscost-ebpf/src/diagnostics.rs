//! Rare diagnostics: why a loss counter rose, for finding bugs with `--verbose`.
//!
//! Without `--verbose` the log level is 0 when the programs are loaded, and the verifier removes the body. It is one
//! function, out of line, because the code that formats a line would otherwise take registers from the hot path.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::warn;
use syscost_common::ledger::Counter;

/// Says that `counter` rises for the running thread, and two numbers that depend on the counter.
#[inline(always)]
pub(crate) fn report(ctx: &impl EbpfContext, counter: Counter, first: u64, second: u64) {
    log(ctx.as_ptr(), counter as u32, first, second);
}

#[inline(never)]
fn log(ctx: *mut core::ffi::c_void, counter: u32, first: u64, second: u64) {
    let ctx = Context(ctx);
    warn!(&ctx, "ledger counter {} rises: tid {}, {}, {}", counter, ctx.pid(), first, second);
}

struct Context(*mut core::ffi::c_void);

impl EbpfContext for Context {
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.0
    }
}
