//! The list is what the code says, nothing is missing from it, and every message says what to do.

use super::*;

/// What a clause begins with that says what to do.
const DO: &[&str] = &[
    "add",
    "ask",
    "change",
    "choose",
    "close",
    "copy",
    "delete",
    "end",
    "enter",
    "force",
    "give",
    "install",
    "join",
    "kill",
    "leave",
    "load",
    "log",
    "make",
    "mend",
    "move",
    "name",
    "pause",
    "plug",
    "press",
    "put",
    "raise",
    "reinstall",
    "remove",
    "rename",
    "reset",
    "run",
    "send",
    "set",
    "shut",
    "start",
    "stop",
    "switch",
    "tap",
    "tell",
    "try",
    "turn",
    "type",
    "unlock",
    "unpack",
    "unplug",
    "unset",
    "use",
    "wait",
    "write",
];

/// Beside whose sentences stands what to do, by the types of the code: no check of `phyllome doctor` that finds fault can
/// be made without what mends it.
const SAY_IT: &[&str] = &["compositor/tool/src/bin/phyllome/doctor"];

/// Commands of the tool that sentences name.
const COMMANDS: &[&str] =
    &["doctor", "kill", "list", "logs", "panel", "pause", "restart", "resume", "start", "status", "switch", "shutdown"];

/// Whether a sentence says what to press or run, or what to write in which file.
fn says_what_to_do(text: &str) -> bool {
    let begins = |clause: &str| {
        let word = clause.split_whitespace().find(|word| !["or", "and", "then", "else", "so"].contains(word));
        let word: String = word.unwrap_or_default().chars().filter(|c| c.is_alphabetic()).collect();
        // NAME is a name, and no order.
        if word.len() > 1 && word.chars().all(char::is_uppercase) {
            return false;
        }
        DO.contains(&word.to_lowercase().as_str())
    };
    // “phyllome status shows all guests”, and not “why phyllome status is empty”.
    let runs = |clause: &str| {
        let clause = clause.trim_start_matches([' ', '“', '`']);
        let mut words = clause.strip_prefix("phyllome ").unwrap_or_default().split([' ', '”', '`']);
        words.next().is_some_and(|command| COMMANDS.contains(&command)) && words.any(|word| !word.is_empty())
    };
    let key = [" = \"", " = false", " = true", "allowed here:"].iter().any(|sign| text.contains(sign));
    key || text.split([';', ':', ',', '.', '(']).any(|clause| begins(clause) || runs(clause))
}

