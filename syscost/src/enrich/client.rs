//! The main process's side: asks the helper, remembers its answers, and never waits for them.
//!
//! [`Names::look`] only looks at what is remembered. [`Names::turn`] sends and receives, beside whatever else the
//! event loop waits for. What the helper sends is not trusted: what is malformed ends it.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use super::{
    helper::{Helper, NotStarted},
    message::{self, Answer, Answered, Asked, MAX_ANSWER, Question, Reason},
};

/// How many questions are on their way at most. The kernel queues 10 packets (net.unix.max_dgram_qlen).
const ON_THEIR_WAY: usize = 8;

/// How many questions are remembered, with their answers.
const REMEMBERED: usize = 4096;

/// How long an answer holds: a descriptor may be closed and opened again as something else.
const HOLDS: Duration = Duration::from_secs(5);

/// How long to wait for an answer before it is said that there is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time between two questions, on average; some are asked at once.
const PACE: Duration = Duration::from_millis(2);

/// How many questions may be asked at once when none were asked before.
const AT_ONCE: u32 = 64;

/// What is known about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// It is being asked.
    Pending,
    /// The answer, at most some seconds old.
    Known(&'a Answer),
    /// There is no name.
    Unknown(Reason),
}

/// What [`Names::turn`] has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Some names may be known now that were not.
    Answered,
    /// The helper has ended. What to tell the user, once; all names are unknown from now on.
    Ended(String),
}

/// Names of descriptors and addresses, as far as the helper has told them.
#[derive(Debug)]
pub struct Names {
    helper: Option<AsyncFd<Link>>,
    /// Why there is no helper, if there is none.
    why: Reason,
    remembered: HashMap<Question, Entry>,
    to_ask: VecDeque<Question>,
    /// Asked, in this order, which is that of the answers.
    asked: VecDeque<Flight>,
    /// Whether the socket has no room before the next answer.
    is_full: bool,
    next_id: u64,
    /// When the pace is kept again: a question may be asked while that is less than `AT_ONCE` paces ahead.
    paced_until: Instant,
}

/// A helper whose socket can be waited for.
#[derive(Debug)]
struct Link(Helper);

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket.as_raw_fd()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

/// A question that is remembered.
#[derive(Debug)]
struct Entry {
    /// The latest answer, and when it came.
    answer: Option<(Result<Answer, Reason>, Instant)>,
    /// Whether it waits to be asked, or to be answered.
    is_asked: bool,
    looked_at: Instant,
}

/// A question on its way.
#[derive(Debug)]
struct Flight {
    id: u64,
    question: Question,
    /// When it is said that there is no answer; `None` once it is.
    until: Option<Instant>,
}

impl Names {
    /// Asks `helper`, or says of every name why there is none. To be called within the runtime.
    ///
    /// # Errors
    /// When the event loop cannot wait for one more descriptor.
    pub fn new(helper: Result<Helper, NotStarted>) -> io::Result<Self> {
        let (helper, why) = match helper {
            Ok(helper) => {
                // SAFETY: the link owns its socket, which stays open and the same for as long as it lives.
                let link =
                    unsafe { AsyncFd::register_with_interest(Link(helper), Interest::READABLE) };
                (Some(link?), Reason::HelperEnded)
            }
            Err(not_started) => (None, not_started.reason),
        };
        Ok(Self {
            helper,
            why,
            remembered: HashMap::new(),
            to_ask: VecDeque::new(),
            asked: VecDeque::new(),
            is_full: false,
            next_id: 0,
            paced_until: Instant::now(),
        })
    }

