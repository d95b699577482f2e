// SPDX-License-Identifier: Apache-2.0
//! Functions that our Python source takes from the Rust code: methods of one object.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use mod_wsgi_protocol::log::Origin;
use mod_wsgi_protocol::scoreboard::{Scoreboard, Worker};

use super::events;
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Method, MethodDefinition, NativeClassDefinition,
    Object, PyResult, Seat, This, clear_exception, method,
};
use crate::log::{self, Level};
use crate::metrics::{self, Thread};
use crate::os;
use crate::scoreboard;
use crate::wsgi::{Inside, is_logged, log_entry};

/// The object with the functions.
pub(crate) struct Api;

/// `log(level, text)` and `log(level, text, file, line)`: for the request of this thread, or for the
/// process. With the place in the source, each line is a record like the first.
struct Log;
impl Method<Api> for Log {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [level, text, place @ ..] = arguments else {
            return Err(py.raise(Class::Type, "log() takes a level and a text"));
        };
        let level = Level::from_number(level.to_integer(py)?);
        let text = encoded(py, text)?;
        let file;
        let mut entry = log::entry(level, text.as_bytes().unwrap_or_default());
        if let [name, line] = place {
            file = encoded(py, name)?;
            let file = file.as_bytes().unwrap_or_default();
            let line = u32::try_from(line.to_integer(py)?).unwrap_or(0);
            entry.origin = Some(Origin { file, line });
            entry.each_line = true;
        }
        log_entry(py, &entry);
        Ok(py.none())
    }
}

/// A `str` in UTF-8; lone surrogates are written as escape sequences.
fn encoded<'py>(py: Attached<'py>, text: &Borrowed<'_, 'py>) -> PyResult<Object<'py>> {
    let (encoding, errors) = (py.text("utf-8")?, py.text("backslashreplace")?);
    text.call_method(py, c"encode", [encoding.borrow(), errors.borrow()])
}

/// `logs(level)`: whether that is logged for the request of this thread, or for the process.
struct Logs;
impl Method<Api> for Logs {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [level] = arguments else {
            return Err(py.raise(Class::Type, "logs() takes a level"));
        };
        py.boolean(is_logged(Level::from_number(level.to_integer(py)?)))
    }
}

/// `request_data()`: a dict of the request of this thread.
struct RequestData;
impl Method<Api> for RequestData {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        events::request_data(py)
    }
}

/// `start_metrics()`: begins to record.
struct StartMetrics;
impl Method<Api> for StartMetrics {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        metrics::start();
        Ok(py.none())
    }
}

/// `process_numbers()`: what is known of the process, or None.
struct ProcessNumbers;
impl Method<Api> for ProcessNumbers {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let Some(process) = metrics::process() else { return Ok(py.none()) };
        let dict = py.dict()?;
        dict.set_entry_named(py, c"completed", &number(py, process.completed)?)?;
        dict.set_entry_named(py, c"busy", &number(py, process.busy)?)?;
        dict.set_entry_named(py, c"memory_max_rss", &number(py, os::most_memory())?)?;
        dict.set_entry_named(py, c"threads", &threads(py, &process.threads)?)?;
        Ok(dict)
    }
}

/// `interval_numbers()`: what is known of the time since it was called last, or None.
struct IntervalNumbers;
impl Method<Api> for IntervalNumbers {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let Some((interval, by_thread)) = metrics::take_interval() else { return Ok(py.none()) };
        let phases = py.dict()?;
        for (name, phase) in metrics::PHASES.into_iter().zip(&interval.phases) {
            let facts = [phase.count, phase.sum, phase.shortest, phase.longest];
            let (facts, buckets) = (numbers(py, &facts)?, numbers(py, &phase.buckets)?);
            let both = py.tuple([facts.borrow(), buckets.borrow()])?;
            phases.set_entry(py, py.text(name)?.borrow(), &both)?;
        }
        let dict = py.dict()?;
        dict.set_entry_named(py, c"start", &py.integer(interval.start)?)?;
        dict.set_entry_named(py, c"stop", &py.integer(interval.stop)?)?;
        dict.set_entry_named(py, c"cpu", &numbers(py, &interval.cpu_used)?)?;
        dict.set_entry_named(py, c"completed", &number(py, interval.completed)?)?;
        dict.set_entry_named(py, c"statuses", &numbers(py, &interval.statuses)?)?;
        dict.set_entry_named(py, c"gil_waits", &number(py, interval.gil_waits)?)?;
        dict.set_entry_named(py, c"traffic", &numbers(py, &interval.traffic)?)?;
        dict.set_entry_named(py, c"memory_max_rss", &number(py, os::most_memory())?)?;
        dict.set_entry_named(py, c"phases", &phases)?;
        dict.set_entry_named(py, c"threads", &threads(py, &by_thread)?)?;
        Ok(dict)
    }
}