/// Whether the pieces between the holes of `text` stand in this order in `line`.
fn fits(text: &str, line: &str) -> bool {
    let pieces = filled(text, |_| "\0".to_owned());
    let mut rest = line;
    pieces.split('\0').all(|piece| match rest.split_once(piece.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn docs_list_the_messages_that_the_code_has() {
    let (said, wanted) = (fs::read_to_string(path()).unwrap(), list().unwrap());
    let differs = said.lines().zip(wanted.lines()).find(|(said, wanted)| said != wanted);
    assert!(said == wanted, "docs/messages.md is old; write it anew with cargo xtask messages: {differs:?}");
}

#[test]
fn every_source_file_has_its_place_in_the_list_or_is_apart() {
    let mut files = BTreeSet::new();
    for krate in CRATES {
        let sources = source::read(&repository().join(krate).join("src")).unwrap();
        files.extend(sources.iter().map(|source| format!("{krate}/src/{}", source.path.display())));
    }
    let without: Vec<_> = files.iter().filter(|file| leading_to(file).is_none()).collect();
    assert!(without.is_empty(), "{without:?} are nowhere in tests/xtask/src/messages/places.rs");
    for path in paths() {
        assert_eq!(paths().filter(|other| *other == path).count(), 1, "{path} is there twice");
        assert!(files.iter().any(|file| leading_to(file) == Some(path)), "{path} is in places.rs and leads to no file");
    }
}

#[test]
fn every_message_says_what_to_press_run_or_change() {
    let waived: Vec<_> =
        INSIDE.iter().chain(APART).map(|(path, _)| *path).chain(SCREEN.iter().chain(SAY_IT).copied()).collect();
    let all = sentences().unwrap();
    let bad: Vec<_> = all
        .iter()
        .filter(|sentence| !listed_in(&waived, &sentence.file))
        .filter(|sentence| why(&sentence.text).is_none() && !says_what_to_do(&sentence.shown))
        .map(|sentence| format!("{}: {}", sentence.file, sentence.text))
        .collect();
    assert!(bad.is_empty(), "these say nothing of what to do, and explained.rs does not say why:\n{}", bad.join("\n"));
}

#[test]
fn what_stands_inside_of_a_message_stands_in_one_that_says_what_to_do() {
    let all = sentences().unwrap();
    for (path, whole) in INSIDE {
        assert!(all.iter().any(|sentence| sentence.text == *whole), "{path}: there is no sentence “{whole}”");
        assert!(says_what_to_do(whole), "{whole}");
    }
}

#[test]
fn only_what_is_there_is_explained_and_few_messages_need_nothing() {
    let all = sentences().unwrap();
    for (index, (text, why)) in EXPLAINED.iter().enumerate() {
        assert!(all.iter().any(|sentence| sentence.text == *text), "explained.rs explains “{text}”, which is nowhere");
        assert!(EXPLAINED.iter().skip(index + 1).all(|(other, _)| other != text), "“{text}” is explained twice");
        assert!(matches!(why, Why::Part) || !says_what_to_do(text), "“{text}” says what to do, and is excused");
    }
    let notices = EXPLAINED.iter().filter(|(_, why)| matches!(why, Why::Notice(_))).count();
    assert_eq!(notices, NOTICES, "so many messages say nothing of what to do; let it be fewer, never more");
}

/// As many as there are.
const NOTICES: usize = 16;

#[test]
fn every_sentence_of_the_screen_is_among_those_that_its_tests_write() {
    let screen = screen().unwrap();
    let all = sentences().unwrap();
    let on_screen = all.iter().filter(|sentence| listed_in(SCREEN, &sentence.file) && why(&sentence.text).is_none());
    let missing: Vec<_> = on_screen.filter(|sentence| !screen.lines().any(|line| fits(&sentence.text, line))).collect();
    assert!(missing.is_empty(), "compositor/src/shell/messages.rs has no example of {missing:#?}");
}

#[test]
fn no_entry_begins_in_the_middle_of_a_sentence() {
    let list = list().unwrap();
    let begins = |entry: &&str| [";", ",", "is ", "has ", "may ", "lacks "].iter().any(|part| entry.starts_with(part));
    let cut: Vec<_> = list.lines().filter_map(|line| line.strip_prefix("- `")).filter(begins).collect();
    assert!(cut.is_empty(), "{cut:#?}");
    let all = sentences().unwrap();
    assert!(HEADLESS.iter().all(|text| all.iter().any(|sentence| sentence.text == *text)));
}

#[test]
fn sentences_are_read_with_their_holes_and_log_lines_are_not() {
    let code = concat!(
        "const ALLOWED: &str =\n    \"red or blue\";\n",
        "fn a() { tracing::warn!(error = %b(\"x y\"), \"a log line\"); }\n",
        "#[error(\"the \\\"{0}\\\" of {path} is \\\n         bad: {why:?}; use {ALLOWED}\")]\n",
        "#[expect(lint, reason = \"it is so\")]\nfn b() { c.expect(\"it is there\"); say(\"one\", r#\"two words\"#, '\"') }\n",
    );
    let found: Vec<_> = sentences_of("a.rs", code).into_iter().map(|sentence| sentence.shown).collect();
    assert_eq!(found, ["x y", "the \"…\" of PATH is bad: WHY; use red or blue", "two words"]);
}

#[test]
fn what_says_what_to_do_is_told_from_what_does_not() {
    for text in ["it is full; make room", "press it", "KVM fails (phyllome doctor says more)", "x; then try again"] {
        assert!(says_what_to_do(text), "{text}");
    }
    for text in [
        "the end came",
        "phyllome is there",
        "it ended; its end was sudden",
        "makes sense",
        "it ended, see",
        "why phyllome status is empty",
    ] {
        assert!(!says_what_to_do(text), "{text}");
    }
}
