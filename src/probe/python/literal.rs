//! Reads Python literals and plain assignments out of source text; never executes any of it.

/// A value that Python source can spell out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(String),
    Bool(bool),
    Nothing,
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, where it is a mapping or a list of pairs.
    fn pairs(self) -> Option<Vec<(Value, Value)>> {
        match self {
            Self::Map(pairs) => Some(pairs),
            Self::List(items) => items
                .into_iter()
                .map(|item| match item {
                    Self::List(pair) => <[Value; 2]>::try_from(pair).ok().map(|[key, value]| (key, value)),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }
}

/// Nesting deeper than this is not read.
const DEPTH: u32 = 16;

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\\');
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.find('\n').map_or("", |end| &comment[end..]),
                None => return,
            }
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        let deeper = depth.checked_sub(1)?;
        self.skip();
        match self.rest.chars().next()? {
            '\'' | '"' => {
                let mut text = self.string()?;
                // Neighbouring strings are one.
                loop {
                    self.skip();
                    if !self.rest.starts_with(['\'', '"']) {
                        return Some(Value::Text(text));
                    }
                    text.push_str(&self.string()?);
                }
            }
            '[' => self.items('[', ']', deeper).map(|(items, _)| Value::List(items)),
            '(' => {
                let (mut items, comma) = self.items('(', ')', deeper)?;
                if items.len() == 1 && !comma { items.pop() } else { Some(Value::List(items)) }
            }
            '{' => self.map(deeper),
            c if c.is_ascii_digit() || c == '-' || c == '+' => {
                self.rest = self.rest.strip_prefix('+').unwrap_or(self.rest);
                let minus = self.rest.strip_prefix('-');
                self.rest = minus.unwrap_or(self.rest);
                let digits = self.word();
                (!digits.is_empty())
                    .then(|| Value::Number(format!("{}{digits}", if minus.is_some() { "-" } else { "" })))
            }
            c if c.is_alphabetic() || c == '_' => match self.word() {
                "True" => Some(Value::Bool(true)),
                "False" => Some(Value::Bool(false)),
                "None" => Some(Value::Nothing),
                "u" | "r" | "b" | "U" | "R" if self.rest.starts_with(['\'', '"']) => self.string().map(Value::Text),
                "collections.OrderedDict" | "OrderedDict" | "dict" => {
                    let (mut items, _) = self.items('(', ')', deeper)?;
                    match items.len() {
                        0 => Some(Value::Map(Vec::new())),
                        1 => items.pop()?.pairs().map(Value::Map),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn items(&mut self, open: char, close: char, depth: u32) -> Option<(Vec<Value>, bool)> {
        let mut items = Vec::new();
        let mut comma = false;
        if !self.eat(open) {
            return None;
        }
        loop {
            if self.eat(close) {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth)?);
            comma = self.eat(',');
        }
    }

    fn map(&mut self, depth: u32) -> Option<Value> {
        let mut pairs = Vec::new();
        let mut comma = true;
        if !self.eat('{') {
            return None;
        }
        loop {
            if self.eat('}') {
                return Some(Value::Map(pairs));
            }
            if !comma {
                return None;
            }
            let key = self.value(depth)?;
            if !self.eat(':') {
                return None;
            }
            pairs.push((key, self.value(depth)?));
            comma = self.eat(',');
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let triple: String = [quote; 3].iter().collect();
        if let Some(rest) = self.rest.strip_prefix(triple.as_str()) {
            let (text, rest) = rest.split_once(triple.as_str())?;
            self.rest = rest;
            return Some(text.to_owned());
        }
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Some(text);
                }
                '\n' => return None,
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    other => text.push(other),
                },
                c => text.push(c),
            }
        }
        None
    }
}

/// The literal assigned to a name at the beginning of a line, with the line; annotations are passed over.
pub(super) fn assigned(source: &str, name: &str) -> Option<(Value, u32)> {
    let mut offset = 0;
    let mut last = None;
    for (number, line) in (1u32..).zip(source.split_inclusive('\n')) {
        let start = offset;
        offset += line.len();
        let Some(rest) = line.strip_prefix(name) else { continue };
        let Some((before, after)) = rest.split_once('=') else { continue };
        let annotation = before.trim();
        if !(annotation.is_empty() || annotation.starts_with(':')) || after.starts_with('=') {
            continue;
        }
        let begin = start + name.len() + before.len() + 1;
        // The last assignment is the one that holds.
        last = Some((Reader { rest: &source[begin..] }.value(DEPTH), number));
    }
    let (value, line) = last?;
    Some((value?, line))
}

/// A mapping assigned to a name.
pub(super) fn assigned_map(source: &str, name: &str) -> Option<(Vec<(String, Value)>, u32)> {
    let (value, line) = assigned(source, name)?;
    let pairs = value.pairs()?;
    let named = pairs.into_iter().filter_map(|(key, value)| Some((key.text()?.to_owned(), value))).collect();
    Some((named, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordered_dicts_and_plain_ones() {
        let source = "import collections\n\nbuild_info = collections.OrderedDict([('a', ['x', 'y']), (\"b\", True),\n ('c', None),])\n";
        let (map, line) = assigned_map(source, "build_info").unwrap();
        assert_eq!(line, 3);
        assert_eq!(map[0], ("a".to_owned(), Value::List(vec![Value::Text("x".into()), Value::Text("y".into())])));
        assert_eq!(map[1].1, Value::Bool(true));
        assert_eq!(map[2].1, Value::Nothing);
        let (map, _) = assigned_map("build_info = {'a': \"1\", # note\n 'b': 2}\n", "build_info").unwrap();
        assert_eq!(map[1].1, Value::Number("2".into()));
    }

    #[test]
    fn code_is_refused() {
        assert_eq!(assigned("x = __import__('os').system('id')", "x"), None);
        assert_eq!(assigned("x = [1 2]", "x"), None);
        assert_eq!(assigned("xy = 1", "x"), None);
        assert_eq!(assigned("x == 1", "x"), None);
        assert_eq!(assigned(&format!("x = {}", "[".repeat(5000)), "x"), None);
    }

    #[test]
    fn annotated_names() {
        assert_eq!(assigned("cuda: Optional[str] = '12.4'\n", "cuda"), Some((Value::Text("12.4".into()), 1)));
        assert_eq!(assigned("cuda: Optional[str] = None\n", "cuda"), Some((Value::Nothing, 1)));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\](){}:,'\"\\\\#=\\n a-zA-Z0-9é.-]{0,120}") {
            let _ = assigned_map(&format!("build_info = {text}"), "build_info");
            let _ = assigned(&text, "x");
        }
    }
}
