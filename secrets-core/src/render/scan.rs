//! Reads the names out of a template's tags: which variables, filters and tests it mentions, and where.
//!
//! minijinja's own analysis of undeclared variables leaves some expressions out (a slice's, in 3.1), and a file that depends on a secret must
//! never be taken for one that does not. So names are read here token by token, and what is not sure is counted in.

use std::collections::{BTreeMap, BTreeSet};

/// What a template mentions; the number is the line where it does so first.
#[derive(Default)]
pub(super) struct Mentions {
    pub(super) names: BTreeMap<String, usize>,
    pub(super) filters: BTreeMap<String, usize>,
    pub(super) tests: BTreeMap<String, usize>,
    /// What `set` and `for` assign.
    pub(super) assigned: BTreeSet<String>,
    /// How many words and signs the longest tag has: a bound of how deep an expression can nest.
    pub(super) longest: usize,
    /// How many `set` tags there are: a bound of how deep a value can nest.
    pub(super) sets: usize,
    /// How many `elif` tags there are, each of which is nested in the one before.
    pub(super) elifs: usize,
}

impl Mentions {
    pub(super) fn of(source: &str) -> Self {
        let mut scanner = Scanner { source, at: 0, line: 1, found: Self::default() };
        while scanner.next_tag() {}
        scanner.found
    }
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    found: Mentions,
}

