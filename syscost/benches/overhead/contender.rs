//! Everything whose cost is measured: the floors, syscost, and its peers.

use std::{thread, time::Duration};

use anyhow::Result;
use syscost::{
    probe::Probe,
    request::{HookChoice, Request},
    scope::Scope,
};

use crate::{
    floor::{self, Hook},
    peer::{self, Peer},
    work::Work,
    worker::Worker,
};

pub(crate) struct Contender {
    /// What `--only` takes.
    pub id: &'static str,
    /// As the table says it.
    pub name: &'static str,
    /// What is done meanwhile.
    pub work: Work,
    pub tracer: Tracer,
}

#[derive(PartialEq)]
pub(crate) enum Tracer {
    Floor(&'static [Hook]),
    /// Attached to the worker.
    OnTarget(HookChoice),
    /// Attached to another process than the worker.
    OnBystander(HookChoice),
    /// Attached to all processes.
    OnHost(HookChoice),
    Peer(&'static Peer),
}

/// How long the kernel is at work after somebody was attached or detached, longer than that: until then
/// it frees what was there before (RCU), which calls notice.
const SETTLED_AFTER: Duration = Duration::from_millis(300);

pub(crate) static CONTENDERS: [Contender; 16] = {
    use HookChoice::{Btf, Perf, Raw};
    use Tracer::{Floor, OnBystander, OnHost, OnTarget};
    [
        call("empty", "empty pair of programs", Floor(floor::EMPTY_PAIR)),
        call("floor", "two-clock floor", Floor(floor::TWO_CLOCKS)),
        call("target", "**syscost**, on its target", OnTarget(Btf)),
        call("bystander", "**syscost**, on a bystander", OnBystander(Btf)),
        call("host", "**syscost**, on all processes", OnHost(Btf)),
        call("target-raw", "syscost with raw hooks, on its target", OnTarget(Raw)),
        call("target-perf", "syscost with perf's hooks, on its target", OnTarget(Perf)),
        call("bystander-perf", "syscost with perf's hooks, on a bystander", OnBystander(Perf)),
        call("syscount", "libbpf-tools `syscount -L -p`", Tracer::Peer(&peer::SYSCOUNT)),
        call("bpftrace", "`bpftrace`, a `hist()` per syscall", Tracer::Peer(&peer::BPFTRACE)),
        call(
            "bpftrace-least",
            "`bpftrace`, the same without `@nr`",
            Tracer::Peer(&peer::BPFTRACE_LEAST),
        ),
        call("perf-trace", "`perf trace -s -p`", Tracer::Peer(&peer::PERF_TRACE)),
        call("strace", "`strace -c -f -p`", Tracer::Peer(&peer::STRACE)),
        switch("switch-empty", "empty programs on the same hooks", Floor(floor::EMPTY_ON_ALL)),
        switch("switch-bystander", "**syscost**, on a bystander", OnBystander(Btf)),
        switch("switch-target", "**syscost**, on its target", OnTarget(Btf)),
    ]
};

const fn call(id: &'static str, name: &'static str, tracer: Tracer) -> Contender {
    Contender { id, name, work: Work::Calls, tracer }
}

const fn switch(id: &'static str, name: &'static str, tracer: Tracer) -> Contender {
    Contender { id, name, work: Work::Switches, tracer }
}

pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    CONTENDERS.iter().map(|contender| contender.id)
}

impl Contender {
    /// Why it cannot be measured here.
    pub(crate) fn missing(&self) -> Option<String> {
        match self.tracer {
            Tracer::Peer(peer) if peer.place().is_none() => {
                Some(format!("{} is not installed", peer.program))
            }
            Tracer::OnTarget(HookChoice::Perf) | Tracer::OnBystander(HookChoice::Perf)
                if !peer::sees_tracefs() =>
            {
                Some("tracefs is not mounted".to_owned())
            }
            _ => None,
        }
    }

    /// The peer, if it is one: others must work.
    pub(crate) fn peer(&self) -> Option<&'static Peer> {
        match self.tracer {
            Tracer::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// What each piece of work takes while this contender is there, ns.
    pub(crate) fn ns(&self, worker: &mut Worker) -> Result<f64> {
        self.settled(worker, |worker| {
            // Slow ones have let the worker sleep for seconds.
            let less_by = if self.peer().is_some_and(|peer| peer.is_slow) { 10 } else { 1 };
            let batch = self.work.batch() / less_by;
            worker.ns(batch / 10)?;
            worker.ns(batch)
        })
    }

    /// What `measure` finds while this contender is there and the kernel has settled.
    pub(crate) fn settled<T>(
        &self,
        worker: &mut Worker,
        measure: impl FnOnce(&mut Worker) -> Result<T>,
    ) -> Result<T> {
        self.at_work(worker, |worker| {
            thread::sleep(SETTLED_AFTER);
            measure(worker)
        })
    }

    /// What `measure` finds while this contender is there.
    fn at_work<T>(
        &self,
        worker: &mut Worker,
        measure: impl FnOnce(&mut Worker) -> Result<T>,
    ) -> Result<T> {
        let pid = worker.pid();
        let (hooks, scope) = match self.tracer {
            Tracer::Floor(hooks) => {
                let _attached = floor::attach(hooks, pid)?;
                return measure(worker);
            }
            Tracer::Peer(peer) => return peer.at_work(pid, || measure(worker)),
            Tracer::OnTarget(hooks) => (hooks, Scope::Process(pid)),
            Tracer::OnBystander(hooks) => (hooks, Scope::Process(std::process::id())),
            Tracer::OnHost(hooks) => (hooks, Scope::Host),
        };
        let request = Request { hooks, scope, ..Request::process(pid) };
        let _probe = Probe::attach(&request)?;
        measure(worker)
    }
}
