// SPDX-License-Identifier: Apache-2.0
//! httpd's scoreboard as `mod_wsgi.server_metrics()` tells it. It may be longer than any message, so
//! it is asked for in parts: each question names the place where the part begins. Who answers keeps
//! nothing between two questions, and a part that comes too late is known by its number.

use crate::wire::{DecodeError, Reader, Write};

/// A part is complete when it has at least so many bytes.
const FULL: usize = 32 << 10;

/// Longest text of an entry.
pub const MAX_TEXT: usize = 64;

/// Most bytes of a part.
pub const MAX_PART: usize = FULL + 512;

/// Bytes of a question.
pub const QUESTION_SIZE: usize = 8;

/// Asks for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Comes back with the answer.
    pub number: u32,
    /// Where the part begins: 0 is the summary, then each process is followed by its workers.
    pub place: u32,
}

impl Question {
    /// The question as sent.
    #[must_use]
    pub fn encode(self) -> [u8; QUESTION_SIZE] {
        let mut message = [0; QUESTION_SIZE];
        let (number, place) = message.split_at_mut(4);
        number.copy_from_slice(&self.number.to_le_bytes());
        place.copy_from_slice(&self.place.to_le_bytes());
        message
    }

    /// The question in `bytes`.
    ///
    /// # Errors
    /// When the size is not [`QUESTION_SIZE`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() != QUESTION_SIZE {
            return Err(DecodeError::Truncated);
        }
        let mut reader = Reader::new(bytes);
        Ok(Self { number: reader.u32()?, place: reader.u32()? })
    }
}

/// What holds for all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Processes that it has room for.
    pub server_limit: u32,
    /// Workers of each.
    pub thread_limit: u32,
    /// Generation of the processes that should be serving.
    pub generation: i32,
    /// When httpd was started, µs since the epoch.
    pub restart_time: i64,
}

/// An httpd child.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Its process id; 0 where there is none.
    pub pid: u32,
    /// Its generation.
    pub generation: i32,
    /// It takes no more connections, and ends with those that it has.
    pub is_quiescing: bool,
}

/// A worker of an httpd child, and the request that it has, or had last. Without ExtendedStatus
/// only the first three are known. Times are µs since the epoch, 0 is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worker {
    /// Its number, as the child counts; 0 where there never was one.
    pub thread: i32,
    /// Generation of its process.
    pub generation: i32,
    /// What it is doing, as mod_status shows it.
    pub status: u8,
    /// Requests that were counted at this place.
    pub access_count: u64,
    /// Bytes that they were answered with.
    pub bytes_served: u64,
    /// When the request began.
    pub start_time: i64,
    /// When the one before it, or it, ended.
    pub stop_time: i64,
    /// When this entry was changed.
    pub last_used: i64,
    /// The client's address.
    pub client: Vec<u8>,
    /// The beginning of the request line.
    pub request: Vec<u8>,
    /// The virtual host.
    pub vhost: Vec<u8>,
}

/// Who can look at the scoreboard.
pub trait Source {
    /// What holds for all of it.
    fn summary(&self) -> Summary;
    /// The process at this place.
    fn process(&self, process: u32) -> Process;
    /// The worker at this place.
    fn worker(&self, process: u32, worker: u32) -> Worker;
}

/// The part that was asked for; without a source, an answer that has nothing.
#[must_use]
pub fn answer(question: Question, source: Option<&impl Source>) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_PART);
    out.put_u32(question.number);
    let Some(source) = source else { return out };
    let summary = source.summary();
    let mut place = question.place;
    while out.len() < FULL {
        match Place::of(place, &summary) {
            Place::Summary => put_summary(&mut out, &summary),
            Place::Process(process) => put_process(&mut out, &source.process(process)),
            Place::Worker(process, worker) => put_worker(&mut out, &source.worker(process, worker)),
            Place::End => break,
        }
        place += 1;
    }
    out
}

/// What stands at a place.
enum Place {
    Summary,
    Process(u32),
    Worker(u32, u32),
    End,
}

impl Place {
    fn of(place: u32, summary: &Summary) -> Self {
        let Some(place) = place.checked_sub(1) else { return Self::Summary };
        let entries = summary.thread_limit.saturating_add(1);
        let (process, entry) = (place / entries, place % entries);
        if process >= summary.server_limit {
            return Self::End;
        }
        entry.checked_sub(1).map_or(Self::Process(process), |worker| Self::Worker(process, worker))
    }
}

fn put_summary(out: &mut Vec<u8>, summary: &Summary) {
    out.put_u32(summary.server_limit);
    out.put_u32(summary.thread_limit);
    out.put_i64(summary.generation.into());
    out.put_i64(summary.restart_time);
}

fn put_process(out: &mut Vec<u8>, process: &Process) {
    out.put_u32(process.pid);
    out.put_i64(process.generation.into());
    out.put_u8(u8::from(process.is_quiescing));
}

fn put_worker(out: &mut Vec<u8>, worker: &Worker) {
    out.put_i64(worker.thread.into());
    out.put_i64(worker.generation.into());
    out.put_u8(worker.status);
    out.put_u64(worker.access_count);
    out.put_u64(worker.bytes_served);
    out.put_i64(worker.start_time);
    out.put_i64(worker.stop_time);
    out.put_i64(worker.last_used);
    for text in [&worker.client, &worker.request, &worker.vhost] {
        out.put_short_bytes(text.get(..MAX_TEXT).unwrap_or(text));
    }
}

/// A process with its workers.
pub type Child = (Process, Vec<Worker>);