/// What stands before a word in its tag, as far as it says what the word is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Before {
    Start,
    Dot,
    Pipe,
    Is,
    Filter,
    Other,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        self.line += passed.matches('\n').count();
        self.at += bytes;
    }

    fn skip_past(&mut self, end: &str) {
        let rest = self.rest();
        self.advance(rest.find(end).map_or(rest.len(), |found| found + end.len()));
    }

    /// Goes through the next tag; `false` at the end of the source.
    fn next_tag(&mut self) -> bool {
        let rest = self.rest();
        let Some(start) = rest
            .match_indices('{')
            .map(|(index, _)| index)
            .find(|index| matches!(rest.as_bytes().get(index + 1), Some(b'{' | b'%' | b'#')))
        else {
            return false;
        };
        self.advance(start + 2);
        match rest.as_bytes()[start + 1] {
            b'#' => self.skip_past("#}"),
            b'{' => self.tag("}}"),
            _ if is_tag(self.rest(), "raw") => self.skip_raw(),
            _ => self.tag("%}"),
        }
        true
    }

    fn skip_raw(&mut self) {
        self.skip_past("%}");
        while let Some(found) = self.rest().find("{%") {
            self.advance(found + 2);
            if is_tag(self.rest(), "endraw") {
                return self.skip_past("%}");
            }
        }
        self.at = self.source.len();
    }

    fn tag(&mut self, end: &str) {
        let mut before = if end == "}}" { Before::Other } else { Before::Start };
        let mut assigns = None;
        let mut depth = 0;
        let mut tokens = 0;
        while let Some(c) = self.rest().chars().next() {
            if depth == 0 && self.rest().starts_with(end) {
                return self.advance(2);
            }
            tokens += usize::from(!c.is_whitespace());
            self.found.longest = self.found.longest.max(tokens);
            match c {
                '"' | '\'' => {
                    self.skip_string(c);
                    before = Before::Other;
                }
                c if c.is_alphabetic() || c == '_' => {
                    let word = self.word();
                    before = self.take(word, before, &mut assigns);
                }
                c if c.is_ascii_digit() => {
                    self.word();
                    before = Before::Other;
                }
                c => {
                    match c {
                        '(' | '[' | '{' => depth += 1,
                        ')' | ']' | '}' => depth -= 1,
                        '=' if assigns == Some("=") => assigns = None,
                        _ => {}
                    }
                    before = match c {
                        '.' => Before::Dot,
                        '|' => Before::Pipe,
                        // `{%-` and `{%+` come before the first word.
                        '-' | '+' if before == Before::Start => Before::Start,
                        c if c.is_whitespace() => before,
                        _ => Before::Other,
                    };
                    self.advance(c.len_utf8());
                }
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.advance(length);
        &rest[..length]
    }

    fn skip_string(&mut self, quote: char) {
        let mut escaped = true; // passes the opening quote
        let end = self.rest().char_indices().find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        self.advance(end.map_or(self.rest().len(), |(index, _)| index + 1));
    }

    /// Files one word, and says what it makes of the next. `assigns` is what ends the targets of the assignment it is in.
    fn take(&mut self, word: &str, before: Before, assigns: &mut Option<&'static str>) -> Before {
        let line = self.line;
        let file = |place: &mut BTreeMap<String, usize>| {
            place.entry(word.into()).or_insert(line);
        };
        match (before, word) {
            (Before::Start, "filter") => return Before::Filter,
            (Before::Start, "set") => {
                self.found.sets += 1;
                *assigns = Some("=");
            }
            (Before::Start, "elif") => self.found.elifs += 1,
            (Before::Start, "for") => *assigns = Some("in"),
            (Before::Start, _) | (Before::Dot, _) => {}
            (Before::Pipe | Before::Filter, name) => {
                file(&mut self.found.filters);
                debug_assert_eq!(name, word);
            }
            (Before::Is, "not") => return Before::Is,
            (Before::Is, _) => file(&mut self.found.tests),
            (_, "is") => return Before::Is,
            (_, "in") => *assigns = assigns.filter(|end| *end != "in"),
            (_, keyword) if KEYWORDS.contains(&keyword) => {}
            _ if assigns.is_some() => {
                self.found.assigned.insert(word.into());
            }
            _ if self.is_argument_name() => {}
            _ => file(&mut self.found.names),
        }
        Before::Other
    }

    /// Tells whether the word that was just passed names an argument, as in `json(indent=2)`.
    fn is_argument_name(&self) -> bool {
        let rest = self.rest().trim_start();
        rest.starts_with('=') && !rest.starts_with("==")
    }
}

fn is_tag(rest: &str, name: &str) -> bool {
    let rest = rest.trim_start_matches(['-', '+']).trim_start();
    rest.strip_prefix(name).is_some_and(|rest| {
        let rest = rest.trim_start().trim_start_matches(['-', '+']);
        rest.starts_with("%}")
    })
}

/// Words of the language that are not names; a secret cannot be called so and be a variable.
pub(super) const KEYWORDS: [&str; 16] = [
    "and",
    "else",
    "false",
    "False",
    "if",
    "in",
    "is",
    "loop",
    "none",
    "None",
    "not",
    "or",
    "recursive",
    "self",
    "true",
    "True",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> String {
        let found = Mentions::of(source);
        found.names.into_keys().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn finds_every_variable_that_a_tag_mentions() {
        for (source, expected) in [
            ("plain text db", ""),
            ("{{ db.password }}", "db"),
            ("{{db['x'][api.y]}}{{- a -}}", "a api db"),
            ("{{ db.password[1:n] }}", "db n"),
            ("{% set db = db %}", "db"),
            ("{% set a, b = c %}{% for k, v in d|items if k != e %}{{ k }}{% endfor %}", "c d e k"),
            ("{{ x | default(y) | json(indent=z) }}", "x y z"),
            ("{% with a = b %}{{ c == d }}{% endwith %}", "b c d endwith"),
            ("{# {{ no }} #}{{ yes }}", "yes"),
            ("{% raw %} {{ it's }} {%- endraw -%}{{ yes }}", "yes"),
            (r#"{{ "a }} {{ \" b" }}{{ yes }}"#, "yes"),
            (r#"{{ {"a": {"b": c}} }}{{ d }}"#, "c d"),
            ("{% if a is defined and b is not none and c %}{% elif d %}{% endif %}", "a b c d"),
            ("{{ unfinished", "unfinished"),
            ("{ { x } } {{ 0x1f + 1e5 }} {", ""),
        ] {
            let expected = expected.replace(" endwith", "");
            assert_eq!(names(source), expected, "{source}");
        }
    }

    #[test]
    fn finds_filters_tests_and_assignments_with_their_lines() {
        let found = Mentions::of(
            "\n{% set x = 1 %}{% filter upper %}\n{{ a|b64encode | json }}{% endfilter %}{{ c is not odd }}",
        );
        assert_eq!(
            found.filters,
            [("upper", 2), ("b64encode", 3), ("json", 3)].map(|(n, l)| (n.into(), l)).into()
        );
        assert_eq!(found.tests, [("odd".into(), 3)].into());
        assert_eq!(found.assigned, ["x".into()].into());
        assert_eq!(found.names["a"], 3);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(source in "([{}%#'\"\\\\a-z|.= \nä-]|\\{%|\\{\\{|raw|endraw|%\\}){0,60}") {
            Mentions::of(&source);
        }
    }
}
