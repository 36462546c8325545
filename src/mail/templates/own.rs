//! The templates of one language of the operator's: compiled once, rendered for each message.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, Error, UndefinedBehavior, Value};

use super::directory::FILES;
use super::{Rendered, Values, check};

/// The values that a template may use.
const NAMES: [&str; 5] = ["code", "product", "purpose", "minutes", "vars"];
/// What a rendering may cost, in instructions; 64 bytes that are written cost as much as one. It
/// bounds loops, and bounds what is written to 1.3 MB.
const FUEL: u64 = 20_000;

/// The templates of a language.
#[derive(Clone, Debug)]
pub struct Own {
    /// The language's tag, in lower case.
    pub tag: String,
    /// Whether `vars` make a difference.
    pub uses_vars: bool,
    name: String,
    environment: Environment<'static>,
    code_in_subject: bool,
}

impl Own {
    /// Compiles the files of a directory called `name`.
    ///
    /// # Errors
    /// Where the syntax is wrong or a value is unknown, and what it is.
    pub fn compile(name: &str, files: [String; 3], code_in_subject: bool) -> Result<Self, String> {
        let mut own = Self {
            tag: name.to_ascii_lowercase(),
            uses_vars: false,
            name: name.to_owned(),
            environment: environment(),
            code_in_subject,
        };
        for (file, text) in FILES.iter().zip(files) {
            // Its ending tells the engine what to escape.
            let added = own.environment.add_template_owned(*file, text);
            added.map_err(|err| own.fault(&err))?;
            own.uses_vars |= own.check_names(file)?;
        }
        Ok(own)
    }

    /// Refuses unknown values, those included that no sample would reach. Tells whether there are
    /// `vars`.
    fn check_names(&self, file: &str) -> Result<bool, String> {
        let template = self.environment.get_template(file).map_err(|err| self.fault(&err))?;
        let source = template.source();
        let mut names: Vec<(usize, String)> = template
            .undeclared_variables(true)
            .into_iter()
            .map(|name| (line_of_name(source, &name), name))
            .collect();
        names.sort();
        let is_known = |name: &str| match name.split_once('.') {
            Some((object, name)) => object == "vars" && !name.contains('.'),
            None => NAMES.contains(&name),
        };
        match names.iter().find(|(_, name)| !is_known(name)) {
            Some((line, name)) => Err(self.at(file, *line, &format!("unknown value \"{name}\""))),
            None => Ok(names.iter().any(|(_, name)| name.starts_with("vars"))),
        }
    }

    /// Writes the words of a message.
    ///
    /// # Errors
    /// Where it can't be done and why, without any of the values.
    pub fn render(&self, values: &Values<'_>) -> Result<Rendered, String> {
        let context = context(values, "");
        let rendered = self.outputs(&context).map_err(|err| {
            // The engine's own words may hold a value.
            let (file, line) = (err.name().unwrap_or_default(), err.line().unwrap_or(1));
            format!("template {}", self.at(file, line, &err.kind().to_string()))
        })?;
        match check::shape(&rendered, values.code, self.code_in_subject) {
            Ok(()) => Ok(rendered),
            Err(check::Fault { file, what, .. }) => {
                Err(format!("template {}/{}: {what}", self.name, FILES[file]))
            }
        }
    }

    /// As [`Own::render`], unchecked.
    ///
    /// # Errors
    /// What the engine says.
    pub fn outputs(&self, context: &Value) -> Result<Rendered, Error> {
        let part =
            |file: usize| self.environment.get_template(FILES[file])?.render(context.clone());
        let subject = part(0)?;
        let subject = subject.trim_end_matches('\n').trim_matches(' ').to_owned();
        Ok(Rendered { subject, text: part(1)?, html: part(2)? })
    }

    /// The line of a file from which the byte `at` of its output comes; the last one for its end.
    pub fn line_of(&self, file: usize, context: &Value, at: usize) -> usize {
        let Ok(template) = self.environment.get_template(FILES[file]) else { return 1 };
        let source = template.source();
        let spans = template.render_with_spans(context.clone()).map(|(_, spans)| spans);
        let spans = spans.unwrap_or_default();
        match spans.iter().find(|span| span.output_range().contains(&at)) {
            None => source.lines().count().max(1),
            Some(span) => {
                // Of words that were copied, the place in them tells the line.
                let into = at - span.output_range().start;
                let copied = source.get(span.source_range()).and_then(|text| text.get(..into));
                let is_copied = span.kind() == minijinja::OutputSpanKind::Raw;
                let below =
                    copied.filter(|_| is_copied).map_or(0, |text| text.matches('\n').count());
                span.line() + below
            }
        }
    }

    /// A complaint of the engine's.
    pub fn fault(&self, err: &Error) -> String {
        let what = err.detail().map_or_else(|| err.kind().to_string(), str::to_owned);
        self.at(err.name().unwrap_or_default(), err.line().unwrap_or(1), &what)
    }

    /// A complaint about a line.
    pub fn at(&self, file: &str, line: usize, what: &str) -> String {
        format!("{}/{file}:{line}: {what}", self.name)
    }
}

/// The engine: what is unknown is an error, work is bounded, escaping can't be left out by a
/// filter, and a tag on a line of its own leaves no blank line.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    // The delimiters are the usual ones, and the only thing that could be wrong.
    environment.set_syntax(syntax.build().unwrap_or_default());
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.remove_filter("safe");
    environment
}

/// The values as the engine takes them. A name that is not among `vars` is `other`.
pub fn context(values: &Values<'_>, other: &str) -> Value {
    let given = values.vars.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
    let vars = Vars { given: given.collect(), other: other.to_owned() };
    Value::from_pairs([
        ("code", Value::from_object(Code(values.code.to_owned()))),
        ("product", Value::from(values.product)),
        ("purpose", Value::from(values.purpose.unwrap_or_default())),
        ("minutes", Value::from(values.life.count)),
        ("vars", Value::from_object(vars)),
    ])
}

/// The code, or what stands in for it: it can be written, and nothing else, since a part of what
/// stands in for it would be a part of nothing.
#[derive(Debug)]
struct Code(String);

impl Object for Code {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug)]
struct Vars {
    given: Vec<(String, String)>,
    other: String,
}

impl Object for Vars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let known = self.given.iter().find(|(name, _)| key.as_str() == Some(name));
        Some(Value::from(known.map_or(self.other.as_str(), |(_, value)| value)))
    }
}

/// The first line on which a name stands in a tag. The engine tells only that it stands somewhere.
fn line_of_name(source: &str, name: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let stands_in_tag = |at: &usize| {
        let (before, after) = (&source[..*at], &source[at + name.len()..]);
        let opening = before.rfind("{{").max(before.rfind("{%"));
        let closing = before.rfind("}}").max(before.rfind("%}"));
        opening > closing && !before.ends_with(is_part) && !after.starts_with(is_part)
    };
    let mut places = source.match_indices(name).map(|(at, _)| at);
    places.find(stands_in_tag).map_or(1, |at| 1 + source[..at].matches('\n').count())
}
