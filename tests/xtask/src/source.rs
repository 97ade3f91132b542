//! Reads Rust sources as text: without comments, without what strings say, without tests.
//!
//! Enough for counting lines and following imports of this repository, whose sources are formatted by rustfmt; it is no
//! parser, knows nothing of macros, and trusts that what it reads compiles.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file of the product.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path below the crate's `src`, such as `wayland/seat.rs`.
    pub path: PathBuf,
    /// Its text without comments and tests; every line is where it was.
    pub code: String,
}

impl Source {
    /// The file or folder right below `src` that it belongs to, as modules are named: `wayland`, `turns`.
    #[cfg(test)]
    pub fn top(&self) -> String {
        let first = self.path.iter().next().unwrap_or_default().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The path of its module: `wayland`, `seat`.
    #[cfg(test)]
    pub fn module(&self) -> Vec<String> {
        let mut path: Vec<_> =
            self.path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            path.pop();
        }
        path
    }

    /// Lines that hold code.
    pub fn lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// All files below a crate's `src`, but for those that are compiled for tests only.
pub fn read(src: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    collect(src, &mut paths)?;
    let (mut sources, mut tests) = (Vec::new(), BTreeSet::new());
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let code = without_comments(&text);
        let (code, modules) = without_tests(&code);
        // `mod.rs` and `lib.rs` have their modules beside them, every other file in a folder of its own name.
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let beside = path.parent().unwrap_or(src).to_owned();
        let folder = if ["mod", "lib", "main"].contains(&stem.as_str()) { beside.clone() } else { beside.join(&stem) };
        for module in modules {
            match module {
                TestModule::At(file) => drop(tests.insert(beside.join(file))),
                TestModule::Named(name) => {
                    tests.insert(folder.join(format!("{name}.rs")));
                    tests.insert(folder.join(name));
                }
            }
        }
        sources.push((path, code));
    }
    let is_test = |path: &Path| path.ancestors().any(|part| tests.contains(part));
    // What a test file declares lies below its folder of the same name.
    let below_test = |path: &Path| path.ancestors().any(|part| tests.contains(&part.with_extension("rs")));
    sources.retain(|(path, _)| !is_test(path) && !below_test(path));
    let relative = |path: PathBuf| path.strip_prefix(src).map(Path::to_owned).unwrap_or(path);
    Ok(sources.into_iter().map(|(path, code)| Source { path: relative(path), code }).collect())
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The text with comments as spaces.
pub fn without_comments(text: &str) -> String {
    blank(text, true)
}

/// The text with comments and what strings and characters hold as spaces.
pub fn bare(text: &str) -> String {
    blank(text, false)
}

fn blank(text: &str, keep_strings: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    let hide = |out: &mut Vec<u8>, from: usize, to: usize| {
        let to = to.min(bytes.len());
        out[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    };
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"//") {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length);
            hide(&mut out, at, end);
            at = end;
        } else if rest.starts_with(b"/*") {
            let mut depth = 1;
            let mut end = at + 2;
            while end < bytes.len() && depth > 0 {
                if bytes[end..].starts_with(b"/*") {
                    (depth, end) = (depth + 1, end + 2);
                } else if bytes[end..].starts_with(b"*/") {
                    (depth, end) = (depth - 1, end + 2);
                } else {
                    end += 1;
                }
            }
            hide(&mut out, at, end);
            at = end;
        } else if let Some((from, to, end)) = string(bytes, at) {
            if !keep_strings {
                hide(&mut out, from, to);
            }
            at = end;
        } else {
            at += 1;
        }
    }
    // Only whole characters were replaced, each byte by a space.
    String::from_utf8_lossy(&out).into_owned()
}

/// A string or a character that begins here: where what it holds begins and ends, and where it ends itself.
fn string(bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = &bytes[at..];
    match rest[0] {
        b'"' => {
            let mut end = at + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            Some((at + 1, end, end + 1))
        }
        b'r' if at == 0 || !is_word(bytes[at - 1]) || bytes[at - 1] == b'b' => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return None;
            }
            let closing = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            let from = at + 2 + hashes;
            let length = bytes[from..].windows(closing.len()).position(|window| window == closing)?;
            Some((from, from + length, from + length + closing.len()))
        }
        // A lifetime has no closing quote.
        b'\'' => {
            let end = if rest.get(1) == Some(&b'\\') {
                at + 3 + rest[3..].iter().position(|byte| *byte == b'\'')?
            } else {
                let width = rest.get(1).map_or(1, |first| match first {
                    0..0x80 => 1,
                    0x80..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    _ => 4,
                });
                (rest.get(1 + width) == Some(&b'\'')).then_some(at + 1 + width)?
            };
            Some((at + 1, end, end + 1))
        }
        _ => None,
    }
}

