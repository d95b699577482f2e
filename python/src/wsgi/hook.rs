// SPDX-License-Identifier: Apache-2.0
//! Hooks: functions of a script that httpd asks for a decision instead of a response (spec-config
//! 1.5 and 7). Load the script, call the function, and make an answer of what it returns. What the
//! answer means for the request is httpd's side's business.
#![forbid(unsafe_code)]

use std::sync::Arc;

use mod_wsgi_protocol::frame::{Kind, MAX_DATA};
use mod_wsgi_protocol::hook::{Answer, Hook, Outcome, decode_arguments};

use super::failure::{log_exception, log_text};
use super::run::Run;
use super::ssl::Ssl;
use super::stream::ErrorsPair;
use crate::api::Constants;
use crate::interp::{Attached, Class, Exception, Object, PyResult, Raised, clear_exception};
use crate::log::Level;
use crate::script;

/// A hook that is one function.
struct Function {
    /// Its name and parameters.
    signature: &'static str,
    /// What configured it.
    directive: &'static str,
    /// Number of the message when the script does not define it.
    missing: &'static str,
    /// Converts what it returned.
    convert: for<'py> fn(&Asked<'_, 'py>, &Object<'py>) -> Answer,
}

const ACCESS: Function = Function {
    signature: "allow_access(environ, host)",
    directive: "WSGIAccessScript",
    missing: "WSGI0056",
    convert: access,
};

const PASSWORD: Function = Function {
    signature: "check_password(environ, user, password)",
    directive: "WSGIAuthUserScript (with AuthType Basic)",
    missing: "WSGI0043",
    convert: password,
};

const REALM_HASH: Function = Function {
    signature: "get_realm_hash(environ, user, realm)",
    directive: "WSGIAuthUserScript (with AuthType Digest)",
    missing: "WSGI0046",
    convert: realm_hash,
};

const GROUPS: Function = Function {
    signature: "groups_for_user(environ, user)",
    directive: "WSGIAuthGroupScript",
    missing: "WSGI0052",
    convert: groups,
};

/// Functions of a dispatch script, in the order in which they are asked.
const DISPATCH: [&std::ffi::CStr; 3] = [c"process_group", c"application_group", c"callable_object"];

/// Number of the message when there is no interpreter for the hook.
pub(super) fn number_without_interpreter(hook: Hook) -> &'static str {
    match hook {
        Hook::None => "WSGI0087",
        Hook::Access => "WSGI0054",
        Hook::Password => "WSGI0042",
        Hook::RealmHash => "WSGI0045",
        Hook::Groups => "WSGI0048",
        Hook::Dispatch => "WSGI0086",
    }
}

const FAILED: Outcome = Outcome::Failed;

