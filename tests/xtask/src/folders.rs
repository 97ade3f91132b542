//! The test `folders_point_one_way`: a folder imports only folders before it, in the order that docs/developing.md
//! shows.
//!
//! It follows `use` and paths in the code from `crate` and `super` on, of everything but tests. What cannot be seen
//! that way are calls of `State`'s methods, which every folder of the compositor may have and every other may call:
//! those are counted. Imports have no exceptions; structs that are large are listed here, each with what it is.

use crate::source::{self, Source};
use phyllome_test_guests::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Files and folders of a crate that stand for `ground` in the picture: they know none of the others.
const GROUND: &[(&str, &[&str])] = &[
    ("compositor", &["bucket", "descriptors", "event_loop", "ledger", "log_limit", "monotonic", "outbox", "relay"]),
    ("guest-bridge", &["child", "damage", "frames", "halt_poll", "seldom", "spare", "still"]),
];

/// Methods of `State` that are called from another folder than their own: never more, and 40 at most.
const CALLED_FROM_OUTSIDE: usize = 39;

/// More fields than this, and it is several things.
const FIELDS: usize = 16;

/// Structs that have more, and why.
const LARGE: &[(&str, &str)] = &[
    ("Client", "keeps the renderer's process, its session and its limits in one"),
    ("Device", "keeps resources, scanouts, cursors and what is still to be said of them in one"),
    ("Service", "serves queues, screens and memory of the device in one"),
    ("Supervisor", "keeps what it knows of QEMU, of the screen and of those who ask in one"),
    ("Surface", "keeps what is shown and what is on its way in one"),
    ("Symbols", "is a table: a field for each function of virglrenderer"),
];

/// One line of the picture: names that stand beside one another, in the order of the arrows.
type Order = Vec<Vec<String>>;

/// The picture of docs/developing.md: the first block under the heading “Folders”, a line for each crate and one for
/// all crates.
fn picture() -> BTreeMap<String, Order> {
    let path = repository().join("docs/developing.md");
    let text = std::fs::read_to_string(&path).expect("docs/developing.md is there");
    parse(&text).expect("docs/developing.md has a block under the heading “Folders”")
}

fn parse(text: &str) -> Option<BTreeMap<String, Order>> {
    let section = text.split_once("\n## Folders\n")?.1;
    let block = section.split_once("```text\n")?.1.split_once("\n```")?.0;
    let order = |line: &str| {
        line.split('→').map(|place| place.split(',').map(|name| name.trim().to_owned()).collect()).collect()
    };
    Some(
        block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(of, line)| (of.trim().to_owned(), order(line)))
            .collect(),
    )
}

fn place(order: &Order, name: &str) -> Option<usize> {
    order.iter().position(|place| place.iter().any(|other| other == name))
}

/// The paths of a `use` tree, one by one.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, group)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or(tree).trim().to_owned()];
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[from..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(expand).map(|part| format!("{}{part}", before.trim())).collect()
}

/// All paths from `crate` or `super` on, from `crate` on: `wayland::seat::Seat`.
fn paths(source: &Source) -> BTreeSet<String> {
    let code = source::bare(&source.code);
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = BTreeSet::new();
    for word in ["crate::", "super::"] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].trim_end();
            if code[..at].ends_with(|letter| is_word(letter) || letter == ':') || before.ends_with("(in") {
                continue;
            }
            // Of a `use`, all up to its semicolon; in the code, one path.
            let statement = before.rsplit([';', '}', ')', ']']).next().unwrap_or_default();
            let in_use = statement.split_whitespace().any(|part| part == "use");
            let length = if in_use {
                code[at..].find(';').unwrap_or(0)
            } else {
                code[at..].find(|letter: char| !is_word(letter) && letter != ':').unwrap_or(0)
            };
            let tree = code[at..at + length].split_whitespace().collect::<Vec<_>>().join(" ");
            found.extend(expand(&tree).into_iter().filter_map(|path| absolute(source, &path)));
        }
    }
    found
}

