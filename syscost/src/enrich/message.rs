//! What the main process and the helper send each other: one message per packet, at most
//! [`MAX_QUESTION`] or [`MAX_ANSWER`] bytes long.
//!
//! A packet is the byte [`VERSION`] and a value in the format of `postcard`. New questions, answers and
//! reasons are added at the end of their enums. The id of a question comes back with its answer, so
//! that several questions can be on their way.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{mapping::Mapping, object::Object, process::Process};

/// The first byte of each packet. It changes when the format does.
pub(super) const VERSION: u8 = 1;

/// The longest question, bytes: version, id, variant, PID, start time, and a descriptor or an address.
pub(super) const MAX_QUESTION: usize = 64;

/// The longest answer, bytes: a path has less than 4096.
pub(super) const MAX_ANSWER: usize = 8192;

/// What can be asked about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Question {
    /// What a file descriptor refers to.
    Descriptor {
        /// The process that has the descriptor.
        of: Process,
        /// The descriptor's number.
        fd: u32,
    },
    /// What is mapped at an address.
    Address {
        /// The process that has the address space.
        of: Process,
        /// The address.
        address: u64,
    },
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What the descriptor refers to.
    Object(Object),
    /// What is mapped at the address.
    Mapping(Mapping),
}

/// Why there is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// The process has ended; another one may have its PID.
    #[error("the process has ended")]
    Gone,
    /// The process has no such descriptor, or none any more.
    #[error("the descriptor is not open")]
    NotOpen,
    /// Nothing is mapped at the address, or nothing any more.
    #[error("nothing is mapped there")]
    NotMapped,
    /// The kernel does not let the helper look: Yama's `ptrace_scope` is 3, or a security module refuses.
    #[error("the kernel does not permit it")]
    NotPermitted,
    /// A path of 4096 bytes or more, or a list of mappings of more than 16 MiB.
    #[error("the name is too long, or there are too many mappings")]
    TooLong,
    /// The kernel has failed in another way; the error number.
    #[error("the kernel says: error {0}")]
    Failed(i32),
    /// The helper has not answered in time. Told by the client.
    #[error("the helper does not answer")]
    NoAnswer,
    /// The helper has ended. Told by the client.
    #[error("the helper has ended")]
    HelperEnded,
    /// There is no helper, as this process has no CAP_SYS_PTRACE. Told by the client.
    #[error("needs CAP_SYS_PTRACE (try sudo)")]
    NoCapability,
    /// The helper could not be started. Told by the client.
    #[error("the helper could not be started")]
    NotStarted,
}

/// A question with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) question: Question,
}

/// An answer, or why there is none, with the id of its question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) id: u64,
    pub(super) answer: Result<Answer, Reason>,
}

/// The helper's first message: it is ready, or what it cannot give up.
pub(super) type Hello = Result<(), String>;

/// `value` as a packet.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let packet = postcard::to_extend(value, vec![VERSION]);
    // Only a type whose length is not known beforehand fails.
    packet.unwrap_or_default()
}

/// What a packet holds; `None` where it is not exactly one value of this version.
pub(super) fn decode<T: DeserializeOwned>(packet: &[u8]) -> Option<T> {
    let value = packet.strip_prefix(&[VERSION])?;
    let (value, rest) = postcard::take_from_bytes(value).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::enrich::{
        mapping::Backing,
        object::{Address, FileKind, Socket},
    };

    fn process() -> impl Strategy<Value = Process> {
        (any::<u32>(), any::<u64>()).prop_map(|(pid, started_ticks)| Process { pid, started_ticks })
    }

    fn question() -> impl Strategy<Value = Question> {
        prop_oneof![
            (process(), any::<u32>()).prop_map(|(of, fd)| Question::Descriptor { of, fd }),
            (process(), any::<u64>()).prop_map(|(of, address)| Question::Address { of, address }),
        ]
    }

    proptest! {
        #[test]
        fn questions_come_back_and_fit(id: u64, question in question()) {
            let packet = encode(&Asked { id, question });
            prop_assert!(packet.len() <= MAX_QUESTION);
            prop_assert_eq!(decode::<Asked>(&packet), Some(Asked { id, question }));
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes: Vec<u8>) {
            for packet in [bytes.clone(), [&[VERSION], &bytes[..]].concat()] {
                let asked = decode::<Asked>(&packet);
                let _ = decode::<Answered>(&packet);
                let _ = decode::<Hello>(&packet);
                prop_assert!(asked.is_none() || packet[0] == VERSION);
            }
        }

        #[test]
        fn a_packet_with_a_byte_more_or_less_is_refused(id: u64, question in question()) {
            let packet = encode(&Asked { id, question });
            prop_assert_eq!(decode::<Asked>(&packet[..packet.len() - 1]), None);
            prop_assert_eq!(decode::<Asked>(&[&packet[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn the_longest_answer_fits() {
        let address = Address::Unix(vec![b'x'; 108]);
        let answers = [
            Ok(Answer::Object(Object::File {
                path: vec![b'x'; 4095],
                deleted: true,
                kind: FileKind::Regular,
            })),
            Ok(Answer::Object(Object::Socket(Socket {
                ino: u64::MAX,
                family: u16::MAX,
                kind: u32::MAX,
                protocol: u32::MAX,
                listening: true,
                local: Some(address),
                peer: Some(Address::Inet(SocketAddr::from((Ipv6Addr::LOCALHOST, 65_535)))),
            }))),
            Ok(Answer::Mapping(Mapping {
                offset: u64::MAX,
                backing: Backing::File {
                    path: vec![b'x'; 4095],
                    deleted: true,
                    build_id: vec![0xff; 20],
                },
            })),
            Err(Reason::Failed(i32::MIN)),
        ];
        for answer in answers {
            let answered = Answered { id: u64::MAX, answer };
            let packet = encode(&answered);
            assert!(packet.len() <= MAX_ANSWER, "{}", packet.len());
            assert_eq!(decode(&packet), Some(answered));
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut packet = encode(&Hello::Ok(()));
        assert_eq!(decode::<Hello>(&packet), Some(Ok(())));
        packet[0] += 1;
        assert_eq!(decode::<Hello>(&packet), None);
        assert_eq!(decode::<Hello>(&[]), None);
    }
}
