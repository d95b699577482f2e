// SPDX-License-Identifier: Apache-2.0
//! Directives that say which script, which groups and which callable answer a request, and what is
//! loaded when processes start.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{Action, Directive, Here, Place};
use crate::config::words::Words;
use crate::config::{Preload, Text, alias, fold_global, script};

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: c"WSGIScriptAlias",
        place: Place::Server,
        usage: "URL-path file-path [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]",
        default: "none",
        meaning: c"Maps a URL path to a WSGI script, or to a directory of them",
        action: Action::Line(script_alias),
    },
    Directive {
        name: c"WSGIScriptAliasMatch",
        place: Place::Server,
        usage: "regular-expression file-path [options as of WSGIScriptAlias]",
        default: "none",
        meaning: c"Maps URL paths by a regular expression to WSGI scripts; the file path may have $0 to $9",
        action: Action::Line(script_alias_match),
    },
    Directive {
        name: c"WSGIProcessGroup",
        place: Place::Directory,
        usage: "name|%{GLOBAL}|%{ENV:variable}",
        default: "%{GLOBAL} (embedded mode)",
        meaning: c"The process group that answers; %{GLOBAL} is embedded mode",
        action: Action::Line(process_group),
    },
    Directive {
        name: c"WSGIApplicationGroup",
        place: Place::Directory,
        usage: "name|%{GLOBAL}|%{RESOURCE}|%{SERVER}|%{HOST}|%{ENV:variable}",
        default: "%{RESOURCE}",
        meaning: c"The application group that answers: applications of one group share interpreters",
        action: Action::ScopedText(|scoped, value| scoped.application_group = Some(value)),
    },
    Directive {
        name: c"WSGICallableObject",
        place: Place::FileInfo,
        usage: "name|%{ENV:variable}",
        default: "application",
        meaning: c"Name of the callable in the WSGI script",
        action: Action::ScopedText(|scoped, value| scoped.callable_object = Some(value)),
    },
    Directive {
        name: c"WSGIRestrictProcess",
        place: Place::Directory,
        usage: "[name|%{GLOBAL}] ...",
        default: "no restriction",
        meaning: c"The process groups that may answer here; %{GLOBAL} is embedded mode",
        action: Action::Line(restrict_process),
    },
    Directive {
        name: c"WSGIHandlerScript",
        place: Place::Directory,
        usage: "handler-name file-path [process-group=name] [application-group=name] [pass-authorization=On|Off]",
        default: "none",
        meaning: c"A WSGI script whose handle_request answers for resources with this handler (SetHandler, AddHandler)",
        action: Action::Line(handler_script),
    },
    Directive {
        name: c"WSGIDispatchScript",
        place: Place::Directory,
        usage: "file-path [application-group=name] [process-group=name]",
        default: "none",
        meaning: c"A script whose functions choose process group, application group and callable of each request",
        action: Action::Line(dispatch_script),
    },
    Directive {
        name: c"WSGIImportScript",
        place: Place::Server,
        usage: "file-path process-group=name application-group=name",
        default: "none",
        meaning: c"A script that is loaded when a process of the group starts",
        action: Action::Line(import_script),
    },
];

fn script_alias(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    add_alias(alias::parse(line, None)?, here)
}

fn script_alias_match(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    add_alias(alias::parse(line, Some(here.context))?, here)
}

fn add_alias(alias: alias::Alias, here: &mut Here<'_>) -> Result<(), String> {
    if alias.is_preloaded()
        && let (Some(process_group), Some(application_group)) =
            (&alias.process_group, &alias.application_group)
    {
        let preload = Preload {
            script: alias.target.clone(),
            process_group: process_group.clone(),
            application_group: application_group.clone(),
            is_import: false,
        };
        let host = here.host.clone();
        here.global()?.add_preload(preload, &host)?;
    }
    if let Some(group) = &alias.process_group {
        here.refer_to_group(group);
    }
    if alias.pattern.is_none() || !alias.target.contains(&b'$') {
        here.refer_to_script(&alias.target);
    }
    Arc::make_mut(&mut here.server()?.aliases).push(alias);
    Ok(())
}

fn process_group(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let usage = "name|%{GLOBAL}|%{ENV:variable}";
    let name = super::single("WSGIProcessGroup", usage, line)?;
    here.refer_to_group(&fold_global(&name));
    here.scoped()?.process_group = Some(name.into());
    Ok(())
}

fn restrict_process(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let mut words = Words::new(line);
    let names: Arc<[Text]> =
        std::iter::from_fn(|| words.next()).map(|name| fold_global(&name)).collect();
    here.scoped()?.restrict_process = Some(names);
    Ok(())
}

fn handler_script(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let handler = script::parse_handler(line)?;
    if let Some(group) = &handler.process_group {
        here.refer_to_group(&fold_global(group));
    }
    here.refer_to_script(&handler.script);
    let known = Arc::make_mut(&mut here.scoped()?.handler_scripts);
    known.retain(|other| other.name != handler.name);
    known.push(handler);
    Ok(())
}

fn dispatch_script(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let found = script::parse_hook("WSGIDispatchScript", "dispatch script", line, false)?;
    if let Some(global) = &mut here.global {
        global.is_dynamic = true;
    }
    super::access::register(&found, here);
    here.scoped()?.dispatch_script = Some(found);
    Ok(())
}

fn import_script(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let preload = script::parse_import(line)?;
    let host = here.host.clone();
    here.refer_to_group(&preload.process_group);
    here.refer_to_script(&preload.script);
    if preload.process_group.is_empty() {
        here.need_embedded();
    }
    here.global()?.add_preload(preload, &host)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn restrictions_replace_one_another() {
        let (_, server) =
            read(&["WSGIRestrictProcess a b", "WSGIRestrictProcess c %{GLOBAL}"]).unwrap();
        let names: Vec<_> = server.scoped.restrict_process.unwrap().iter().cloned().collect();
        assert_eq!(names, [(*b"c").into(), (*b"").into()]);
        assert!(read(&["WSGIRestrictProcess"]).unwrap().1.scoped.restrict_process.is_some());
    }

    #[test]
    fn a_handler_is_replaced_by_one_of_the_same_name() {
        let (global, server) =
            read(&["WSGIHandlerScript h /a", "WSGIHandlerScript g /b", "WSGIHandlerScript h /c"])
                .unwrap();
        let scripts: Vec<_> =
            server.scoped.handler_scripts.iter().map(|handler| handler.script.clone()).collect();
        assert_eq!(scripts, [(*b"/b").into(), (*b"/c").into()]);
        assert_eq!(global.scripts.len(), 3);
    }

    #[test]
    fn imports_in_embedded_mode_need_python_there() {
        let import = |group: &str| {
            read(&[
                "WSGIDaemonProcess p",
                &format!("WSGIImportScript /a process-group={group} application-group=%{{GLOBAL}}"),
            ])
        };
        assert!(import("%{GLOBAL}").unwrap().0.needs_embedded);
        assert!(!import("p").unwrap().0.needs_embedded);
        assert!(import("other").err().unwrap().contains("not yet configured"));
    }
}
