//! A main process with its helper: asks whatever it is told to.

use std::{
    io::{BufRead, stdin},
    time::Duration,
};

use syscost::enrich::{Answer, Helper, Name, Names, Process, Question, Turn};

use super::say;

/// Starts the helper, and prints its PID, or why there is none. Then reads questions, `fd PID START FD` or
/// `address PID START ADDRESS`, and prints the name, or why there is none. To `wait`, prints what is said when
/// the helper ends. Ends with stdin.
pub(crate) fn ask() {
    let helper = Helper::start();
    match &helper {
        Ok(helper) => say(&format!("helper {}", helper.pid())),
        Err(not_started) => say(&format!("no helper: {not_started}")),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("an event loop").block_on(async {
        let mut names = Names::new(helper).expect("it can be waited for");
        for line in stdin().lock().lines() {
            let line = line.expect("text");
            let words: Vec<&str> = line.split(' ').collect();
            let number = |index: usize| words[index].parse::<u64>().expect("a number");
            if line == "wait" {
                let ended = tokio::time::timeout(Duration::from_secs(60), names.turn()).await;
                say(&format!("{:?}", ended.expect("something happens")));
                continue;
            }
            let of = Process { pid: number(1) as u32, started_ticks: number(2) };
            let question = match words[0] {
                "fd" => Question::Descriptor { of, fd: number(3) as u32 },
                "address" => Question::Address { of, address: number(3) },
                other => panic!("no question {other}"),
            };
            say(&settle(&mut names, question).await);
        }
    });
}

/// Asks until there is an answer. What is said when the helper ends comes before it.
async fn settle(names: &mut Names, question: Question) -> String {
    let mut said = String::new();
    loop {
        match names.look(question) {
            Name::Pending => {}
            Name::Known(Answer::Object(object)) => return said + &object.text(),
            Name::Known(Answer::Mapping(mapping)) => return said + &mapping.text(),
            Name::Unknown(reason) => return said + &format!("unknown: {reason}"),
        }
        if let Turn::Ended(what) = names.turn().await {
            said += &format!("{what}; ");
        }
    }
}
