//! Compiles `ui-assets/` into the program: the .slint files, and the icons as path data under their files' names.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let assets = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../ui-assets").canonicalize()?;
    let icons = assets.join("icons");
    println!("cargo::rerun-if-changed={}", icons.display());
    fs::write(Path::new(&env::var("OUT_DIR")?).join("icons.rs"), icon_constants(&icons)?)?;

    // Nothing of the host's may get in: no style of its own, no fonts of its own.
    let config = slint_build::CompilerConfiguration::new()
        .with_style("fluent-dark".to_owned())
        .embed_resources(slint_build::EmbedResourcesKind::EmbedFiles);
    slint_build::compile_with_config(assets.join("shell.slint"), config)?;
    Ok(())
}

/// One `pub const NAME: &str` for each icon.
fn icon_constants(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let mut text = String::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "svg")) {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file.file_stem().and_then(|stem| stem.to_str()).ok_or("an icon's name is not text")?;
        let data = path_data(&fs::read_to_string(file)?).map_err(|why| format!("{}: {why}", file.display()))?;
        writeln!(text, "/// `ui-assets/icons/{name}.svg`")?;
        writeln!(text, "pub const {}: &str = {data:?};", name.to_uppercase().replace('-', "_"))?;
    }
    Ok(text)
}

/// The path data of an icon: all of its `<path d="…"/>`, which must be all that it draws.
fn path_data(svg: &str) -> Result<String, String> {
    let mut data = Vec::new();
    for element in svg.split('<').skip(1) {
        if let Some(path) = element.strip_prefix("path ") {
            let (_, rest) = path.split_once("d=\"").ok_or("a path without d")?;
            let (d, _) = rest.split_once('"').ok_or("a path whose d does not end")?;
            data.push(d);
        } else if !element.starts_with("svg ") && !element.starts_with("/svg") {
            return Err(format!("only <path d=\"…\"/> is drawn, not <{}", element.lines().next().unwrap_or_default()));
        }
    }
    if data.is_empty() { Err("it draws nothing".to_owned()) } else { Ok(data.join(" ")) }
}
