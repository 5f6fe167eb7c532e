//! The format number of serialised samples.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Marks a sample with the format that this program writes. It serialises as [`Format::NUMBER`].
///
/// Deserialising fails for a number that is 0, or greater than [`Format::NUMBER`]: a newer program wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format;

impl Format {
    /// The number. [`crate::sample`] says when it has to grow.
    pub const NUMBER: u32 = 1;
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1..=Self::NUMBER => Ok(Self),
            other => Err(D::Error::custom(format!(
                "sample format {other}: this version of syscost reads formats 1 to {}",
                Self::NUMBER
            ))),
        }
    }
}