impl<'py> Run<'_, 'py> {
    /// Asks the hook that the request names.
    pub(super) fn ask(&mut self, constants: &'static Constants) -> Answer {
        let py = self.py;
        let hook = self.job.request.head.hook;
        let answer = self.try_ask(constants, hook).unwrap_or_else(|Raised| {
            self.log_raised();
            Answer::plain(FAILED)
        });
        if let Some(errors) = &self.errors {
            self.call.flush(py);
            errors.end_request(py, constants);
        }
        self.bounded(answer)
    }

    fn try_ask(&mut self, constants: &'static Constants, hook: Hook) -> PyResult<Answer> {
        let py = self.py;
        let request = self.job.request;
        let Some(module) = script::module_of_hook(py, &request.head, &self.context()) else {
            // As mod_wsgi has it: the request goes where it would go without the script.
            let goes_on = hook == Hook::Dispatch;
            return Ok(Answer::plain(if goes_on { Outcome::Unknown } else { FAILED }));
        };
        let names = module.module_dict(py)?;
        let function = match hook {
            Hook::Access => ACCESS,
            Hook::Password => PASSWORD,
            Hook::RealmHash => REALM_HASH,
            Hook::Groups => GROUPS,
            Hook::None | Hook::Dispatch => return self.dispatch(constants, &names),
        };
        let Ok(given) = decode_arguments(request.initial_body) else {
            return Err(py.raise(Class::Runtime, "arguments of the hook can not be read"));
        };
        let name = function.name();
        let found = names.entry(py, py.text(name)?.borrow())?;
        let Some(callable) = found else {
            let text = format!(
                "{}: the script '{}' of {} has no function {name}(): define {} in it ({})",
                function.missing,
                self.context().script(),
                function.directive,
                function.signature,
                self.context(),
            );
            log_text(py, Level::Error, &text);
            return Ok(Answer::plain(FAILED));
        };
        let environ = self.environ_of_hook(constants, true)?;
        let mut arguments = vec![environ];
        for argument in given {
            arguments.push(py.latin1(argument)?);
        }
        (self.job.mark_started)();
        let result = match arguments.as_slice() {
            [environ, one] => callable.call(py, [environ.borrow(), one.borrow()]),
            [environ, one, two] => {
                callable.call(py, [environ.borrow(), one.borrow(), two.borrow()])
            }
            _ => Err(py.raise(Class::Runtime, "wrong number of arguments for the hook")),
        }?;
        let asked = Asked { py, run: self, function: &function };
        Ok((function.convert)(&asked, &result))
    }

    /// Asks the functions of a dispatch script; one that fails is the last.
    fn dispatch(&mut self, constants: &'static Constants, names: &Object<'py>) -> PyResult<Answer> {
        let py = self.py;
        let environ = self.environ_of_hook(constants, false)?;
        (self.job.mark_started)();
        let mut values = Vec::with_capacity(DISPATCH.len());
        for name in DISPATCH {
            let value = match names.entry_named(py, name)? {
                Some(function) => {
                    let result = function.call(py, [environ.borrow()])?;
                    text_or_none(py, name, &result)?
                }
                None => None,
            };
            values.push(value);
        }
        Ok(Answer { outcome: Outcome::Yes, values })
    }

    fn environ_of_hook(
        &mut self,
        constants: &'static Constants,
        is_access_or_auth: bool,
    ) -> PyResult<Object<'py>> {
        let py = self.py;
        let request = self.job.request;
        let errors = ErrorsPair::for_request(py, constants, self.errors, self.call)?;
        let template = &constants.template;
        let environ = template.environ_of_hook(py, request, &errors, is_access_or_auth)?;
        if is_access_or_auth {
            let ssl = constants.classes.ssl.instance(py, Ssl::new(Arc::clone(self.call)))?;
            for (key, method) in
                [(c"mod_ssl.is_https", c"is_https"), (c"mod_ssl.var_lookup", c"var_lookup")]
            {
                environ.set_entry_named(py, key, &ssl.attribute(py, method)?)?;
            }
        }
        self.add_request_record(&environ)?;
        Ok(environ)
    }

    /// An answer that is too large for a frame is none.
    fn bounded(&self, answer: Answer) -> Answer {
        let values = answer.values.iter().flatten();
        let size = values.map(|value| value.len() + 5).sum::<usize>();
        if size + 64 <= Kind::Answer.max_payload() && answer.values.len() <= usize::from(u16::MAX) {
            return answer;
        }
        let text = format!(
            "what the script '{}' answered is too large ({} values, {size} bytes): it is not used \
             ({})",
            self.context().script(),
            answer.values.len(),
            self.context(),
        );
        log_text(self.py, Level::Error, &text);
        Answer::plain(FAILED)
    }
}

fn text_or_none<'py>(
    py: Attached<'py>,
    name: &std::ffi::CStr,
    result: &Object<'py>,
) -> PyResult<Option<Vec<u8>>> {
    if result.is_none() {
        return Ok(None);
    }
    match text(py, result)? {
        Some(text) => Ok(Some(text)),
        None => {
            let (name, class) = (name.to_string_lossy(), result.class_name(py));
            let message = format!("{name}() must return str, bytes or None, not {class}");
            Err(py.raise(Class::Type, &message))
        }
    }
}

/// The text of a `str` (as latin-1) or `bytes`; nothing of anything else.
fn text<'py>(py: Attached<'py>, object: &Object<'py>) -> PyResult<Option<Vec<u8>>> {
    if let Some(bytes) = object.as_bytes() {
        return Ok(Some(bytes.to_vec()));
    }
    if !object.is_text() {
        return Ok(None);
    }
    let mut text = Vec::new();
    object.append_latin1(py, &mut text)?;
    Ok(Some(text))
}

impl Function {
    fn name(&self) -> &'static str {
        self.signature.split('(').next().unwrap_or_default()
    }
}

/// A function that was asked, for the conversion of what it returned.
struct Asked<'a, 'py> {
    /// Attached to the interpreter of the script.
    py: Attached<'py>,
    /// The request.
    run: &'a Run<'a, 'py>,
    /// The function.
    function: &'a Function,
}