/// A path that begins with `crate` or `super`, from the crate on.
fn absolute(source: &Source, path: &str) -> Option<String> {
    if let Some(path) = path.strip_prefix("crate::") {
        return Some(path.to_owned());
    }
    let mut module = source.module();
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("super::") {
        // A module within the file has a `super` that is the file: such a path ends in it, and is none of another
        // folder.
        module.pop()?;
        rest = shorter;
    }
    Some(module.into_iter().chain([rest.to_owned()]).collect::<Vec<_>>().join("::"))
}

/// What `lib.rs` gives another name: `State` is a part of `state`.
fn renamed(sources: &[Source]) -> BTreeMap<String, String> {
    let lib = sources.iter().find(|source| source.path == Path::new("lib.rs"));
    let code = lib.map(|lib| source::bare(&lib.code)).unwrap_or_default();
    let uses = code.split(';').filter_map(|statement| statement.trim().strip_prefix("pub use "));
    let paths = uses.flat_map(expand).filter(|path| path.contains("::"));
    paths.filter_map(|path| Some((path.rsplit("::").next()?.to_owned(), path.split("::").next()?.to_owned()))).collect()
}

/// Who imports whom, by the parts right below `src`, with the files that do.
fn imports(sources: &[Source]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let tops: BTreeSet<_> = sources.iter().map(Source::top).collect();
    let renamed = renamed(sources);
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !["lib", "bin"].contains(&source.top().as_str())) {
        // smithay hands `State` to the handlers of every protocol, so that every folder names it; calls of it are
        // counted below.
        for path in paths(source).into_iter().filter(|path| path != "State" && path != "state::State") {
            let first = path.split("::").next().unwrap_or_default().trim();
            let to = renamed.get(first).map_or(first, String::as_str);
            if tops.contains(to) && to != source.top() {
                let file = format!("{} ({path})", source.path.display());
                found.entry((source.top(), to.to_owned())).or_default().insert(file);
            }
        }
    }
    found
}

/// What is wrong with a crate's imports.
fn wrong(name: &str, sources: &[Source], order: &Order) -> Vec<String> {
    let ground = GROUND.iter().find(|(other, _)| *other == name).map_or(&[][..], |(_, parts)| parts);
    let mut wrong = Vec::new();
    let of = |top: &str| if ground.contains(&top) { place(order, "ground") } else { place(order, top) };
    let tops: BTreeSet<_> = sources.iter().map(Source::top).collect();
    for top in tops.iter().filter(|top| !["lib", "bin"].contains(&top.as_str())) {
        if of(top).is_none() {
            wrong.push(format!("{name}: {top} has no place in the picture of docs/developing.md"));
        }
    }
    for top in ground.iter().filter(|top| !tops.contains(**top)) {
        wrong.push(format!("{name}: {top} is not there any more: delete it from the ground of folders.rs"));
    }
    for ((from, to), files) in imports(sources) {
        if let (Some(here), Some(there)) = (of(&from), of(&to))
            && there >= here
            // What is on the ground may know what else is there.
            && !(ground.contains(&from.as_str()) && ground.contains(&to.as_str()))
        {
            wrong.push(format!("{name}: {from} → {to} is a step back: {files:?}"));
        }
    }
    wrong
}

/// The crates of the workspace by their places in the picture, and which of them each one is built with.
fn crates() -> Vec<(String, Vec<String>)> {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).expect("a manifest");
    let workspace = read("Cargo.toml");
    let members = workspace.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).expect("members").0;
    let members: Vec<_> =
        members.split(',').map(|member| member.trim().trim_matches('"')).filter(|m| !m.is_empty()).collect();
    let short = |member: &str| {
        let last = member.rsplit('/').next().unwrap_or(member);
        if member.split('/').next() == Some("tests") { "tests".to_owned() } else { last.to_owned() }
    };
    let manifest = |member: &str| read(&format!("{member}/Cargo.toml"));
    let name_of = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("name = "));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let named: BTreeMap<_, _> = members.iter().map(|member| (name_of(&manifest(member)), short(member))).collect();
    let needs = |member: &&str| {
        let mut in_dependencies = false;
        let mut needs = Vec::new();
        for line in manifest(member).lines() {
            if line.starts_with('[') {
                let section = line.trim_matches(['[', ']']);
                in_dependencies = section == "dependencies" || section.ends_with(".dependencies");
            } else if in_dependencies {
                let word =
                    line.split(|letter: char| letter == '.' || letter.is_whitespace()).next().unwrap_or_default();
                needs.extend(named.get(word).cloned());
            }
        }
        (short(member), needs)
    };
    members.iter().map(needs).collect()
}

