// SPDX-License-Identifier: Apache-2.0
//! Where `mod_wsgi.server_metrics()` has httpd's scoreboard from: a daemon process asks the
//! supervisor, embedded mode asks httpd's side. Any thread may ask, with or without a request.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use mod_wsgi_protocol::scoreboard::{MAX_PART, Question, Scoreboard};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use crate::exchange::HostTable;
use crate::os::{self, Received, Socket, poll_readable};

/// Longest time that a thread waits for the scoreboard.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is asked.
enum Origin {
    /// The supervisor, over this socket, by one thread at a time.
    Supervisor(Mutex<Questions>),
    /// httpd's side of this process.
    Host(HostTable),
}

/// Questions to the supervisor.
struct Questions {
    /// The socket.
    socket: Socket,
    /// Number of the last question.
    number: u32,
}

/// Set once, before the process is ready, where the configuration allows it.
static ORIGIN: OnceCell<Origin> = OnceCell::new();

/// From now on the supervisor is asked.
pub(crate) fn ask_supervisor(socket: Socket) {
    let _ = ORIGIN.set(Origin::Supervisor(Mutex::new(Questions { socket, number: 0 })));
}

/// From now on httpd's side is asked.
pub(crate) fn ask_host(host: HostTable) {
    let _ = ORIGIN.set(Origin::Host(host));
}

/// httpd's scoreboard; None when the configuration does not allow it, in a process that the
/// application forked, and when nobody answers. It may take some time: called without the GIL.
pub(crate) fn get() -> Option<Scoreboard> {
    let origin = ORIGIN.get()?;
    if os::is_forked_child() {
        // Its questions would get between those of its parent.
        return None;
    }
    let deadline = Instant::now() + PATIENCE;
    let mut scoreboard = Scoreboard::default();
    match origin {
        Origin::Host(host) => {
            while scoreboard.whole().is_none() {
                scoreboard.take(0, &host.scoreboard(scoreboard.place())).ok()?;
            }
        }
        Origin::Supervisor(questions) => {
            let mut questions = questions.try_lock_until(deadline)?;
            while scoreboard.whole().is_none() {
                questions.ask(&mut scoreboard, deadline)?;
            }
        }
    }
    Some(scoreboard)
}

impl Questions {
    /// Asks for the next part.
    fn ask(&mut self, scoreboard: &mut Scoreboard, deadline: Instant) -> Option<()> {
        self.number = self.number.wrapping_add(1);
        let question = Question { number: self.number, place: scoreboard.place() }.encode();
        self.socket.send(&[IoSlice::new(&question)], None, false).ok()?;
        let mut message = vec![0; MAX_PART];
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            match poll_readable([Some(self.socket.descriptor())], Some(left)) {
                Ok([true]) => {}
                Ok([false]) => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return None,
            }
            let Ok(Received::Bytes(count)) = self.socket.receive(&mut message) else { return None };
            // An answer that nobody waited for any more is passed over.
            if scoreboard.take(self.number, message.get(..count)?).ok()? {
                return Some(());
            }
        }
    }
}
