// SPDX-License-Identifier: Apache-2.0
//! Arguments that the objects of a request are called with: how many, and sizes. What is raised has
//! the texts of CPython's `PyArg_ParseTuple`, which mod_wsgi uses.
#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use crate::interp::{Attached, Borrowed, Class, PyResult, Raised};

/// TypeError for a call of `name()`, which takes other numbers of arguments than `given`.
pub(super) fn wrong_count(
    py: Attached<'_>,
    name: &str,
    takes: RangeInclusive<usize>,
    given: usize,
) -> Raised {
    py.raise(Class::Type, &wrong_count_text(name, &takes, given))
}

fn wrong_count_text(name: &str, takes: &RangeInclusive<usize>, given: usize) -> String {
    let (bound, count) = match (takes.start(), takes.end()) {
        (least, most) if least == most => ("exactly", least),
        (least, _) if given < *least => ("at least", least),
        (_, most) => ("at most", most),
    };
    let plural = if *count == 1 { "" } else { "s" };
    format!("{name}() takes {bound} {count} argument{plural} ({given} given)")
}

/// The size that `read`, `readline` and `readlines` may be called with; none, None and a negative one
/// are no limit.
pub(super) fn size_argument<'py>(
    py: Attached<'py>,
    name: &str,
    arguments: &[Borrowed<'_, 'py>],
) -> PyResult<Option<usize>> {
    match arguments {
        [] => Ok(None),
        [size] if size.is_none() => Ok(None),
        [size] => Ok(usize::try_from(size.to_integer(py)?).ok()),
        _ => Err(wrong_count(py, name, 0..=1, arguments.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_as_cpython_does() {
        for (takes, given, text) in [
            (2..=3, 1, "f() takes at least 2 arguments (1 given)"),
            (2..=3, 4, "f() takes at most 3 arguments (4 given)"),
            (0..=1, 2, "f() takes at most 1 argument (2 given)"),
            (1..=1, 0, "f() takes exactly 1 argument (0 given)"),
            (0..=0, 1, "f() takes exactly 0 arguments (1 given)"),
        ] {
            assert_eq!(wrong_count_text("f", &takes, given), text);
        }
    }
}
