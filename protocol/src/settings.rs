// SPDX-License-Identifier: Apache-2.0
//! The settings of a Python process: first message on the control socket of a daemon process, and
//! what embedded mode hands over in memory.

use crate::region::Geometry;
use crate::wire::{DecodeError, Reader, Write};

/// Layout number of the encoding, checked before anything else is read.
const LAYOUT: u32 = 5;

/// A script that is loaded before the process is ready (WSGIImportScript, and a WSGIScriptAlias
/// whose two groups are written literally).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preload {
    /// Path of the script.
    pub script: Vec<u8>,
    /// Application group; empty is the main interpreter.
    pub application_group: Vec<u8>,
}

/// One `<WSGIInterpreterOptions>` that holds for the process, as far as its process group goes; what
/// it does not say stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// Application group that it holds for; None is all of them.
    pub application_group: Option<Vec<u8>>,
    /// WSGIPythonPath, colon-separated; in front of what the layers before it have put there.
    pub python_path: Option<Vec<u8>>,
    /// WSGISwitchInterval, nanoseconds.
    pub switch_interval: Option<u64>,
    /// WSGIPerInterpreterGIL.
    pub own_gil: Option<bool>,
    /// WSGIRestrictStdin.
    pub restrict_stdin: Option<bool>,
    /// WSGIRestrictStdout.
    pub restrict_stdout: Option<bool>,
    /// WSGIRestrictSignal.
    pub restrict_signal: Option<bool>,
}

