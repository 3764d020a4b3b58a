//! Splits shell text into its simple commands, as far as that can be done without running it.

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// The byte of the text at which it begins.
    pub(super) at: usize,
    /// Whether its value is known: no substitution that only a run could tell.
    pub(super) known: bool,
}

/// A simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) words: Vec<Word>,
    /// Whether it certainly runs: under no condition, in no loop, not as an alternative.
    pub(super) certain: bool,
}

/// Words that begin what may or may not run.
const KEYWORDS: &[&str] =
    &["if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "select"];

/// The commands of a text; `value` knows variables.
///
/// Where the text branches or loops anywhere, none of its commands is certain.
pub(super) fn commands(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Vec<Command> {
    let mut splitter = Splitter { text, at: 0, value, commands: Vec::new(), current: Vec::new(), branches: false };
    splitter.run();
    let certain = !splitter.branches;
    let mut commands = splitter.commands;
    for command in &mut commands {
        command.certain = certain;
    }
    commands
}

struct Splitter<'t> {
    text: &'t str,
    at: usize,
    value: &'t dyn Fn(&str) -> Option<String>,
    commands: Vec<Command>,
    current: Vec<Word>,
    branches: bool,
}

impl Splitter<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let there = self.text[self.at..].starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    fn end(&mut self) {
        let words = std::mem::take(&mut self.current);
        if let Some(first) = words.first() {
            self.branches |= KEYWORDS.contains(&first.text.as_str());
            self.commands.push(Command { words, certain: false });
        }
    }

    fn run(&mut self) {
        while let Some(c) = self.peek() {
            if self.take("&&") || self.take(";") || self.take("\n") {
                self.end();
            } else if self.take("||") {
                // `|| true` and `|| exit 1` hide or tell a failure; what they follow runs all the same.
                self.end();
                let rest = self.text[self.at..].trim_start();
                let harmless = ["true", "exit", ":", "echo"].iter().any(|word| {
                    rest.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                });
                self.branches |= !harmless;
            } else if self.take("|") || self.take("&") {
                self.end();
            } else if matches!(c, '(' | ')' | '{' | '}') && self.starts_word() {
                self.next();
                self.end();
            } else if c.is_whitespace() {
                self.next();
            } else if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.next();
                }
            } else {
                let word = self.word();
                self.current.push(word);
            }
        }
        self.end();
    }

    /// Whether a parenthesis or brace stands alone, as those that group commands do.
    fn starts_word(&self) -> bool {
        let mut chars = self.text[self.at..].chars();
        match chars.next() {
            Some('(' | ')') => true,
            _ => chars.next().is_none_or(|c| c.is_whitespace() || c == ';'),
        }
    }

    fn word(&mut self) -> Word {
        let at = self.at;
        let mut text = String::new();
        let mut known = true;
        let mut quote = None;
        while let Some(c) = self.peek() {
            match (quote, c) {
                (None, '\'' | '"') => {
                    quote = Some(c);
                    self.next();
                }
                (Some(open), c) if c == open => {
                    quote = None;
                    self.next();
                }
                (None, c) if c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')') => {
                    // `>=` without quotes would be a redirection; `2>&1` is one.
                    if c == '&' && text.ends_with('>') {
                        text.push(c);
                        self.next();
                        continue;
                    }
                    break;
                }
                (Some('\''), c) => {
                    text.push(c);
                    self.next();
                }
                (_, '\\') => {
                    self.next();
                    if let Some(c) = self.next() {
                        text.push(c);
                    }
                }
                (_, '`') => {
                    known = false;
                    self.next();
                }
                (_, '$') => {
                    self.next();
                    match self.variable() {
                        Some(value) => text.push_str(&value),
                        None => known = false,
                    }
                }
                (_, c) => {
                    text.push(c);
                    self.next();
                }
            }
        }
        // A quote that is never closed.
        known &= quote.is_none();
        Word { text, at, known }
    }

    fn variable(&mut self) -> Option<String> {
        let (value, used) = substitute(&self.text[self.at..], self.value);
        self.at += used;
        value
    }
}

/// The value of what follows a `$`, and how many bytes of it belong to the substitution.
pub(super) fn substitute(rest: &str, value: &dyn Fn(&str) -> Option<String>) -> (Option<String>, usize) {
    let name_end = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if let Some(inner) = rest.strip_prefix('{') {
        let Some(end) = inner.find('}') else { return (None, rest.len()) };
        let (name, operation) = inner[..end].split_at(name_end(&inner[..end]));
        let set = value(name);
        let result = if operation.is_empty() {
            set
        } else if let Some(default) = operation.strip_prefix(":-") {
            (!default.contains('$')).then(|| set.filter(|set| !set.is_empty()).unwrap_or_else(|| default.to_owned()))
        } else {
            None
        };
        return (result, end + 2);
    }
    if rest.starts_with('(') {
        // The commands in it are split like others; their output is not known.
        return (None, 0);
    }
    let end = name_end(rest);
    if end == 0 { (None, 0) } else { (value(&rest[..end]), end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<(Vec<String>, bool)> {
        let value = |name: &str| (name == "V").then(|| "2.15.0".to_owned());
        commands(text, &value)
            .into_iter()
            .map(|command| {
                let known = command.words.iter().all(|word| word.known);
                (command.words.into_iter().map(|word| word.text).collect(), command.certain && known)
            })
            .collect()
    }

    #[test]
    fn commands_come_apart() {
        let seen =
            split("apt-get update && pip install 'keras>=3' \"tf==${V}\" a$X ; rm -rf /x # end\n(cd /y && make)");
        let words: Vec<String> = seen.iter().map(|(words, _)| words.join(" ")).collect();
        assert_eq!(words, ["apt-get update", "pip install keras>=3 tf==2.15.0 a", "rm -rf /x", "cd /y", "make"]);
        assert_eq!(seen.iter().map(|(_, known)| *known).collect::<Vec<_>>(), [true, false, true, true, true]);
        assert_eq!(split("pip install a=='${V:-1}'")[0].0[2], "a==${V:-1}");
        assert_eq!(split("pip install a==${W:-1}")[0].0[2], "a==1");
    }

    #[test]
    fn what_may_not_run_is_not_certain() {
        for text in [
            "if [ $X ]; then pip install a; fi",
            "pip install a || pip install b",
            "for x in a b; do pip install $x; done",
        ] {
            assert!(split(text).iter().all(|(_, certain)| !certain), "{text}");
        }
        assert!(split("pip install a || true").iter().all(|(_, certain)| *certain));
        assert!(!split("pip install $(cat list)")[0].1);
    }

    proptest! {
        #[test]
        fn it_never_panics(text in "([-a-z =<>\"'`$(){}|&;\\\\#é]|\n){0,80}") {
            for command in commands(&text, &|_| None) {
                for word in command.words {
                    prop_assert!(text.is_char_boundary(word.at));
                }
            }
        }
    }
}