/// A scoreboard while it is put together from its parts.
#[derive(Debug, Default)]
pub struct Scoreboard {
    /// What holds for all of it; None before the first part.
    summary: Option<Summary>,
    /// Processes with their workers.
    processes: Vec<Child>,
    /// Where the next part begins.
    place: u32,
}

impl Scoreboard {
    /// Where the next part begins.
    #[must_use]
    pub fn place(&self) -> u32 {
        self.place
    }

    /// The whole, once all parts have been taken.
    #[must_use]
    pub fn whole(&self) -> Option<(&Summary, &[Child])> {
        let summary = self.summary.as_ref()?;
        matches!(Place::of(self.place, summary), Place::End).then_some((summary, &self.processes))
    }

    /// Takes an answer to the question with this number. False when it answers another one.
    ///
    /// # Errors
    /// When it has not the next entries, at least one of them.
    pub fn take(&mut self, number: u32, answer: &[u8]) -> Result<bool, DecodeError> {
        let mut reader = Reader::new(answer);
        if reader.u32()? != number {
            return Ok(false);
        }
        loop {
            match self.summary.as_ref().map(|summary| Place::of(self.place, summary)) {
                None => self.summary = Some(summary(&mut reader)?),
                Some(Place::Process(_)) => {
                    self.processes.push((process(&mut reader)?, Vec::new()));
                }
                Some(Place::Worker(..)) => {
                    let worker = worker(&mut reader)?;
                    if let Some((_, workers)) = self.processes.last_mut() {
                        workers.push(worker);
                    }
                }
                Some(Place::Summary | Place::End) => {
                    return Err(DecodeError::Invalid("scoreboard entry"));
                }
            }
            self.place += 1;
            if reader.rest().is_empty() {
                return Ok(true);
            }
        }
    }
}

fn summary(reader: &mut Reader<'_>) -> Result<Summary, DecodeError> {
    Ok(Summary {
        server_limit: reader.u32()?,
        thread_limit: reader.u32()?,
        generation: small(reader)?,
        restart_time: reader.i64()?,
    })
}

fn process(reader: &mut Reader<'_>) -> Result<Process, DecodeError> {
    Ok(Process { pid: reader.u32()?, generation: small(reader)?, is_quiescing: reader.u8()? != 0 })
}

fn worker(reader: &mut Reader<'_>) -> Result<Worker, DecodeError> {
    Ok(Worker {
        thread: small(reader)?,
        generation: small(reader)?,
        status: reader.u8()?,
        access_count: reader.u64()?,
        bytes_served: reader.u64()?,
        start_time: reader.i64()?,
        stop_time: reader.i64()?,
        last_used: reader.i64()?,
        client: reader.short_bytes()?.to_vec(),
        request: reader.short_bytes()?.to_vec(),
        vhost: reader.short_bytes()?.to_vec(),
    })
}

fn small(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
    i32::try_from(reader.i64()?).map_err(|_| DecodeError::TooLarge("scoreboard number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scoreboard of this size.
    struct Board(u32, u32);

    impl Source for Board {
        fn summary(&self) -> Summary {
            Summary { server_limit: self.0, thread_limit: self.1, generation: -1, restart_time: 7 }
        }

        fn process(&self, process: u32) -> Process {
            Process { pid: 100 + process, generation: 2, is_quiescing: process == 1 }
        }

        fn worker(&self, process: u32, worker: u32) -> Worker {
            Worker {
                thread: i32::try_from(worker).unwrap(),
                status: b'W',
                access_count: u64::from(process),
                request: vec![b'r'; MAX_TEXT + 9],
                ..Worker::default()
            }
        }
    }

    fn collect(board: &Board) -> (Scoreboard, u32) {
        let (mut whole, mut number) = (Scoreboard::default(), 0);
        while whole.whole().is_none() {
            number += 1;
            let question = Question { number, place: whole.place() };
            let part = answer(Question::decode(&question.encode()).unwrap(), Some(board));
            assert!(part.len() <= MAX_PART);
            assert_eq!(whole.take(number, &part), Ok(true));
        }
        (whole, number)
    }

    #[test]
    fn a_scoreboard_is_put_together_from_its_parts() {
        for (processes, workers, parts) in [(0, 0, 1), (1, 1, 1), (3, 0, 1), (16, 64, 4)] {
            let board = Board(processes, workers);
            let (collected, questions) = collect(&board);
            let (summary, all) = collected.whole().unwrap();
            assert_eq!((*summary, questions), (board.summary(), parts));
            assert_eq!(all.len(), processes as usize);
            for ((process, its), number) in all.iter().zip(0..) {
                assert_eq!(*process, board.process(number));
                assert_eq!(its.len(), workers as usize);
                for (worker, thread) in its.iter().zip(0..) {
                    let mut expected = board.worker(number, thread);
                    expected.request.truncate(MAX_TEXT);
                    assert_eq!(*worker, expected);
                }
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let board = Board(2, 2);
        let part = answer(Question { number: 5, place: 0 }, Some(&board));
        assert_eq!(Scoreboard::default().take(6, &part), Ok(false));
        for end in 0..part.len() {
            let mut scoreboard = Scoreboard::default();
            let _ = scoreboard.take(5, &part[..end]);
            assert!(scoreboard.whole().is_none(), "{end}");
        }
        let mut scoreboard = Scoreboard::default();
        assert!(scoreboard.take(5, &[&part[..], &[0]].concat()).is_err());
        for (place, source) in [(u32::MAX, Some(&board)), (0, None)] {
            assert_eq!(answer(Question { number: 5, place }, source), [5, 0, 0, 0]);
        }
        assert!(Scoreboard::default().take(5, &[5, 0, 0, 0]).is_err());
    }
}
