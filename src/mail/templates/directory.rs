//! Reads a directory of templates: one directory for each language, named by its tag, with three
//! files in it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use oxilangtag::LanguageTag;

/// The files of a language.
pub const FILES: [&str; 3] = ["subject.txt", "body.txt", "body.html"];
/// Largest file, in bytes: far more than a message of one code needs, and read whole.
const FILE_MAX: u64 = 64 << 10;

/// A language's directory by its name, and what its files hold.
pub type Source = (String, [String; 3]);

/// Everything in `directory`, in the order of its names. Plain files beside the languages, and
/// whatever has a name that begins with a dot, are not looked at.
///
/// # Errors
/// A sentence that names what can't be used.
pub fn read(directory: &str) -> Result<Vec<Source>, String> {
    let root = Path::new(directory);
    let mut sources: Vec<Source> = Vec::new();
    for name in names(root).map_err(|err| format!("templates `{directory}`: {err}"))? {
        let path = root.join(&name);
        if !path.is_dir() {
            continue;
        }
        let known = |other: &Source| other.0.eq_ignore_ascii_case(&name);
        if LanguageTag::parse(name.as_str()).is_err() {
            return Err(format!("templates: `{name}` is not a language tag such as de or pt-BR"));
        } else if let Some((other, _)) = sources.iter().find(|other| known(other)) {
            return Err(format!("templates: `{other}` and `{name}` are the same language"));
        }
        let files = read_language(&path).map_err(|why| format!("templates: {name}{why}"))?;
        sources.push((name, files));
    }
    // Most likely the directory of one language was meant.
    if sources.is_empty() {
        return Err(format!("templates `{directory}`: there is no directory of a language in it"));
    }
    Ok(sources)
}

/// The names in a directory, sorted, so that the first complaint is always the same.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

fn read_language(path: &Path) -> Result<[String; 3], String> {
    let names = names(path).map_err(|err| format!(": {err}"))?;
    if let Some(other) = names.iter().find(|name| !FILES.contains(&name.as_str())) {
        return Err(format!("/{other}: only subject.txt, body.txt and body.html belong here"));
    }
    let mut files = [const { String::new() }; 3];
    for (file, text) in FILES.iter().zip(&mut files) {
        *text = read_file(&path.join(file)).map_err(|why| format!("/{file}{why}"))?;
    }
    Ok(files)
}

/// A file's text with LF at the ends of its lines. What begins with a colon and a number in a
/// complaint is the line.
fn read_file(path: &Path) -> Result<String, String> {
    let say = |err: io::Error| format!(": {err}");
    // A pipe would keep us waiting for whoever writes to it.
    if !fs::metadata(path).map_err(say)?.is_file() {
        return Err(": it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(say)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!(": it is larger than {} KiB", FILE_MAX >> 10));
    }
    let line_at = |at: usize| 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
    let text = std::str::from_utf8(&bytes)
        .map_err(|err| format!(":{}: it is not UTF-8", line_at(err.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    // What some readers take for the end of a line is none here.
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    match text.find(|c: char| is_odd(c) && !matches!(c, '\n' | '\t')) {
        None => Ok(text),
        Some(at) => {
            let line = 1 + text[..at].matches('\n').count();
            Err(format!(":{line}: there is a control character in it"))
        }
    }
}