/// All that the Python side needs to know of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`crate::BUILD_ID`] of the sender.
    pub build_id: Vec<u8>,
    /// Name of the process group; empty in embedded mode.
    pub process_group: Vec<u8>,
    /// Application group of the set that this process belongs to, where it is known already;
    /// used by the main interpreter when `interpreters` is off.
    pub application_group: Option<Vec<u8>>,
    /// Application groups other than "" get sub-interpreters (embedded mode, and
    /// `isolation=interpreter`); otherwise all run in the main interpreter.
    pub interpreters: bool,
    /// Most application groups that get sub-interpreters; 0 is unlimited.
    pub application_groups: u32,
    /// Worker threads (daemon mode), or the MPM's threads per child.
    pub threads: u32,
    /// Processes (daemon mode), or the MPM's maximum number of children.
    pub processes: u32,
    /// `wsgi.multithread`.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// `wsgi.run_once`.
    pub run_once: bool,
    /// `home=`; goes to `sys.path[0]`.
    pub home: Option<Vec<u8>>,
    /// `python-path=` or WSGIPythonPath, colon-separated.
    pub python_path: Option<Vec<u8>>,
    /// `python-eggs=` or WSGIPythonEggs: `PYTHON_EGG_CACHE` in `os.environ` of every interpreter.
    pub python_eggs: Option<Vec<u8>>,
    /// `switch-interval=` or WSGISwitchInterval, nanoseconds.
    pub switch_interval: Option<u64>,
    /// WSGIPerInterpreterGIL: sub-interpreters have a GIL of their own, from Python 3.12 on.
    pub own_gil: bool,
    /// WSGIDestroyInterpreter Off: at the end only subscribers of the shutdown are told, and nothing
    /// of Python is finalised.
    pub skip_finalisation: bool,
    /// PYTHONHASHSEED is in the environment because of WSGIPythonHashSeed, and does not belong into
    /// `os.environ`.
    pub hide_hash_seed: bool,
    /// The process loads its scripts and then forks workers when it is told to (`preload=on`); it
    /// takes no requests itself.
    pub is_template: bool,
    /// `<WSGIInterpreterOptions>`, the most specific last.
    pub layers: Vec<Layer>,
    /// `display-name=`, with `%{GROUP}` resolved.
    pub display_name: Option<Vec<u8>>,
    /// `locale=`; LC_ALL is in the environment already.
    pub locale: Option<Vec<u8>>,
    /// WSGIRestrictStdin.
    pub restrict_stdin: bool,
    /// WSGIRestrictStdout.
    pub restrict_stdout: bool,
    /// WSGIRestrictSignal.
    pub restrict_signal: bool,
    /// WSGICaseSensitivity.
    pub case_sensitivity: bool,
    /// `maximum-requests=`; 0 is unlimited.
    pub maximum_requests: u64,
    /// The process stands by: it loads nothing before it is told to begin.
    pub stands_by: bool,
    /// `reload=keep`: code that does not load does not replace code that did.
    pub keeps_old_code: bool,
    /// `reload-on=modules`: a changed file of an imported module is a changed script.
    pub watches_modules: bool,
    /// Seconds for one read or write on a connection; 0 is without limit.
    pub socket_timeout: u32,
    /// SO_SNDBUF of connections, bytes; 0 leaves the system's.
    pub send_buffer_size: u32,
    /// SO_RCVBUF of connections, bytes; 0 leaves the system's.
    pub receive_buffer_size: u32,
    /// Seconds after which a request that has waited is answered 504 instead of run; 0 is off.
    pub queue_timeout: u32,
    /// Seconds for the first script to load; 0 is without limit, as for the seconds below.
    pub startup_timeout: u32,
    /// Seconds for one request, before they are scaled by the number of threads.
    pub request_timeout: u32,
    /// Seconds for a request to end once `RequestTimeout` was raised in it; 0 raises nothing.
    pub interrupt_timeout: u32,
    /// Seconds without a request after which the process leaves.
    pub inactivity_timeout: u32,
    /// Seconds in which the GIL must be had.
    pub deadlock_timeout: u32,
    /// Age in seconds at which the process is replaced.
    pub restart_interval: u32,
    /// In place of `graceful_timeout` for SIGUSR1, where it is not 0.
    pub eviction_timeout: u32,
    /// WSGISlowRequests, microseconds; 0 is off.
    pub slow_requests: u64,
    /// `server-metrics=` or WSGIServerMetrics: httpd's scoreboard may be looked at.
    pub server_metrics: bool,
    /// Bytes of stack of each thread; 0 is the system's default.
    pub stack_size: u64,
    /// Seconds that running requests have after a graceful reason.
    pub graceful_timeout: u32,
    /// Seconds from the decision to stop until the process is ended; 0 is without limit.
    pub shutdown_timeout: u32,
    /// The least urgent level that httpd logs for the server of the process (syslog numbers, and
    /// above 7 trace): what belongs to no request.
    pub log_level: u8,
    /// User id that the other end of a connection must have.
    pub peer_uid: u32,
    /// Index of this process in the group's shared memory; of no meaning to a template.
    pub process_slot: u32,
    /// Index of its set in the group's shared memory.
    pub set: u32,
    /// How the group's shared memory is divided; all zero in embedded mode.
    pub geometry: Geometry,
    /// Version of the httpd that the module was compiled against.
    pub apache_version: (u32, u32, u32),
    /// Path of the httpd server's description, as `apache.description` shows it.
    pub apache_description: Vec<u8>,
    /// When the running httpd was built, in its own words.
    pub apache_build_date: Vec<u8>,
    /// Name of httpd's MPM.
    pub apache_mpm: Vec<u8>,
    /// Most processes that the MPM can have.
    pub apache_processes: u32,
    /// Threads of each of them.
    pub apache_threads: u32,
    /// Scripts to load before the process is ready.
    pub preload: Vec<Preload>,
}