/// Every method of `State` with the part that has it.
fn methods(sources: &[Source]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for source in sources {
        let code = source::bare(&source.code);
        for (at, _) in code.match_indices("\nimpl State {") {
            let body = code[at..].split("\n}").next().unwrap_or_default();
            for line in body.lines() {
                let Some((_, rest)) = line.split_once("fn ").filter(|(before, _)| before.len() < 24) else { continue };
                let name: String =
                    rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                found.insert(name, source.top());
            }
        }
    }
    found
}

/// Methods of `State` that are called from other parts than their own, with the parts that call.
fn called_from_outside(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let methods = methods(sources);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.top() != "lib") {
        let code = source::bare(&source.code);
        let own = code.contains("impl State {") || code.contains("for State {");
        let receivers = ["state.", "data.", "self.state.", "State::"].into_iter().chain(own.then_some("self."));
        for receiver in receivers {
            for (at, _) in code.match_indices(receiver) {
                if code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.') {
                    continue;
                }
                let rest = &code[at + receiver.len()..];
                let name: String =
                    rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if methods.get(&name).is_some_and(|home| *home != source.top()) && rest[name.len()..].starts_with('(') {
                    found.entry(name).or_default().insert(source.top());
                }
            }
        }
    }
    found
}

/// Structs with more than [`FIELDS`] fields, with how many they have.
fn large(sources: &[Source]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for source in sources {
        let code = source::bare(&source.code);
        for (at, _) in code.match_indices("struct ") {
            let rest = &code[at + "struct ".len()..];
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            let Some((head, body)) = rest.split_once('{') else { continue };
            if head.contains([';', '(']) {
                continue;
            }
            let (mut depth, mut fields) = (0i32, 0);
            for (place, letter) in body.char_indices() {
                match letter {
                    '}' if depth == 0 => break,
                    '{' | '(' | '[' | '<' => depth += 1,
                    '>' if body[..place].ends_with('-') => {}
                    '}' | ')' | ']' | '>' => depth -= 1,
                    ':' if depth == 0 => {
                        let path = body[..place].ends_with(':') || body[place + 1..].starts_with(':');
                        fields += usize::from(!path);
                    }
                    _ => {}
                }
            }
            if fields > FIELDS {
                found.insert(name, fields);
            }
        }
    }
    found
}

fn sources(name: &str) -> Vec<Source> {
    source::read(&repository().join(name).join("src")).expect("a crate's sources")
}