/// `server_numbers()`: what httpd's scoreboard has, or None.
struct ServerNumbers;
impl Method<Api> for ServerNumbers {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let scoreboard = py.detach(scoreboard::get);
        let Some((summary, processes)) = scoreboard.as_ref().and_then(Scoreboard::whole) else {
            return Ok(py.none());
        };
        let limits = [summary.server_limit.into(), summary.thread_limit.into()];
        let summary = [limits[0], limits[1], summary.generation.into(), summary.restart_time];
        let all = py.list()?;
        for (process, its) in processes {
            let workers = py.list()?;
            for worker in its {
                workers.append(py, &worker_row(py, worker)?)?;
            }
            let facts =
                [process.pid.into(), process.generation.into(), process.is_quiescing.into()];
            let facts = row(py, &facts, &[])?;
            all.append(py, &py.tuple([facts.borrow(), workers.borrow()])?)?;
        }
        py.tuple([row(py, &summary, &[])?.borrow(), all.borrow()])
    }
}

fn worker_row<'py>(py: Attached<'py>, worker: &Worker) -> PyResult<Object<'py>> {
    let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
    row(
        py,
        &[
            worker.thread.into(),
            worker.generation.into(),
            count(worker.access_count),
            count(worker.bytes_served),
            worker.start_time,
            worker.stop_time,
            worker.last_used,
        ],
        &[&[worker.status], &worker.client, &worker.request, &worker.vhost],
    )
}

/// A list of numbers and, after them, texts.
fn row<'py>(py: Attached<'py>, numbers: &[i64], texts: &[&[u8]]) -> PyResult<Object<'py>> {
    let list = py.list()?;
    for number in numbers {
        list.append(py, &py.integer(*number)?)?;
    }
    for text in texts {
        list.append(py, &py.latin1(text)?)?;
    }
    Ok(list)
}

fn number<'py>(py: Attached<'py>, number: u64) -> PyResult<Object<'py>> {
    py.integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn numbers<'py>(py: Attached<'py>, numbers: &[u64]) -> PyResult<Object<'py>> {
    let list = py.list()?;
    for value in numbers {
        list.append(py, &number(py, *value)?)?;
    }
    Ok(list)
}

/// A list for each thread: its number, requests in all and in the interval, busy time, CPU time,
/// longest request, and when the one began that it runs (0 is none).
fn threads<'py>(py: Attached<'py>, threads: &BTreeMap<i64, Thread>) -> PyResult<Object<'py>> {
    let list = py.list()?;
    for (id, thread) in threads {
        let facts = [
            u64::try_from(*id).unwrap_or(0),
            thread.all,
            thread.completed,
            thread.busy,
            thread.cpu,
            thread.longest,
            u64::try_from(thread.current.unwrap_or(0)).unwrap_or(0),
        ];
        list.append(py, &numbers(py, &facts)?)?;
    }
    Ok(list)
}

/// `create_in_main(name, path)`: has the main interpreter look at an extension module, see
/// `guard_extensions`.
struct CreateInMain;
impl Method<Api> for CreateInMain {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [name, path] = arguments else {
            return Err(py.raise(Class::Type, "create_in_main() takes a name and a path"));
        };
        let main = py.interpreter().main();
        let (name, path) = (name.to_text(py)?, path.to_bytes_object(py)?);
        let path = path.as_bytes().unwrap_or_default().to_vec();
        // What runs there (destructors, too) is no part of this thread's request.
        let inside = Inside::of_none();
        py.detach(|| {
            let seat = Seat::take(main);
            seat.attach(|py| {
                let Some(constants) = py.interpreter().constants() else { return };
                let create = || {
                    let (name, path) = (py.text(&name)?, py.bytes(&path)?);
                    constants.support(py, c"create_extension", [name.borrow(), path.borrow()])
                };
                if create().is_err() {
                    // The interpreter that wants the module will see for itself.
                    clear_exception(py);
                }
            });
            seat.leave();
        });
        drop(inside);
        Ok(py.none())
    }
}

impl NativeClassDefinition for Api {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Api";
    const METHODS: &'static [MethodDefinition] = &[
        method::<Self, Log>(c"log"),
        method::<Self, Logs>(c"logs"),
        method::<Self, RequestData>(c"request_data"),
        method::<Self, StartMetrics>(c"start_metrics"),
        method::<Self, ProcessNumbers>(c"process_numbers"),
        method::<Self, IntervalNumbers>(c"interval_numbers"),
        method::<Self, ServerNumbers>(c"server_numbers"),
        method::<Self, CreateInMain>(c"create_in_main"),
        END_OF_METHODS,
    ];
}
