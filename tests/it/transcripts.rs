//! Golden dialogues: `tests/transcripts/*.txt`, one behaviour each.
//!
//! ```text
//! # What the dialogue shows.
//! @ flags --attempts 1            flags of `serve`
//! > {"cmd":"help"}                a line that is sent
//! < {"ok":true,...}               its reply: `...` is anything, `$S` is taken on first use
//! @ code $C from the newest mail  `$C+1` is then another code
//! @ wait 601s                     moves the clock
//! @ outbox away                   the directory disappears; `@ outbox back`
//! @ eof                           no more input
//! @ exit 0                        the exit status
//! ```
//!
//! Each is played in this process and, with everything that was said written at once, against the
//! binary in the simulated world, whose output must be the same to the byte.

use std::collections::HashMap;
use std::path::Path;

use crate::harness::{Binary, SEED, World, other_code};

struct Player {
    world: World,
    names: HashMap<String, String>,
    said: Vec<String>,
    replies: Vec<String>,
    heard: usize,
    alone: bool,
}

impl Player {
    fn say(&mut self, line: String) {
        let reply = self.world.say(&line);
        if !reply.is_empty() {
            self.replies.push(reply);
        }
        self.said.push(line);
    }

    fn direct(&mut self, directive: &str) {
        let away = self.world.outbox.with_extension("away");
        match directive.split_whitespace().collect::<Vec<_>>()[..] {
            ["code", name, "from", "the", "newest", "mail"] => {
                self.names.insert(name.to_owned(), self.world.newest_code());
            }
            ["wait", span] => {
                let seconds = span.trim_end_matches('s');
                self.say(format!("{{\"cmd\":\"advance\",\"seconds\":{seconds}}}"));
                self.heard += 1;
            }
            ["outbox", "away"] => {
                std::fs::rename(&self.world.outbox, away).expect("it can go");
                self.alone = true;
            }
            ["outbox", "back"] => {
                std::fs::rename(away, &self.world.outbox).expect("it can come back");
            }
            ["eof"] | ["flags", ..] | ["exit", "0"] => {}
            _ => panic!("no such directive: {directive}"),
        }
    }

    /// A line with the names in it replaced by what they stand for.
    fn filled(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.names {
            for by in 1..10 {
                let other = format!("{name}+{by}");
                if line.contains(&other) {
                    line = line.replace(&other, &other_code(value, by));
                }
            }
            line = line.replace(name.as_str(), value);
        }
        line
    }

    fn expect(&mut self, pattern: &str) {
        let reply = self.replies.get(self.heard).cloned().unwrap_or_default();
        self.heard += 1;
        let pattern = self.filled(pattern);
        let matched = matches(&pattern, &reply, &mut self.names);
        assert!(matched, "expected {pattern}\n     got {reply}");
    }
}

/// Whether `text` is what `pattern` says; names that were not known are taken from it.
fn matches(pattern: &str, text: &str, names: &mut HashMap<String, String>) -> bool {
    if let Some(rest) = pattern.strip_prefix("...") {
        return text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| {
            let mut tried = names.clone();
            let matched = matches(rest, &text[at..], &mut tried);
            if matched {
                names.clone_from(&tried);
            }
            matched
        });
    }
    if pattern.starts_with('$') {
        let word = |text: &str, from: usize| {
            let end = text[from..].find(|c: char| !c.is_ascii_alphanumeric());
            end.map_or(text.len(), |end| from + end)
        };
        let (name, rest) = pattern.split_at(word(pattern, 1));
        let (value, left) = text.split_at(word(text, 0));
        names.insert(name.to_owned(), value.to_owned());
        return !value.is_empty() && matches(rest, left, names);
    }
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => {
            matches(&pattern[a.len_utf8()..], &text[b.len_utf8()..], names)
        }
        _ => false,
    }
}

fn flags(script: &str) -> Vec<&str> {
    script
        .lines()
        .find_map(|line| line.strip_prefix("@ flags "))
        .unwrap_or_default()
        .split(' ')
        .collect()
}

fn play(script: &str) {
    let mut given = flags(script);
    given.retain(|flag| !flag.is_empty());
    let mut player = Player {
        world: World::new(&given),
        names: HashMap::new(),
        said: Vec::new(),
        replies: Vec::new(),
        heard: 0,
        alone: false,
    };
    for line in script.lines() {
        match line.split_at_checked(2).unwrap_or((line, "")) {
            ("> ", said) => player.say(player.filled(said)),
            (">", _) => player.say(String::new()),
            ("< ", pattern) => player.expect(pattern),
            ("@ ", directive) => player.direct(directive),
            ("# ", _) | ("", _) => {}
            _ => panic!("not a line of a transcript: {line}"),
        }
    }
    assert_eq!(player.heard, player.replies.len(), "a reply was not expected");
    if !player.alone {
        against_the_binary(&given, &player);
    }
}

fn against_the_binary(flags: &[&str], player: &Player) {
    let binary = Binary::new();
    let seed = SEED.to_string();
    let mut args = vec!["serve", "--log", "off", "--outbox", "outbox", "--simulate", &seed];
    args.extend(flags);
    let input: String = player.said.iter().map(|line| format!("{line}\n")).collect();
    let output = binary.assert(&args).write_stdin(input).assert().success();
    let told = String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8");
    let here = player.world.outbox.to_str().expect("UTF-8");
    let expected: String =
        player.replies.iter().map(|line| line.replace(here, "outbox") + "\n").collect();
    assert_eq!(told, expected, "the binary says something else");
}

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("transcripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "only {} transcripts", files.len());
    let mut failed = Vec::new();
    for file in &files {
        let script = std::fs::read_to_string(file).expect("a transcript");
        if std::panic::catch_unwind(|| play(&script)).is_err() {
            failed.push(file.file_name().expect("a name"));
        }
    }
    assert!(failed.is_empty(), "these went otherwise: {failed:?}");
}

#[test]
fn a_pattern_takes_names_and_skips_what_it_is_told_to() {
    let mut names = HashMap::new();
    assert!(matches(r#"{"a":"$S",...,"b":2}"#, r#"{"a":"XY1","c":"$","b":2}"#, &mut names));
    assert_eq!(names["$S"], "XY1");
    assert!(!matches(r#"{"a":1,...}"#, r#"{"a":2,"b":3}"#, &mut names));
    assert!(!matches(r#"{"a":1}"#, r#"{"a":1} "#, &mut names));
}
