// SPDX-License-Identifier: Apache-2.0
//! The settings as our Python source sees them.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::settings::{Layer, Settings};

use crate::interp::{Attached, Object, PyResult};

fn optional<'py>(py: Attached<'py>, path: Option<&[u8]>) -> PyResult<Object<'py>> {
    path.map_or_else(|| Ok(py.none()), |path| py.file_name(path))
}

/// Seconds, of nanoseconds.
fn seconds<'py>(py: Attached<'py>, nanoseconds: Option<u64>) -> PyResult<Object<'py>> {
    nanoseconds.map_or_else(|| Ok(py.none()), |number| py.float(number as f64 / 1e9))
}

fn choice<'py>(py: Attached<'py>, choice: Option<bool>) -> PyResult<Object<'py>> {
    choice.map_or_else(|| Ok(py.none()), |choice| py.boolean(choice))
}

fn version<'py>(py: Attached<'py>, numbers: (u32, u32, u32)) -> PyResult<Object<'py>> {
    let number = |number: u32| py.integer(i64::from(number));
    let (major, minor, patch) = (number(numbers.0)?, number(numbers.1)?, number(numbers.2)?);
    py.tuple([major.borrow(), minor.borrow(), patch.borrow()])
}

/// What our Python source needs to know of the settings.
pub(super) fn to_dict<'py>(
    py: Attached<'py>,
    settings: &Settings,
    is_daemon: bool,
) -> PyResult<Object<'py>> {
    let layers = py.list()?;
    for layer in &settings.layers {
        layers.append(py, &layer_dict(py, layer)?)?;
    }
    let dict = py.dict()?;
    for (name, value) in [
        (c"is_daemon", py.boolean(is_daemon)?),
        (c"process_group", py.latin1(&settings.process_group)?),
        (c"threads", py.integer(i64::from(settings.threads))?),
        (c"processes", py.integer(i64::from(settings.processes))?),
        (c"home", optional(py, settings.home.as_deref())?),
        (c"python_path", optional(py, settings.python_path.as_deref())?),
        (c"python_eggs", optional(py, settings.python_eggs.as_deref())?),
        (c"switch_interval", seconds(py, settings.switch_interval)?),
        (c"hide_hash_seed", py.boolean(settings.hide_hash_seed)?),
        (c"restrict_stdin", py.boolean(settings.restrict_stdin)?),
        (c"restrict_stdout", py.boolean(settings.restrict_stdout)?),
        (c"restrict_signal", py.boolean(settings.restrict_signal)?),
        (c"layers", layers),
        (c"case_sensitivity", py.boolean(settings.case_sensitivity)?),
        (c"apache_description", py.latin1(&settings.apache_description)?),
        (c"apache_build_date", py.latin1(&settings.apache_build_date)?),
        (c"apache_mpm", py.latin1(&settings.apache_mpm)?),
        (c"apache_processes", py.integer(i64::from(settings.apache_processes))?),
        (c"apache_threads", py.integer(i64::from(settings.apache_threads))?),
        (c"apache_version", version(py, settings.apache_version)?),
        (c"version", version(py, mod_wsgi_protocol::COMPATIBLE_VERSION)?),
    ] {
        dict.set_entry_named(py, name, &value)?;
    }
    Ok(dict)
}

fn layer_dict<'py>(py: Attached<'py>, layer: &Layer) -> PyResult<Object<'py>> {
    let group = layer.application_group.as_deref();
    let dict = py.dict()?;
    for (name, value) in [
        (c"application_group", group.map_or_else(|| Ok(py.none()), |group| py.latin1(group))?),
        (c"python_path", optional(py, layer.python_path.as_deref())?),
        (c"switch_interval", seconds(py, layer.switch_interval)?),
        (c"restrict_stdin", choice(py, layer.restrict_stdin)?),
        (c"restrict_stdout", choice(py, layer.restrict_stdout)?),
        (c"restrict_signal", choice(py, layer.restrict_signal)?),
    ] {
        dict.set_entry_named(py, name, &value)?;
    }
    Ok(dict)
}

/// Whether the sub-interpreter of an application group is to have a GIL of its own.
pub(crate) fn wants_own_gil(settings: &Settings, application_group: &[u8]) -> bool {
    let holds = |layer: &&Layer| {
        layer.application_group.as_deref().is_none_or(|group| group == application_group)
    };
    let mut said = settings.layers.iter().filter(holds).filter_map(|layer| layer.own_gil);
    said.next_back().unwrap_or(settings.own_gil)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_layer_that_holds_decides() {
        let layer = |group: Option<&[u8]>, own_gil| Layer {
            application_group: group.map(<[u8]>::to_vec),
            own_gil,
            ..Layer::default()
        };
        let mut settings = Settings { own_gil: true, ..Settings::default() };
        assert!(wants_own_gil(&settings, b"a"));
        settings.layers = vec![
            layer(None, Some(false)),
            layer(Some(b"a"), Some(true)),
            layer(Some(b"a"), None),
            layer(Some(b"b"), Some(false)),
        ];
        assert!(wants_own_gil(&settings, b"a"));
        assert!(!wants_own_gil(&settings, b"b"));
        assert!(!wants_own_gil(&settings, b"c"));
    }
}