/// A module that is compiled for tests only and lies in a file of its own.
enum TestModule {
    /// By its name.
    Named(String),
    /// In a file that an attribute names, beside the one that declares it.
    At(String),
}

/// Blanks every item behind `#[cfg(test)]`; gives the modules among them that are files.
fn without_tests(code: &str) -> (String, Vec<TestModule>) {
    const MARKS: [&str; 2] = ["#[cfg(test)]", "#![cfg(test)]"];
    let bare = bare(code);
    let mut out = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    let mut from = 0;
    if bare.contains(MARKS[1]) {
        return (String::new(), modules);
    }
    while let Some(found) = bare[from..].find(MARKS[0]) {
        let start = from + found;
        let end = end_of_item(bare.as_bytes(), start + MARKS[0].len());
        let (item, text) = (&bare[start..end], &code[start..end]);
        if let Some((_, name)) = item.rsplit_once("mod ")
            && let Some(name) = name.strip_suffix(';')
        {
            let file = text.split_once("path = \"").and_then(|(_, rest)| rest.split_once('"'));
            modules.push(file.map_or_else(
                || TestModule::Named(name.trim().to_owned()),
                |(file, _)| TestModule::At(file.to_owned()),
            ));
        }
        out[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        from = end;
    }
    (String::from_utf8_lossy(&out).into_owned(), modules)
}

/// Where an item ends: behind its `;`, its braces, or, of a field or an argument, its comma.
fn end_of_item(code: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' if depth > 0 => depth -= 1,
            b'}' if depth > 1 => depth -= 1,
            b'}' if depth == 1 => return at + 1,
            b'}' | b')' | b']' => return at,
            b';' | b',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_stay_or_go() {
        let text =
            "let a = \"// no\"; // yes\n/* a /* b */ */ let b = r#\"/* \" no\"#; let c: &'a str = '\\'';\nlet d = 'ä';";
        let kept =
            "let a = \"// no\";       \n                let b = r#\"/* \" no\"#; let c: &'a str = '\\'';\nlet d = 'ä';";
        assert_eq!(without_comments(text), kept);
        let bare = bare(text);
        assert!(bare.contains("let a = \"     \";") && bare.contains("let d = '  ';"), "{bare}");
        assert!(!bare.contains("no"), "{bare}");
    }

    #[test]
    fn what_is_for_tests_only_goes() {
        let text = concat!(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { '}'; }\n}\nfn c() {}\n",
            "#[cfg(test)]\n#[path = \"d_tests.rs\"]\nmod tests;\n#[cfg(test)]\nmod e;\n",
            "struct S {\n    #[cfg(test)]\n    door: Vec<(u8, u8)>,\n    wall: u8,\n}\n",
        );
        let (code, modules) = without_tests(text);
        let lines: Vec<_> = code.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["fn a() {}", "fn c() {}", "struct S {", "wall: u8,", "}"]);
        assert!(
            matches!(&modules[..], [TestModule::At(file), TestModule::Named(name)] if file == "d_tests.rs" && name == "e")
        );
    }

    #[test]
    fn a_crate_is_read_without_its_test_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("lib.rs", "//! Head.\npub mod a;\n\n#[cfg(test)]\nmod tests;\n");
        write("a/mod.rs", "pub fn a() {} // one\n#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\n");
        write("a/a_tests.rs", "mod deep;");
        write("a/b.rs", "fn b() {}\n#[cfg(test)]\nmod tests;\n");
        write("a/b/tests.rs", "fn t() {}");
        write("tests/mod.rs", "fn t() {}");
        write("tests/more.rs", "fn t() {}");
        let sources = read(folder.path()).unwrap();
        let found: Vec<_> = sources.iter().map(|source| (source.path.to_str().unwrap(), source.lines())).collect();
        assert_eq!(found, [("a/b.rs", 1), ("a/mod.rs", 1), ("lib.rs", 1)]);
        assert_eq!((sources[0].top(), sources[0].module()), ("a".to_owned(), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(sources[1].module(), ["a"]);
    }
}