    /// What is known now. A question that has no answer, or an old one, is asked at a later [turn](Self::turn).
    pub fn look(&mut self, question: Question) -> Name<'_> {
        let now = Instant::now();
        if !self.remembered.contains_key(&question) {
            if self.helper.is_none() {
                return Name::Unknown(self.why);
            }
            if !self.make_room(now) {
                return Name::Pending;
            }
        }
        let entry = self.remembered.entry(question).or_insert(Entry {
            answer: None,
            is_asked: false,
            looked_at: now,
        });
        entry.looked_at = now;
        let holds = entry.holds(now);
        if !holds && self.helper.is_none() {
            return Name::Unknown(self.why);
        }
        if !holds && !entry.is_asked {
            entry.is_asked = true;
            self.to_ask.push_back(question);
        }
        match &entry.answer {
            None => Name::Pending,
            Some((Ok(answer), _)) => Name::Known(answer),
            Some((Err(reason), _)) => Name::Unknown(*reason),
        }
    }

    /// Forgets what was not looked at for some time, if there is no room. Whether there is some.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.remembered.len() >= REMEMBERED {
            let is_looked_at = |entry: &Entry| entry.looked_at + HOLDS > now;
            self.remembered.retain(|_, entry| entry.is_asked || is_looked_at(entry));
        }
        self.remembered.len() < REMEMBERED
    }

    /// Sends what is to be asked, and waits for answers. Completes when something has changed, never where there
    /// is no helper. Nothing is lost when the wait for it is given up.
    pub async fn turn(&mut self) -> Turn {
        loop {
            let now = Instant::now();
            if self.give_up(now) {
                return Turn::Answered;
            }
            if self.send(now).is_err() {
                return self.end();
            }
            let wake = self.wake(now);
            let Some(helper) = &self.helper else { return pending().await };
            let received = tokio::select! {
                received = receive(helper) => received,
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => continue,
            };
            if received.ok().and_then(|packet| self.take(&packet)).is_none() {
                return self.end();
            }
            return Turn::Answered;
        }
    }

    /// Sends questions, as many as may be on their way, and as fast as may be.
    fn send(&mut self, now: Instant) -> Result<(), Errno> {
        let Some(helper) = &self.helper else { return Ok(()) };
        while self.may_send() && self.paced_until <= now + PACE * AT_ONCE {
            let Some(question) = self.to_ask.front().copied() else { break };
            let id = self.next_id;
            match helper.get_ref().0.send(&message::encode(&Asked { id, question })) {
                Ok(()) => {}
                Err(Errno::AGAIN) if !self.asked.is_empty() => {
                    self.is_full = true;
                    break;
                }
                Err(errno) => return Err(errno),
            }
            self.to_ask.pop_front();
            self.next_id += 1;
            self.paced_until = self.paced_until.max(now) + PACE;
            self.asked.push_back(Flight { id, question, until: Some(now + PATIENCE) });
        }
        Ok(())
    }

    /// Whether one more question may be on its way.
    fn may_send(&self) -> bool {
        self.asked.len() < ON_THEIR_WAY && !self.is_full
    }

    /// When something is to be done without an answer: to ask more, or to give one up.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let paced = (self.may_send() && !self.to_ask.is_empty())
            .then(|| (self.paced_until - PACE * AT_ONCE).max(now));
        let given_up = self.asked.iter().find_map(|flight| flight.until);
        paced.into_iter().chain(given_up).min()
    }

    /// Says that there is no answer to what was asked too long ago. Whether there was such a question. The answer
    /// may still come.
    fn give_up(&mut self, now: Instant) -> bool {
        let mut any = false;
        for flight in &mut self.asked {
            if flight.until.take_if(|until| *until <= now).is_some()
                && let Some(entry) = self.remembered.get_mut(&flight.question)
            {
                entry.answer = Some((Err(Reason::NoAnswer), now));
                any = true;
            }
        }
        any
    }

    /// Takes in a packet. `None`: it is not the answer to the next question.
    fn take(&mut self, packet: &[u8]) -> Option<()> {
        let packet = Some(packet).filter(|packet| packet.len() <= MAX_ANSWER)?;
        let Answered { id, answer } = message::decode(packet)?;
        let flight = self.asked.pop_front_if(|flight| flight.id == id)?;
        let is_of_its_kind = match (&flight.question, &answer) {
            (_, Err(_))
            | (Question::Descriptor { .. }, Ok(Answer::Object(_)))
            | (Question::Address { .. }, Ok(Answer::Mapping(_))) => true,
            (_, Ok(_)) => false,
        };
        let entry = self.remembered.get_mut(&flight.question).filter(|_| is_of_its_kind)?;
        entry.answer = Some((answer, Instant::now()));
        entry.is_asked = false;
        self.is_full = false;
        Some(())
    }

    /// From now on there is no helper.
    fn end(&mut self) -> Turn {
        let Some(helper) = self.helper.take() else { return Turn::Answered };
        let helper = helper.into_inner().0;
        self.why = Reason::HelperEnded;
        self.to_ask.clear();
        self.asked.clear();
        Turn::Ended(format!(
            "names of files and addresses are not looked up any more: the process that did it (pid {}) has ended{}",
            helper.pid(),
            helper.ending()
        ))
    }
}