impl Settings {
    /// The settings as sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.put_u32(LAYOUT);
        out.put_long_bytes(&self.build_id);
        out.put_long_bytes(&self.process_group);
        put_optional(&mut out, self.application_group.as_deref());
        for flag in [
            self.interpreters,
            self.multithread,
            self.multiprocess,
            self.run_once,
            self.restrict_stdin,
            self.restrict_stdout,
            self.restrict_signal,
            self.case_sensitivity,
            self.own_gil,
            self.skip_finalisation,
            self.hide_hash_seed,
            self.is_template,
            self.stands_by,
            self.keeps_old_code,
            self.watches_modules,
            self.server_metrics,
        ] {
            out.put_u8(u8::from(flag));
        }
        out.put_u32(self.application_groups);
        out.put_u32(self.threads);
        out.put_u32(self.processes);
        put_optional(&mut out, self.home.as_deref());
        put_optional(&mut out, self.python_path.as_deref());
        put_optional(&mut out, self.python_eggs.as_deref());
        put_optional_u64(&mut out, self.switch_interval);
        put_optional(&mut out, self.display_name.as_deref());
        put_optional(&mut out, self.locale.as_deref());
        out.put_u64(self.maximum_requests);
        out.put_u32(self.socket_timeout);
        out.put_u32(self.send_buffer_size);
        out.put_u32(self.receive_buffer_size);
        out.put_u32(self.queue_timeout);
        for seconds in [
            self.startup_timeout,
            self.request_timeout,
            self.interrupt_timeout,
            self.inactivity_timeout,
            self.deadlock_timeout,
            self.restart_interval,
            self.eviction_timeout,
        ] {
            out.put_u32(seconds);
        }
        out.put_u64(self.slow_requests);
        out.put_u64(self.stack_size);
        out.put_u32(self.graceful_timeout);
        out.put_u32(self.shutdown_timeout);
        out.put_u8(self.log_level);
        out.put_u32(self.peer_uid);
        out.put_u32(self.process_slot);
        out.put_u32(self.set);
        let Geometry { children, slots, processes, sets } = self.geometry;
        for number in [children, slots, processes, sets] {
            out.put_u32(number);
        }
        let (major, minor, patch) = self.apache_version;
        out.put_u32(major);
        out.put_u32(minor);
        out.put_u32(patch);
        out.put_long_bytes(&self.apache_description);
        out.put_long_bytes(&self.apache_build_date);
        out.put_long_bytes(&self.apache_mpm);
        out.put_u32(self.apache_processes);
        out.put_u32(self.apache_threads);
        out.put_u32(u32::try_from(self.preload.len()).unwrap_or(0));
        for preload in &self.preload {
            out.put_long_bytes(&preload.script);
            out.put_long_bytes(&preload.application_group);
        }
        out.put_u32(u32::try_from(self.layers.len()).unwrap_or(0));
        for layer in &self.layers {
            put_optional(&mut out, layer.application_group.as_deref());
            put_optional(&mut out, layer.python_path.as_deref());
            put_optional_u64(&mut out, layer.switch_interval);
            for choice in
                [layer.own_gil, layer.restrict_stdin, layer.restrict_stdout, layer.restrict_signal]
            {
                out.put_u8(choice.map_or(2, u8::from));
            }
        }
        out
    }

    /// The build id alone, which stands in the same place in every layout, so that artifacts of
    /// different builds can name each other.
    ///
    /// # Errors
    /// When the message ends before it.
    pub fn decode_build_id(bytes: &[u8]) -> Result<&[u8], DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.u32()?;
        reader.long_bytes()
    }

    /// The settings in `bytes`.
    ///
    /// # Errors
    /// When the layout is another one, or the message ends early.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != LAYOUT {
            return Err(DecodeError::Invalid("settings layout"));
        }
        let reader = &mut reader;
        let mut settings = Self {
            build_id: reader.long_bytes()?.to_vec(),
            process_group: reader.long_bytes()?.to_vec(),
            application_group: optional(reader)?,
            interpreters: flag(reader)?,
            multithread: flag(reader)?,
            multiprocess: flag(reader)?,
            run_once: flag(reader)?,
            restrict_stdin: flag(reader)?,
            restrict_stdout: flag(reader)?,
            restrict_signal: flag(reader)?,
            case_sensitivity: flag(reader)?,
            own_gil: flag(reader)?,
            skip_finalisation: flag(reader)?,
            hide_hash_seed: flag(reader)?,
            is_template: flag(reader)?,
            stands_by: flag(reader)?,
            keeps_old_code: flag(reader)?,
            watches_modules: flag(reader)?,
            server_metrics: flag(reader)?,
            application_groups: reader.u32()?,
            threads: reader.u32()?,
            processes: reader.u32()?,
            home: optional(reader)?,
            python_path: optional(reader)?,
            python_eggs: optional(reader)?,
            switch_interval: optional_u64(reader)?,
            display_name: optional(reader)?,
            locale: optional(reader)?,
            maximum_requests: reader.u64()?,
            socket_timeout: reader.u32()?,
            send_buffer_size: reader.u32()?,
            receive_buffer_size: reader.u32()?,
            queue_timeout: reader.u32()?,
            startup_timeout: reader.u32()?,
            request_timeout: reader.u32()?,
            interrupt_timeout: reader.u32()?,
            inactivity_timeout: reader.u32()?,
            deadlock_timeout: reader.u32()?,
            restart_interval: reader.u32()?,
            eviction_timeout: reader.u32()?,
            slow_requests: reader.u64()?,
            stack_size: reader.u64()?,
            graceful_timeout: reader.u32()?,
            shutdown_timeout: reader.u32()?,
            log_level: reader.u8()?,
            peer_uid: reader.u32()?,
            process_slot: reader.u32()?,
            set: reader.u32()?,
            geometry: Geometry {
                children: reader.u32()?,
                slots: reader.u32()?,
                processes: reader.u32()?,
                sets: reader.u32()?,
            },
            apache_version: (reader.u32()?, reader.u32()?, reader.u32()?),
            apache_description: reader.long_bytes()?.to_vec(),
            apache_build_date: reader.long_bytes()?.to_vec(),
            apache_mpm: reader.long_bytes()?.to_vec(),
            apache_processes: reader.u32()?,
            apache_threads: reader.u32()?,
            preload: Vec::new(),
            layers: Vec::new(),
        };
        for _ in 0..reader.u32()? {
            settings.preload.push(Preload {
                script: reader.long_bytes()?.to_vec(),
                application_group: reader.long_bytes()?.to_vec(),
            });
        }
        for _ in 0..reader.u32()? {
            settings.layers.push(Layer {
                application_group: optional(reader)?,
                python_path: optional(reader)?,
                switch_interval: optional_u64(reader)?,
                own_gil: choice(reader)?,
                restrict_stdin: choice(reader)?,
                restrict_stdout: choice(reader)?,
                restrict_signal: choice(reader)?,
            });
        }
        Ok(settings)
    }
}

