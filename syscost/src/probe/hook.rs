//! Programs and the tracepoints that they are attached to.

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, RawTracePoint, TracePoint, raw_trace_point::RawTracePointLink,
        tp_btf::BtfTracePointLink, trace_point::TracePointLink,
    },
};

use super::load;

/// A program of an object, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    program: &'static str,
    tracepoint: &'static str,
    way: Way,
}

/// How the kernel calls the program.
#[derive(Clone, Copy)]
enum Way {
    Btf,
    Raw,
    /// As one of perf's; its category.
    Perf(&'static str),
}

/// A hook and its attachment.
pub(super) struct Attached {
    hook: Hook,
    /// `None` while it is detached.
    link: Option<Link>,
}

impl Attached {
    pub(super) const fn tracepoint(&self) -> &'static str {
        self.hook.tracepoint
    }

    /// Detaches it. Returns while the program may still be running elsewhere.
    pub(super) fn detach(&mut self) {
        self.link = None;
    }

    /// Attaches it again, if it is not.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        if self.link.is_none() {
            self.link = Some(self.hook.link(ebpf)?);
        }
        Ok(())
    }
}

/// An attachment; closing it detaches.
#[expect(dead_code, reason = "held to be dropped")]
enum Link {
    Btf(BtfTracePointLink),
    Raw(RawTracePointLink),
    Perf(TracePointLink),
}

impl Hook {
    pub(super) const fn btf(program: &'static str, tracepoint: &'static str) -> Self {
        Self { program, tracepoint, way: Way::Btf }
    }

    pub(super) const fn raw(program: &'static str, tracepoint: &'static str) -> Self {
        Self { program, tracepoint, way: Way::Raw }
    }

    pub(super) const fn perf(
        program: &'static str,
        category: &'static str,
        tracepoint: &'static str,
    ) -> Self {
        Self { program, tracepoint, way: Way::Perf(category) }
    }

    pub(super) const fn tracepoint(&self) -> &'static str {
        self.tracepoint
    }

    /// Loads the program; `btf` is the kernel's, for those that take it.
    pub(super) fn load(&self, ebpf: &mut Ebpf, btf: Option<&Btf>) -> Result<()> {
        let Self { program, tracepoint, way } = *self;
        match way {
            Way::Btf => load::typed::<BtfTracePoint>(ebpf, program)?
                .load(tracepoint, btf.context("no BTF to load with")?),
            Way::Raw => load::typed::<RawTracePoint>(ebpf, program)?.load(),
            Way::Perf(_) => load::typed::<TracePoint>(ebpf, program)?.load(),
        }
        .with_context(|| format!("cannot load the program for `{tracepoint}`"))
    }

    /// Attaches the program, which is loaded.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<Attached> {
        Ok(Attached { hook: self, link: Some(self.link(ebpf)?) })
    }

    fn link(&self, ebpf: &mut Ebpf) -> Result<Link> {
        let Self { program, tracepoint, way } = *self;
        match way {
            Way::Btf => {
                let program: &mut BtfTracePoint = load::typed(ebpf, program)?;
                program.attach().and_then(|id| program.take_link(id)).map(Link::Btf)
            }
            Way::Raw => {
                let program: &mut RawTracePoint = load::typed(ebpf, program)?;
                program.attach(tracepoint).and_then(|id| program.take_link(id)).map(Link::Raw)
            }
            Way::Perf(category) => {
                let program: &mut TracePoint = load::typed(ebpf, program)?;
                program
                    .attach(category, tracepoint)
                    .and_then(|id| program.take_link(id))
                    .map(Link::Perf)
            }
        }
        .with_context(|| format!("cannot attach `{tracepoint}`"))
    }
}
