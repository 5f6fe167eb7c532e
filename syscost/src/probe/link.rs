//! A program at its tracepoint.

use std::any::Any;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{BtfTracePoint, RawTracePoint, TracePoint},
};

use super::{
    hooks::{Hook, Way},
    object,
};

/// A hook whose program is loaded. Dropping it detaches the program, which may still be running then.
pub(super) struct Link {
    hook: Hook,
    /// Aya's link, which detaches when it is dropped. `None` while the hook is detached.
    attached: Option<Box<dyn Any + Send>>,
}

impl Link {
    /// Attaches the program of `hook`.
    pub(super) fn attach(hook: Hook, ebpf: &mut Ebpf) -> Result<Self> {
        let mut link = Self { hook, attached: None };
        link.reattach(ebpf)?;
        Ok(link)
    }

    pub(super) const fn hook(&self) -> &Hook {
        &self.hook
    }

    /// Detaches the program. Returns while it may still be running on another CPU.
    pub(super) fn detach(&mut self) {
        self.attached = None;
    }

    /// Attaches the program if it is detached.
    pub(super) fn reattach(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        if self.attached.is_some() {
            return Ok(());
        }
        let attached = attach(&self.hook, ebpf);
        self.attached =
            Some(attached.with_context(|| format!("cannot attach `{}`", self.hook.tracepoint))?);
        Ok(())
    }
}

fn attach(hook: &Hook, ebpf: &mut Ebpf) -> Result<Box<dyn Any + Send>> {
    Ok(match hook.way {
        Way::Btf => {
            let program: &mut BtfTracePoint = object::program(ebpf, hook.program)?;
            Box::new(program.attach().and_then(|id| program.take_link(id))?)
        }
        Way::Raw => {
            let program: &mut RawTracePoint = object::program(ebpf, hook.program)?;
            let attached = program.attach(hook.tracepoint);
            Box::new(attached.and_then(|id| program.take_link(id))?)
        }
        Way::Perf(category) => {
            let program: &mut TracePoint = object::program(ebpf, hook.program)?;
            let attached = program.attach(category, hook.tracepoint);
            Box::new(attached.and_then(|id| program.take_link(id))?)
        }
    })
}
