//! The sources: sizes, names, loose ends.

use super::{File, files, none, root, sources};

const LINES_MAX: usize = 500;
const SIZE_EXPECTATIONS_MAX: usize = 9;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

const VAGUE: &[&str] = &["Manager", "Service", "Handler", "Helper", "Util", "Base", "Context"];

/// Names that end so and may, each with its reason.
const NAMED_SO: &[(&str, &str)] = &[("crates/wire/src/telemetry/senml.rs Base", "RFC 8428 calls it so")];

/// Written in two pieces, so that this file does not find itself.
const LOOSE_ENDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore]"),
    concat!("test.", "only("),
];

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !(line.is_empty() || line.starts_with("//") || line.starts_with("<!--"))
}

/// Whether a comment reads like code that was switched off: it ends as a statement and has a call or an assignment.
fn is_switched_off(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return false };
    let text = comment.trim();
    let is_prose = comment.starts_with(['/', '!']) || text.starts_with(['{', '`']);
    let begins =
        ["let ", "use ", "pub ", "fn ", "if ", "for ", "match ", "return", "const ", "import ", "#["];
    let ends = text.ends_with([';', '{']);
    let is_call = text.contains('(') || text.contains(" = ") || text.contains("::");
    !is_prose && (text == "}" || ends && (is_call || begins.iter().any(|word| text.starts_with(word))))
}

fn lines_of(files: &[File]) -> impl Iterator<Item = (&str, usize, &str)> {
    files.iter().flat_map(|file| {
        file.text.lines().enumerate().map(|(index, line)| (file.path.as_str(), index + 1, line))
    })
}

#[test]
fn no_file_has_more_than_500_lines_of_code() {
    let long = sources().into_iter().filter_map(|file| {
        let count = file.text.lines().filter(|line| is_code(line)).count();
        let may = LONGER.iter().any(|(path, _)| *path == file.path);
        (count > LINES_MAX && !may).then(|| format!("{}: {count} lines of code", file.path))
    });
    none(&long.collect::<Vec<_>>());
}

#[test]
fn no_code_is_commented_out() {
    let found = sources();
    let off = lines_of(&found).filter(|(_, _, line)| is_switched_off(line));
    none(&off.map(|(path, number, line)| format!("{path}:{number}: {}", line.trim())).collect::<Vec<_>>());
}

#[test]
fn commented_out_code_is_told_from_prose() {
    for code in ["// let x = 1;", "    // send(x);", "// if x {", "// }", "// use a::b;"] {
        assert!(is_switched_off(code), "{code}");
    }
    for prose in ["// The first; then others.", "/// let x = 1;", "// {\"a\": 1}", "// see `f(x);`", "f(x);"]
    {
        assert!(!is_switched_off(prose), "{prose}");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let found = sources();
    let open = lines_of(&found).filter(|(_, _, line)| LOOSE_ENDS.iter().any(|mark| line.contains(mark)));
    none(&open.map(|(path, number, line)| format!("{path}:{number}: {}", line.trim())).collect::<Vec<_>>());
}

#[test]
fn no_type_has_a_name_that_hides_a_missing_noun() {
    let found = sources();
    let vague = lines_of(&found).filter_map(|(path, number, line)| {
        let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let (keyword, rest) = line.trim_start_matches("pub(super) ").split_once(' ')?;
        let is_type = ["struct", "enum", "trait", "type", "union", "class", "interface"].contains(&keyword);
        let name = rest.split(|letter: char| !letter.is_alphanumeric()).next()?;
        let may = NAMED_SO.iter().any(|(known, _)| *known == format!("{path} {name}"));
        let is_vague = is_type && !may && VAGUE.iter().any(|ending| name.ends_with(ending));
        is_vague.then(|| format!("{path}:{number}: {name}"))
    });
    none(&vague.collect::<Vec<_>>());
}

#[test]
fn every_channel_has_a_named_bound() {
    let found: Vec<File> = ["crates", "bench"].iter().flat_map(|folder| files(folder, &[".rs"])).collect();
    let unnamed = lines_of(&found).filter_map(|(path, number, line)| {
        let (before, after) = line.split_once("channel(").or_else(|| line.split_once("channel::<"))?;
        let bound = after.rsplit_once(">(").map_or(after, |(_, bound)| bound).split([')', ',']).next()?;
        let is_bounded = before.ends_with("watch::") || before.ends_with("fn ") || before.contains("//");
        let is_name = bound.chars().all(|letter| letter.is_ascii_uppercase() || "_:".contains(letter));
        (!is_bounded && !path.contains("/tidy/") && !is_name)
            .then(|| format!("{path}:{number}: {}", line.trim()))
    });
    none(&unnamed.collect::<Vec<_>>());
}

#[test]
fn sizes_are_exceeded_fewer_than_ten_times() {
    let found = files("crates", &[".rs"]);
    let sizes = ["too_many_lines", "too_many_arguments", "excessive_bools"];
    let exceptions: Vec<String> = lines_of(&found)
        .filter(|(path, _, line)| !path.contains("/tidy/") && line.contains("expect(clippy::"))
        .filter(|(_, _, line)| sizes.iter().any(|lint| line.contains(lint)))
        .map(|(path, number, line)| format!("{path}:{number}: {}", line.trim()))
        .collect();
    assert!(exceptions.len() <= SIZE_EXPECTATIONS_MAX, "\n{}\n", exceptions.join("\n"));
}

#[test]
fn every_module_of_wire_has_a_fuzz_target() {
    let head = std::fs::read_to_string(root().join("crates/wire/src/lib.rs")).unwrap();
    let targets = files("fuzz/fuzz_targets", &[".rs"]);
    let modules = head.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let without = modules.filter(|module| {
        let has_name = |file: &File| file.path.contains(&format!("/{module}"));
        !targets.iter().any(|file| has_name(file) || file.text.contains(&format!("roost_wire::{module}")))
    });
    none(&without.map(str::to_owned).collect::<Vec<_>>());
}
