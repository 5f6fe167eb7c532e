//! Serialises an array of counters as pairs of index and count, without the zeros: `#[serde(with = "sparse")]`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// # Errors
/// Those of `serializer`.
pub(super) fn serialize<const N: usize, S: Serializer>(
    counters: &[u64; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let counters = counters.iter().enumerate().filter(|(_, count)| **count > 0);
    // Collected first: some formats want to know how many there are.
    serializer.collect_seq(counters.collect::<Vec<_>>())
}

/// # Errors
/// Those of `deserializer`; an index that is not below `N`, or not above the one before it.
pub(super) fn deserialize<'de, const N: usize, A, D>(deserializer: D) -> Result<A, D::Error>
where
    A: From<[u64; N]>,
    D: Deserializer<'de>,
{
    let mut counters = [0; N];
    let mut next = 0;
    for (index, count) in Vec::<(usize, u64)>::deserialize(deserializer)? {
        if index < next || index >= N {
            return Err(D::Error::custom(format!("bucket {index}: must be in {next}..{N}")));
        }
        counters[index] = count;
        next = index + 1;
    }
    Ok(counters.into())
}