impl<'py> Asked<'_, 'py> {
    /// Logs that `problem` makes the answer unusable.
    fn unusable(&self, number: &str, problem: &str) -> Answer {
        let context = self.run.context();
        let text = format!(
            "{number}: {}() of the script '{}' {problem} ({context})",
            self.function.name(),
            context.script(),
        );
        log_text(self.py, Level::Error, &text);
        Answer::plain(FAILED)
    }

    fn wrong_class(&self, number: &str, result: &Object<'py>, wanted: &str) -> Answer {
        let class = result.class_name(self.py);
        self.unusable(number, &format!("returned an object of class {class}: return {wanted}"))
    }

    fn exception(&self) -> Answer {
        if let Some(exception) = Exception::take(self.py) {
            log_exception(self.py, &exception, &self.run.context());
        }
        Answer::plain(FAILED)
    }
}

fn one(value: Vec<u8>) -> Answer {
    Answer { outcome: Outcome::Yes, values: vec![Some(value)] }
}

fn access<'py>(asked: &Asked<'_, 'py>, result: &Object<'py>) -> Answer {
    match result.as_boolean() {
        Some(true) => Answer::plain(Outcome::Yes),
        Some(false) => Answer::plain(Outcome::No),
        None if result.is_none() => Answer::plain(Outcome::Unknown),
        None => asked.wrong_class("WSGI0055", result, "True, False or None"),
    }
}

fn password<'py>(asked: &Asked<'_, 'py>, result: &Object<'py>) -> Answer {
    match result.as_boolean() {
        Some(true) => return Answer::plain(Outcome::Yes),
        Some(false) => return Answer::plain(Outcome::No),
        None if result.is_none() => return Answer::plain(Outcome::Unknown),
        None => {}
    }
    if !result.is_text() {
        return asked.wrong_class(
            "WSGI0177",
            result,
            "True, False, None, or the name of the user as str",
        );
    }
    match result.as_utf8(asked.py) {
        Ok("") => {
            asked.unusable("WSGI0176", "returned an empty name: return True to keep the name")
        }
        // httpd would cut the name off there.
        Ok(name) if name.contains('\0') => {
            asked.unusable("WSGI0177", "returned a name with a NUL character")
        }
        Ok(name) => one(name.as_bytes().to_vec()),
        Err(Raised) => asked.exception(),
    }
}

fn realm_hash<'py>(asked: &Asked<'_, 'py>, result: &Object<'py>) -> Answer {
    if result.is_none() {
        return Answer::plain(Outcome::Unknown);
    }
    match text(asked.py, result) {
        Ok(Some(hash)) if hash.is_empty() => asked
            .unusable("WSGI0178", "returned an empty hash: return None for a user who is unknown"),
        Ok(Some(hash)) => one(hash),
        Ok(None) => asked.wrong_class(
            "WSGI0179",
            result,
            "the MD5 of 'user:realm:password' in hexadecimal as str or bytes, or None",
        ),
        Err(Raised) => asked.exception(),
    }
}

fn groups<'py>(asked: &Asked<'_, 'py>, result: &Object<'py>) -> Answer {
    let py = asked.py;
    const WANTED: &str = "an iterable of the names of groups";
    let Ok(iterator) = result.iterate(py) else {
        let is_type = Exception::take(py).is_none_or(|exception| {
            let is_type = exception.is(Class::Type);
            if !is_type {
                log_exception(py, &exception, &asked.run.context());
            }
            is_type
        });
        return if is_type {
            asked.wrong_class("WSGI0051", result, WANTED)
        } else {
            Answer::plain(FAILED)
        };
    };
    let (mut values, mut size) = (Vec::new(), 0);
    // One that never ends is stopped where the answer has no room any more, which `bounded` tells.
    while values.len() <= usize::from(u16::MAX) && size <= MAX_DATA {
        let item = match iterator.next(py) {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(Raised) => {
                // What came before it counts.
                asked.exception();
                break;
            }
        };
        match text(py, &item) {
            Ok(Some(name)) => {
                size += name.len();
                values.push(Some(name));
            }
            Ok(None) => {
                let class = item.class_name(py);
                let problem = format!(
                    "gave an object of class {class} as the name of a group: names are str or bytes"
                );
                return asked.unusable("WSGI0050", &problem);
            }
            Err(Raised) => {
                clear_exception(py);
                let problem = "gave a name of a group that is not latin-1: give it as bytes";
                return asked.unusable("WSGI0049", problem);
            }
        }
    }
    Answer { outcome: Outcome::Yes, values }
}
