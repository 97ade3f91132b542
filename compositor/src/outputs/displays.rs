//! `[output.NAME]` of shell.toml: which of them are an output's, and where outputs lie by them.
//!
//! A display is known by its connector, or by what it says of itself, which goes first: connectors of a dock have other
//! numbers with each plug. What a display says is a stranger's: it chooses among the person's own settings and no more.

use super::Output;
use super::arrange::places;
use phyllome_config::shell::OutputConfig;
use std::collections::BTreeMap;

/// What a person set about displays.
#[derive(Debug, Default)]
pub struct Displays {
    settings: BTreeMap<String, OutputConfig>,
    /// What was said last of positions that cannot be.
    told: Vec<String>,
}

/// The settings of the output at this connector that says this of itself.
pub fn settings_of<'a>(
    settings: &'a BTreeMap<String, OutputConfig>,
    connector: &str,
    identity: Option<&str>,
) -> Option<&'a OutputConfig> {
    identity.and_then(|identity| settings.get(identity)).or_else(|| settings.get(connector))
}

impl Displays {
    /// These settings.
    pub fn new(settings: BTreeMap<String, OutputConfig>) -> Self {
        Self { settings, told: Vec::new() }
    }

    /// The settings of an output.
    pub fn of(&self, output: &Output) -> Option<&OutputConfig> {
        settings_of(&self.settings, &output.name, output.identity.as_deref())
    }

    /// Takes other settings for an output.
    #[cfg(test)]
    pub(crate) fn set(&mut self, name: &str, settings: OutputConfig) {
        self.settings.insert(name.to_owned(), settings);
    }

    /// What was said last of positions that cannot be.
    #[cfg(test)]
    pub(crate) fn told(&self) -> &[String] {
        &self.told
    }

    /// Puts outputs where their settings want them. A position that cannot be is said once and passed over.
    pub(crate) fn arrange(&mut self, outputs: &mut [Output]) {
        let mut told = Vec::new();
        let beside: Vec<_> = outputs
            .iter()
            .map(|output| {
                let position = self.of(output)?.position.as_ref()?;
                let found = outputs.iter().position(|other| other.is_called(&position.of));
                if found.is_none() {
                    told.push(format!(
                        "{} has no place beside {}, which is not plugged in; it lies with those that have no position",
                        output.name, position.of
                    ));
                }
                Some((position.side, found?))
            })
            .collect();
        let sizes: Vec<(u32, u32)> = outputs.iter().map(|output| output.size).collect();
        let placed = places(&sizes, &beside);
        for index in placed.refused {
            told.extend(outputs.get(index).map(|output| {
                format!(
                    "{} lies at the right end: its position goes round in a circle, or another display is there; change \
                     position under its [output.…]",
                    output.name
                )
            }));
        }
        for (output, position) in outputs.iter_mut().zip(placed.corners) {
            output.position = position;
        }
        if told != self.told {
            told.iter().for_each(|sentence| tracing::warn!("{sentence}"));
            self.told = told;
        }
    }
}