impl Entry {
    /// Whether the answer needs not be asked for again.
    fn holds(&self, now: Instant) -> bool {
        match &self.answer {
            None => false,
            // What has ended does not come back.
            Some((Err(Reason::Gone), _)) => true,
            Some((_, at)) => *at + HOLDS > now,
        }
    }
}

/// The next packet, once there is one.
async fn receive(helper: &AsyncFd<Link>) -> io::Result<Vec<u8>> {
    loop {
        let mut ready = helper.readable().await?;
        if let Ok(received) = ready.try_io(|link| Ok(link.get_ref().0.receive()?)) {
            return received;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use nix::unistd::Pid;
    use rustix::{
        fd::OwnedFd,
        net::{
            AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
        },
    };

    use super::*;
    use crate::enrich::{message::Hello, object::Object, process::Process};

    /// A process in the place of the helper, and its end of the socket, by which the test plays its part.
    struct Played {
        socket: OwnedFd,
        process: Child,
    }

    impl Played {
        fn start() -> (Self, Names) {
            let flags = SocketFlags::CLOEXEC;
            let (ours, its) =
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
            let process = Command::new("sleep").arg("600").spawn().unwrap();
            let played = Self { socket: its, process };
            played.send(&message::encode(&Hello::Ok(())));
            let helper = Helper::greeted(ours, Pid::from_raw(played.process.id() as i32)).unwrap();
            (played, Names::new(Ok(helper)).unwrap())
        }

        fn send(&self, packet: &[u8]) {
            send(&self.socket, packet, SendFlags::NOSIGNAL).unwrap();
        }

        /// The next question; `None` where there is none.
        fn asked(&self) -> Option<Asked> {
            let mut packet = [0; 100];
            match recv(&self.socket, packet.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => Some(message::decode(&packet[..length]).unwrap()),
                Err(errno) => {
                    assert_eq!(errno, Errno::AGAIN);
                    None
                }
            }
        }

        fn answer(&self, id: u64, answer: Answer) {
            self.send(&message::encode(&Answered { id, answer: Ok(answer) }));
        }
    }

    impl Drop for Played {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test);
    }

    fn fd(fd: u32) -> Question {
        Question::Descriptor { of: Process { pid: 1, started_ticks: 2 }, fd }
    }

    fn pipe(ino: u64) -> Answer {
        Answer::Object(Object::Pipe { ino })
    }

    /// Lets the client do what there is to do without an answer.
    async fn turn_in_vain(names: &mut Names) {
        let turn = tokio::time::timeout(Duration::from_millis(20), names.turn()).await;
        assert!(turn.is_err(), "{turn:?}");
    }

    #[test]
    fn a_name_is_pending_until_it_is_answered() {
        run(async {
            let (helper, mut names) = Played::start();
            assert_eq!(names.look(fd(5)), Name::Pending);
            assert_eq!(names.look(fd(5)), Name::Pending);
            assert_eq!(helper.asked(), None, "looking asks nobody");
            turn_in_vain(&mut names).await;
            assert_eq!(helper.asked(), Some(Asked { id: 0, question: fd(5) }));
            assert_eq!(helper.asked(), None, "it is asked once");
            helper.answer(0, pipe(7));
            assert_eq!(names.turn().await, Turn::Answered);
            assert_eq!(names.look(fd(5)), Name::Known(&pipe(7)));
            turn_in_vain(&mut names).await;
            assert_eq!(helper.asked(), None, "what is known is not asked");
        });
    }

    #[test]
    fn few_questions_are_on_their_way_and_none_is_lost() {
        run(async {
            let (helper, mut names) = Played::start();
            for number in 0..20 {
                assert_eq!(names.look(fd(number)), Name::Pending);
            }
            let mut most = 0;
            for number in 0..20 {
                turn_in_vain(&mut names).await;
                most = most.max(names.asked.len());
                let asked = helper.asked().unwrap();
                assert_eq!(asked, Asked { id: number.into(), question: fd(number) });
                helper.answer(asked.id, pipe(number.into()));
                assert_eq!(names.turn().await, Turn::Answered);
            }
            assert_eq!(most, ON_THEIR_WAY);
            for number in 0..20 {
                assert_eq!(names.look(fd(number)), Name::Known(&pipe(number.into())));
            }
        });
    }

    #[test]
    fn what_is_not_answered_in_time_is_unknown_until_it_is() {
        run(async {
            let (helper, mut names) = Played::start();
            assert_eq!(names.look(fd(5)), Name::Pending);
            assert_eq!(names.turn().await, Turn::Answered, "after some time");
            assert_eq!(names.look(fd(5)), Name::Unknown(Reason::NoAnswer));
            helper.answer(0, pipe(7));
            assert_eq!(names.turn().await, Turn::Answered);
            assert_eq!(names.look(fd(5)), Name::Known(&pipe(7)));
        });
    }

    #[test]
    fn what_is_no_answer_to_the_question_ends_the_helper() {
        let mapping = Answer::Mapping(crate::enrich::Mapping {
            offset: 0,
            backing: crate::enrich::Backing::Anonymous,
        });
        let answered = |id, answer| message::encode(&Answered { id, answer: Ok(answer) });
        for packet in [
            answered(1, pipe(7)),
            answered(0, mapping),
            [answered(0, pipe(7)), vec![0]].concat(),
            vec![0; MAX_ANSWER + 100],
            vec![message::VERSION],
        ] {
            run(async {
                let (mut helper, mut names) = Played::start();
                assert_eq!(names.look(fd(5)), Name::Pending);
                turn_in_vain(&mut names).await;
                helper.send(&packet);
                let pid = helper.process.id();
                let Turn::Ended(what) = names.turn().await else { panic!("it goes on") };
                assert!(
                    what.ends_with(&format!("(pid {pid}) has ended (killed by SIGKILL)")),
                    "{what}"
                );
                assert!(helper.process.try_wait().is_err(), "it is waited for");
                assert_eq!(names.look(fd(5)), Name::Unknown(Reason::HelperEnded));
                assert_eq!(names.look(fd(6)), Name::Unknown(Reason::HelperEnded));
                turn_in_vain(&mut names).await;
            });
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        run(async {
            let (_helper, mut names) = Played::start();
            for number in 0..REMEMBERED as u32 + 5 {
                assert_eq!(names.look(fd(number)), Name::Pending);
            }
            assert_eq!(names.remembered.len(), REMEMBERED);
            assert_eq!(names.to_ask.len(), REMEMBERED);
        });
    }

    #[test]
    fn without_a_helper_every_name_is_unknown_for_the_same_reason() {
        run(async {
            let reason = Reason::NoCapability;
            let mut names = Names::new(Err(NotStarted { reason, detail: String::new() })).unwrap();
            assert_eq!(names.look(fd(5)), Name::Unknown(reason));
            turn_in_vain(&mut names).await;
        });
    }
}
