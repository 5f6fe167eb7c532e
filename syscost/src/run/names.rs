//! What file descriptors of calls in flight refer to, for `stat --names`: puts what the helper tells into the
//! model.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use tokio::time::{Instant, timeout_at};

use crate::{
    enrich::{Answer, Helper, Name, Names, NotStarted, Process, Question, Turn},
    model::{InFlight, Model},
};

/// Of how many calls descriptors are looked up, the oldest ones.
const MOST_CALLS: usize = 256;

/// How long to wait at the end for names that are being looked up. One takes a tenth of a millisecond.
const SETTLES: Duration = Duration::from_millis(200);

/// Names of file descriptors.
pub(super) struct DescriptorNames(Names);

impl DescriptorNames {
    /// Those that `helper` tells, if any. To be called within the runtime.
    ///
    /// # Errors
    /// When the event loop cannot wait for one more descriptor.
    pub(super) fn new(helper: Result<Helper, NotStarted>) -> Result<Self> {
        Names::new(helper).map(Self).context("cannot wait for the process that looks names up")
    }

    /// Puts the names that are known into the calls of `model` that are in flight. The others will be looked up.
    /// Whether there are such.
    pub(super) fn fill_in(&mut self, model: &mut Model) -> bool {
        let mut processes = BTreeMap::new();
        let mut any_pending = false;
        let calls = model.in_flight.iter_mut().flatten().take(MOST_CALLS);
        for InFlightOf { call, of } in
            calls.filter_map(|call| InFlightOf::new(call, &mut processes))
        {
            for fd in call.descriptors() {
                match self.0.look(Question::Descriptor { of, fd }) {
                    Name::Known(Answer::Object(object)) => {
                        call.descriptor_names.insert(fd, object.text());
                    }
                    Name::Pending => any_pending = true,
                    Name::Known(Answer::Mapping(_)) | Name::Unknown(_) => {}
                }
            }
        }
        any_pending
    }

    /// The same, and waits a moment for those that are being looked up. Returns what is to be said if the helper
    /// ends meanwhile.
    pub(super) async fn settle(&mut self, model: &mut Model) -> Option<String> {
        let until = Instant::now() + SETTLES;
        while self.fill_in(model) {
            match timeout_at(until, self.0.turn()).await {
                Ok(Turn::Answered) => {}
                Ok(Turn::Ended(what)) => return Some(what),
                Err(_) => break,
            }
        }
        None
    }

    /// Looks names up, until the helper ends, which may be never. What is to be said then.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            if let Turn::Ended(what) = self.0.turn().await {
                return what;
            }
        }
    }
}

/// A call whose process is known.
struct InFlightOf<'a> {
    call: &'a mut InFlight,
    of: Process,
}

impl<'a> InFlightOf<'a> {
    /// `None` where the process cannot be seen. `processes` has those that were asked for before.
    fn new(call: &'a mut InFlight, processes: &mut BTreeMap<u32, Option<Process>>) -> Option<Self> {
        let pid = call.thread.pid;
        let of = processes.entry(pid).or_insert_with(|| Process::now(pid).ok());
        of.map(|of| Self { call, of })
    }
}
