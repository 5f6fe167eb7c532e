//! The preflight report: will tracing work on this machine, and what will be missing?

/// What was found out about this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One entry for each thing looked at, in order.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub subject: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// How a finding bears on tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Tracing works, but something will be missing or slower.
    Limited,
    /// Tracing will not work.
    Bad,
}

impl Report {
    /// Whether tracing will work.
    pub fn works(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Bad)
    }
}

impl Finding {
    /// All is as it should be.
    pub fn good(subject: &'static str, detail: String) -> Self {
        Self { subject, verdict: Verdict::Good, detail }
    }

    /// Something will be missing or slower.
    pub fn limited(subject: &'static str, detail: String) -> Self {
        Self { subject, verdict: Verdict::Limited, detail }
    }

    /// Tracing will not work.
    pub fn bad(subject: &'static str, detail: String) -> Self {
        Self { subject, verdict: Verdict::Bad, detail }
    }
}
