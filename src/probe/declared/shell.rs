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
    /// The files that its output goes to.
    pub(super) writes: Vec<Word>,
    /// Whether it certainly runs: under no condition, in no loop, not as an alternative.
    pub(super) certain: bool,
    /// Whether it stands in parentheses: a folder that it goes to is left at their end.
    pub(super) grouped: bool,
}

/// Words that begin what may or may not run.
const KEYWORDS: &[&str] =
    &["if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "select"];

/// Commands that only ask something: what follows their `&&` runs where the answer is yes.
const QUESTIONS: &[&str] = &[
    "!",
    "[",
    "[[",
    "cmp",
    "command",
    "diff",
    "false",
    "getent",
    "grep",
    "hash",
    "id",
    "nvidia-smi",
    "test",
    "type",
    "which",
];

/// The commands of a text; `value` knows variables.
///
/// Where the text branches or loops anywhere, none of its commands is certain.
pub(super) fn commands(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Vec<Command> {
    let mut splitter = Splitter::new(text, value);
    splitter.run();
    let certain = !splitter.branches;
    let mut commands = splitter.commands;
    for command in &mut commands {
        command.certain &= certain;
    }
    commands
}

/// The words of a text that is no command: spaces part them, quotes and variables mean what they do in the shell.
pub(super) fn words(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Vec<Word> {
    let mut splitter = Splitter::new(text, value);
    let mut words = Vec::new();
    while let Some(c) = splitter.peek() {
        if c.is_whitespace() {
            splitter.next();
        } else {
            words.push(splitter.word(true));
        }
    }
    words
}

struct Splitter<'t> {
    text: &'t str,
    at: usize,
    value: &'t dyn Fn(&str) -> Option<String>,
    commands: Vec<Command>,
    current: Command,
    branches: bool,
    /// Whether the list of commands at hand has asked something, and whether what follows hangs on such an answer.
    asked: bool,
    doubtful: bool,
    /// How many parentheses are open.
    groups: usize,
}

impl<'t> Splitter<'t> {
    fn new(text: &'t str, value: &'t dyn Fn(&str) -> Option<String>) -> Self {
        let current = Command::default();
        let (commands, branches) = (Vec::new(), false);
        Self { text, at: 0, value, commands, current, branches, asked: false, doubtful: false, groups: 0 }
    }

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
        let mut command = std::mem::take(&mut self.current);
        if let Some(first) = command.words.first() {
            self.branches |= KEYWORDS.contains(&first.text.as_str());
            self.asked |= QUESTIONS.contains(&first.text.as_str());
        }
        command.certain = !self.doubtful;
        command.grouped = self.groups > 0;
        // `> file` alone writes too.
        if !(command.words.is_empty() && command.writes.is_empty()) {
            self.commands.push(command);
        }
    }

    fn run(&mut self) {
        while let Some(c) = self.peek() {
            if self.take("&&") {
                self.end();
                // For all that comes: where the group ends that hangs on it is not followed.
                self.doubtful |= self.asked;
            } else if self.take(";") || self.take("\n") {
                self.end();
                self.asked = false;
            } else if self.take("||") {
                // `|| true` and `|| exit 1` hide or tell a failure; what they follow runs all the same.
                self.end();
                let rest = self.text[self.at..].trim_start();
                let harmless = ["true", "exit", ":", "echo"].iter().any(|word| {
                    rest.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                });
                self.branches |= !harmless;
            } else if matches!(c, '<' | '>') || self.text[self.at..].starts_with("&>") {
                self.redirect();
            } else if self.take("|") || self.take("&") {
                self.end();
            } else if matches!(c, '(' | ')' | '{' | '}') && self.starts_word() {
                self.next();
                self.end();
                match c {
                    '(' => self.groups += 1,
                    ')' => self.groups = self.groups.saturating_sub(1),
                    _ => {}
                }
            } else if c.is_whitespace() {
                self.next();
            } else if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.next();
                }
            } else {
                let word = self.word(false);
                // The number in `2>&1` is no word of the command.
                let number = matches!(self.peek(), Some('<' | '>'))
                    && self.text[word.at..self.at].bytes().all(|byte| byte.is_ascii_digit());
                if !number {
                    self.current.words.push(word);
                }
            }
        }
        self.end();
    }

    /// Takes a redirection with its file out of the command: `>=2.18` without quotes is one to the file `=2.18`.
    fn redirect(&mut self) {
        let begin = self.at;
        while self.peek().is_some_and(|c| matches!(c, '<' | '>' | '&')) {
            self.next();
        }
        let writes = self.text[begin..self.at].contains('>');
        // `>|` is a `>`, and the `-` of `<<-` belongs to it.
        let _ = if writes { self.take("|") } else { self.take("-") };
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t')) {
            self.next();
        }
        if self.peek().is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>')) {
            return;
        }
        let word = self.word(false);
        if writes {
            self.current.writes.push(word);
        }
    }

    /// Whether a parenthesis or brace stands alone, as those that group commands do.
    fn starts_word(&self) -> bool {
        let mut chars = self.text[self.at..].chars();
        match chars.next() {
            Some('(' | ')') => true,
            _ => chars.next().is_none_or(|c| c.is_whitespace() || c == ';'),
        }
    }

    /// The word here; where it is `plain`, only spaces end it.
    fn word(&mut self, plain: bool) -> Word {
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
                (None, c) if c.is_whitespace() || (!plain && matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>')) => {
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
    fn what_is_redirected_is_no_word() {
        for (text, words, writes) in [
            ("pip install tensorflow>=2.18 'keras>=3'", "pip install tensorflow keras>=3", "=2.18"),
            ("pip install a\\>=2 b\\<3", "pip install a>=2 b<3", ""),
            ("pip install a 2>&1 >/dev/null", "pip install a", "1 /dev/null"),
            ("echo a 1>>\"$V\" b", "echo a b", "2.15.0"),
            ("cat <<-EOF >| x; pip install a2>b &>c", "cat pip install a2", "x b c"),
            (": > x && > y", ":", "x y"),
        ] {
            let commands = commands(text, &|_| Some("2.15.0".to_owned()));
            let join = |of: fn(&Command) -> &Vec<Word>| {
                commands.iter().flat_map(of).map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!((join(|it| &it.words).as_str(), join(|it| &it.writes).as_str()), (words, writes), "{text}");
        }
        let text: Vec<String> = words("A=b>=2&c B=\"d e\"", &|_| None).into_iter().map(|it| it.text).collect();
        assert_eq!(text, ["A=b>=2&c", "B=d e"]);
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
        for text in ["pip install a || true", "apt-get update && pip install a", "[ -d x ]; pip install a"] {
            assert!(split(text).iter().all(|(_, certain)| *certain), "{text}");
        }
        for text in [
            "[ -n \"$X\" ] && pip install a || true",
            "test -f /x && pip install a; true",
            "test $(arch) = x && pip install a",
            "! grep -q a b && { ls; pip install a; }",
            "command -v nvcc >/dev/null && (pip install a)",
        ] {
            let commands = split(text);
            let install = commands.iter().find(|(words, _)| words[0] == "pip");
            assert!(install.is_some_and(|(_, certain)| !certain), "{text}");
        }
        assert!(!split("pip install $(cat list)")[0].1);
    }

    proptest! {
        #[test]
        fn it_never_panics(text in "([-a-z =<>\"'`$(){}|&;\\\\#é]|\n){0,80}") {
            for command in commands(&text, &|_| None) {
                for word in command.words.into_iter().chain(command.writes) {
                    prop_assert!(text.is_char_boundary(word.at));
                }
            }
        }
    }
}