fn put_optional(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        out.put_long_bytes(value);
    }
}

fn put_optional_u64(out: &mut Vec<u8>, value: Option<u64>) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        out.put_u64(value);
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("settings flag")),
    }
}

fn optional(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    Ok(if flag(reader)? { Some(reader.long_bytes()?.to_vec()) } else { None })
}

fn optional_u64(reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    Ok(if flag(reader)? { Some(reader.u64()?) } else { None })
}

fn choice(reader: &mut Reader<'_>) -> Result<Option<bool>, DecodeError> {
    match reader.u8()? {
        0 => Ok(Some(false)),
        1 => Ok(Some(true)),
        2 => Ok(None),
        _ => Err(DecodeError::Invalid("settings choice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_wire() {
        let settings = Settings {
            build_id: crate::BUILD_ID.into(),
            process_group: b"django".to_vec(),
            application_group: Some(Vec::new()),
            interpreters: true,
            threads: 15,
            home: Some(b"/srv".to_vec()),
            keeps_old_code: true,
            maximum_requests: 5,
            request_timeout: 60,
            deadlock_timeout: 300,
            slow_requests: 2_500_000,
            server_metrics: true,
            geometry: Geometry { children: 2, slots: 64, processes: 8, sets: 4 },
            apache_version: (2, 4, 66),
            preload: vec![Preload { script: b"/a".to_vec(), application_group: b"g".to_vec() }],
            switch_interval: Some(5_000_000),
            layers: vec![
                Layer::default(),
                Layer {
                    application_group: Some(b"g".to_vec()),
                    python_path: Some(b"/x:/y".to_vec()),
                    own_gil: Some(true),
                    restrict_stdout: Some(false),
                    ..Layer::default()
                },
            ],
            ..Settings::default()
        };
        let bytes = settings.encode();
        assert_eq!(Settings::decode_build_id(&bytes), Ok(crate::BUILD_ID.as_bytes()));
        assert_eq!(Settings::decode(&bytes), Ok(settings));
        for end in 0..bytes.len() {
            assert!(Settings::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
