//! A TOML document as spanned tables, and the questions that a schema asks of it.
//!
//! Every answer that is not as wanted is a [`ConfigError`] with line, key and what is allowed. The parser bounds the
//! depth of nesting; [`crate::read`] bounds the size.

use crate::ConfigError;
use crate::error::printable;
use phyllome_protocol::GuestName;
use std::ops::RangeInclusive;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a document comes from.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) guest: Option<&'a GuestName>,
    pub(crate) text: &'a str,
}

impl<'a> Source<'a> {
    /// Reads the text as TOML.
    pub(crate) fn parse(&'a self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let what = printable(error.message().trim());
            self.error(at, None, format!("this is not TOML: {what}; write lines such as key = \"value\""))
        })
    }

    /// The whole document as a table with the given keys.
    pub(crate) fn root<'d>(
        &'d self,
        document: &'d Spanned<DeTable<'d>>,
        known: &'static [&'static str],
    ) -> Result<Table<'d>, ConfigError> {
        Table { source: self, name: String::new(), at: 0, table: document.get_ref() }.knowing(known)
    }

    fn error(&self, at: usize, key: Option<String>, message: String) -> ConfigError {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        ConfigError {
            path: self.path.to_owned(),
            guest: self.guest.cloned(),
            line: Some(1 + before.iter().filter(|b| **b == b'\n').count()),
            key,
            message,
        }
    }
}

/// One table of a document.
pub(crate) struct Table<'d> {
    source: &'d Source<'d>,
    name: String,
    at: usize,
    table: &'d DeTable<'d>,
}

/// One value of a document, with its full key.
pub(crate) struct Value<'d> {
    source: &'d Source<'d>,
    key: String,
    at: usize,
    value: &'d DeValue<'d>,
}

impl<'d> Table<'d> {
    /// Refuses keys that are not `known`.
    fn knowing(self, known: &'static [&'static str]) -> Result<Self, ConfigError> {
        match self.table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => {
                let name = full_key(&self.name, key.get_ref());
                let message = format!("this key is unknown; allowed here: {}", known.join(", "));
                Err(self.source.error(key.span().start, Some(name), message))
            }
            None => Ok(self),
        }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'d>> {
        self.table.get(key).map(|value| Value {
            source: self.source,
            key: full_key(&self.name, key),
            at: value.span().start,
            value: value.get_ref(),
        })
    }

    /// The value of `key`, which must be there.
    pub(crate) fn need(&self, key: &'static str, allowed: &str) -> Result<Value<'d>, ConfigError> {
        let missing = || self.source.error(self.at, Some(full_key(&self.name, key)), format!("missing; use {allowed}"));
        self.get(key).ok_or_else(missing)
    }

    /// A table inside, with the given keys.
    pub(crate) fn table(
        &self,
        key: &'static str,
        known: &'static [&'static str],
    ) -> Result<Option<Table<'d>>, ConfigError> {
        self.get(key).map(|value| value.table(known)).transpose()
    }

    /// All tables of an array `[[key]]`, named `key[1]` and so on; at most `most`.
    pub(crate) fn tables(
        &self,
        key: &'static str,
        known: &'static [&'static str],
        most: usize,
    ) -> Result<Vec<Table<'d>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = value.value else {
            return Err(value.bad(format!("this is {}; use [[{key}]]", value.kind())));
        };
        if array.len() > most {
            return Err(value.bad(format!("there are {}; use at most {most}", array.len())));
        }
        array
            .iter()
            .enumerate()
            .map(|(index, item)| {
                Value {
                    source: self.source,
                    key: format!("{}[{}]", value.key, index.saturating_add(1)),
                    at: item.span().start,
                    value: item.get_ref(),
                }
                .table(known)
            })
            .collect()
    }

    /// Every key with its value, for tables whose keys are names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'d str, Value<'d>)> {
        self.table.iter().map(|(key, value)| {
            let value = Value {
                source: self.source,
                key: full_key(&self.name, key.get_ref()),
                at: key.span().start,
                value: value.get_ref(),
            };
            (key.get_ref().as_ref(), value)
        })
    }

    /// An error of the table itself.
    pub(crate) fn bad(&self, message: impl Into<String>) -> ConfigError {
        let key = (!self.name.is_empty()).then(|| self.name.clone());
        self.source.error(self.at, key, message.into())
    }
}

