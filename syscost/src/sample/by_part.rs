//! Serialises what is kept for each part of a latency under the part's name: `#[serde(with = "by_part")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use syscost_common::cell::{PARTS, PartOf};

#[derive(Serialize, Deserialize)]
struct ByPart<T> {
    on_cpu: T,
    runq: T,
    blocked: T,
}

/// # Errors
/// Those of `serializer`.
pub(super) fn serialize<T: Serialize, S: Serializer>(
    parts: &[T; PARTS],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let [on_cpu, runq, blocked] =
        [PartOf::OnCpu, PartOf::Runq, PartOf::Blocked].map(|of| &parts[of as usize]);
    ByPart { on_cpu, runq, blocked }.serialize(serializer)
}

/// # Errors
/// Those of `deserializer`.
pub(super) fn deserialize<'de, T, A, D>(deserializer: D) -> Result<A, D::Error>
where
    T: Deserialize<'de>,
    A: From<[T; PARTS]>,
    D: Deserializer<'de>,
{
    let ByPart { on_cpu, runq, blocked } = ByPart::deserialize(deserializer)?;
    let mut parts = [(PartOf::OnCpu, on_cpu), (PartOf::Runq, runq), (PartOf::Blocked, blocked)];
    parts.sort_by_key(|(of, _)| *of as usize);
    Ok(parts.map(|(_, part)| part).into())
}