#[test]
fn folders_point_one_way() {
    let picture = picture();
    let mut all = Vec::new();
    for name in ["compositor", "guest-bridge"] {
        let order = picture.get(name).unwrap_or_else(|| panic!("the picture has no line for {name}"));
        all.extend(wrong(name, &sources(name), order));
    }
    let order = picture.get("crates").expect("the picture has a line for crates");
    for (from, needs) in crates() {
        let here = place(order, &from);
        if here.is_none() {
            all.push(format!("the crate {from} has no place in the picture of docs/developing.md"));
        }
        for to in needs.iter().filter(|to| **to != from && place(order, to) >= here) {
            all.push(format!("the crate {from} is built with {to}, which comes after it"));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn few_methods_of_state_are_called_from_other_folders() {
    let called = called_from_outside(&sources("compositor"));
    for (method, by) in &called {
        println!("{method}: called by {}", by.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    let count = called.len();
    assert!(
        count <= CALLED_FROM_OUTSIDE,
        "{count} methods of State are called from other folders, not {CALLED_FROM_OUTSIDE}"
    );
    assert!(count == CALLED_FROM_OUTSIDE, "only {count} are called any more: say so in CALLED_FROM_OUTSIDE");
}

#[test]
fn structs_are_small_or_say_why() {
    let found: BTreeMap<_, _> = ["compositor", "guest-bridge", "guest-bridge/protocol", "config"]
        .iter()
        .flat_map(|name| large(&sources(name)))
        .collect();
    let listed: BTreeSet<_> = LARGE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let unlisted: Vec<_> = found.iter().filter(|(name, _)| !listed.contains(*name)).collect();
    assert!(unlisted.is_empty(), "more than {FIELDS} fields: {unlisted:?}");
    let small: Vec<_> = listed.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(small.is_empty(), "these are small by now, or gone: {small:?}");
}

#[test]
fn a_step_back_is_found_however_it_is_written() {
    let source = |path: &str, code: &str| Source { path: path.into(), code: code.into() };
    let files = [
        source("lib.rs", "pub mod one;\npub use four::Thing;\n"),
        source("one/mod.rs", "use crate::two::{Place, deep::{A, B as C}};\n"),
        source("one/deep/file.rs", "use super::super::super::three::Thing;\nuse super::mine;\n"),
        source("two.rs", "fn f() { crate::three::g() }\npub(in crate::one) fn h() {}\n"),
        source(
            "three/mod.rs",
            "use crate::Thing;\nuse crate::State;\nuse crate::one::A;\nlet text = \"crate::four::no\";\n",
        ),
        source("four.rs", "use std::fmt;\n"),
    ];
    let found: Vec<_> = imports(&files).into_keys().collect();
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let wanted =
        [pair("one", "three"), pair("one", "two"), pair("three", "four"), pair("three", "one"), pair("two", "three")];
    assert_eq!(found, wanted);
    let order = vec![vec!["one".to_owned()], vec!["two".into(), "three".into()], vec!["four".into()]];
    let wrong = wrong("none", &files, &order);
    let steps = ["one → three", "one → two", "three → four", "two → three"];
    assert!(wrong.len() == 4 && steps.iter().all(|step| wrong.iter().any(|line| line.contains(step))), "{wrong:?}");
}

#[test]
fn the_picture_is_read_line_by_line() {
    let text = "# D\n\n## Folders\n\nwords\n\n```text\na: b → c, d → e\ncrates: x → y\n```\n";
    let picture = parse(text).unwrap();
    assert_eq!(picture["a"], [vec!["b".to_owned()], vec!["c".into(), "d".into()], vec!["e".into()]]);
    assert_eq!((place(&picture["a"], "d"), place(&picture["a"], "f")), (Some(1), None));
    assert_eq!(parse("# D\n"), None);
}

#[test]
fn fields_and_methods_are_counted() {
    let text = "struct Small { a: u8, b: std::fmt::Error }\nstruct Tuple(u8);\npub struct Big<T> where T: Copy {\n    pub f0: u8,\n";
    let fields: String =
        (1..17).map(|n| format!("    f{n}: std::collections::HashMap<u8, fn(u8) -> [u8; 4]>,\n")).collect();
    let file = Source { path: "a.rs".into(), code: format!("{text}{fields}}}\n") };
    assert_eq!(large(&[file]).into_iter().collect::<Vec<_>>(), [("Big".to_owned(), 17)]);

    let source = |path: &str, code: &str| Source { path: path.into(), code: code.into() };
    let home = source(
        "home.rs",
        "\nimpl State {\n    pub fn called(&mut self) {}\n    fn own(&self) {\n        self.called();\n    }\n}\n",
    );
    let other = source("other/mod.rs", "fn f(state: &mut State) { state.called(); self.own(); estate.own(); }");
    let found: Vec<_> = called_from_outside(&[home, other]).into_iter().collect();
    assert_eq!(found, [("called".to_owned(), BTreeSet::from(["other".to_owned()]))]);
}