impl<'d> Value<'d> {
    /// An error of this value.
    pub(crate) fn bad(&self, message: impl Into<String>) -> ConfigError {
        self.source.error(self.at, Some(self.key.clone()), message.into())
    }

    /// The line of this value.
    pub(crate) fn line(&self) -> usize {
        self.source.error(self.at, None, String::new()).line.unwrap_or(1)
    }

    fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    fn wrong_kind(&self, allowed: &str) -> ConfigError {
        self.bad(format!("this is {}; use {allowed}", self.kind()))
    }

    /// A string.
    pub(crate) fn string(&self, allowed: &str) -> Result<&'d str, ConfigError> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_kind(allowed)),
        }
    }

    /// One string or a list of at most `most`, each as a value of its own.
    pub(crate) fn one_or_more(&self, most: usize, allowed: &str) -> Result<Vec<Value<'d>>, ConfigError> {
        let value = |value, at| Value { source: self.source, key: self.key.clone(), at, value };
        let values: Vec<_> = match self.value {
            DeValue::Array(array) if array.len() > most => {
                return Err(self.bad(format!("there are {}; use at most {most}", array.len())));
            }
            DeValue::Array(array) => array.iter().map(|item| value(item.get_ref(), item.span().start)).collect(),
            other => vec![value(other, self.at)],
        };
        values.iter().try_for_each(|value| value.string(allowed).map(drop))?;
        Ok(values)
    }

    /// A boolean.
    pub(crate) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_kind("true or false")),
        }
    }

    /// A whole number in `range`.
    pub(crate) fn integer(&self, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let allowed = format!("{} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = self.value else { return Err(self.wrong_kind(&allowed)) };
        let digits: String = integer.as_str().chars().filter(|c| *c != '_').take(80).collect();
        match i64::from_str_radix(&digits, integer.radix()).ok().and_then(|number| u32::try_from(number).ok()) {
            Some(number) if range.contains(&number) => Ok(number),
            _ => Err(self.bad(format!("{} is not possible; use {allowed}", printable(&digits)))),
        }
    }

    /// One of a few whole numbers.
    pub(crate) fn one_of<T: Copy>(&self, numbers: &[(u32, T)]) -> Result<T, ConfigError> {
        let allowed = format!("one of {}", numbers.iter().map(|(n, _)| n.to_string()).collect::<Vec<_>>().join(", "));
        let DeValue::Integer(integer) = self.value else { return Err(self.wrong_kind(&allowed)) };
        let number = integer.as_str().parse::<u32>().ok().filter(|_| integer.radix() == 10);
        let found = number.and_then(|number| numbers.iter().find(|(one, _)| *one == number));
        let shown = shorten(integer.as_str());
        found.map(|(_, value)| *value).ok_or_else(|| self.bad(format!("{shown} is not possible; use {allowed}")))
    }

    /// A number with or without a fraction.
    pub(crate) fn number(&self, allowed: &str) -> Result<f64, ConfigError> {
        let digits = match self.value {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return Err(self.wrong_kind(allowed)),
        };
        digits.parse().map_err(|_| self.wrong_kind(allowed))
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let allowed = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let DeValue::String(text) = self.value else { return Err(self.wrong_kind(&format!("one of {}", allowed()))) };
        let found = words.iter().find(|(word, _)| word == text);
        found.map(|(_, value)| *value).ok_or_else(|| self.unknown_word(text, &format!("one of {}", allowed())))
    }

    /// The error of a string that is none of what is allowed.
    pub(crate) fn unknown_word(&self, text: &str, allowed: &str) -> ConfigError {
        self.bad(format!("“{}” is not possible; use {allowed}", shorten(text)))
    }

    /// A table with the given keys.
    pub(crate) fn table(&self, known: &'static [&'static str]) -> Result<Table<'d>, ConfigError> {
        self.any_table()?.knowing(known)
    }

    /// A table whose keys are names.
    pub(crate) fn any_table(&self) -> Result<Table<'d>, ConfigError> {
        let DeValue::Table(table) = self.value else { return Err(self.wrong_kind(&format!("[{}]", self.key))) };
        Ok(Table { source: self.source, name: self.key.clone(), at: self.at, table })
    }
}

fn full_key(table: &str, key: &str) -> String {
    let key = shorten(key);
    if table.is_empty() { key } else { format!("{table}.{key}") }
}

fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown = printable(&text.chars().take(MOST).collect::<String>());
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
