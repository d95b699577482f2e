// SPDX-License-Identifier: Apache-2.0
//! Answers for `mod_wsgi.server_metrics()` in groups with `server-metrics=On`, which alone have the
//! socket for it. A question is two numbers, and an answer one message, so that nobody who asks
//! without end, or does not listen, holds up what else there is to do.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use mod_wsgi_protocol::scoreboard::{self, QUESTION_SIZE, Question};

use super::Supervisor;
use crate::httpd::scoreboard::Scoreboard;
use crate::os::socket::{self, receive_now};

impl Supervisor<'_> {
    /// Answers one question of a process; the others wait for the next turn.
    pub(super) fn hear_question(&mut self, key: u32) {
        let mut message = [0; QUESTION_SIZE + 1];
        let Some(process) = self.processes.get_mut(&key) else { return };
        let Some(metrics) = &process.metrics else { return };
        match receive_now(metrics.as_fd(), &mut message) {
            Ok(None) => {}
            Ok(Some(0)) | Err(_) => {
                let _ = self.epoll.remove(metrics.as_fd());
                process.metrics = None;
            }
            Ok(Some(length)) => {
                let question = Question::decode(message.get(..length).unwrap_or_default());
                if let Ok(question) = question {
                    let answer = scoreboard::answer(question, Scoreboard::get().as_ref());
                    // Who does not take its answers gets no more.
                    let _ = socket::send_message(metrics.as_fd(), &answer);
                }
            }
        }
    }
}
