//! Many recorded machines: documents are taken from a stream one by one, judged beside each other, and grouped by cause.
//!
//! No more than a few documents are held at any time, however many there are. One that cannot be read is named and
//! hides none of the others.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::{Mutex, PoisonError, mpsc};

use crate::finding::Level;
use crate::report::Outcome;
use crate::report::item::Item;

/// One document of a stream, not parsed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Which document of the stream, counted from 1.
    pub number: usize,
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Takes JSON documents from a stream, whether each is a line of its own or spread over many.
#[derive(Debug)]
pub struct Documents<R> {
    reader: R,
    limit: usize,
    number: usize,
    line: usize,
    /// What was read beyond the last document: the head of the next one.
    ahead: Vec<u8>,
}

impl<R: BufRead> Documents<R> {
    /// Documents of at most `limit` bytes each.
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, number: 0, line: 1, ahead: Vec::new() }
    }

    /// Whether nothing has been taken yet.
    pub fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// The next document: up to where its outermost bracket closes, else to the end of the line.
    ///
    /// A document that is cut off ends where a line begins like facts, so that it does not swallow those after it.
    ///
    /// # Errors
    ///
    /// Why the stream cannot be read any further.
    pub fn take(&mut self) -> Result<Option<Raw>, String> {
        let mut scan = Scan::default();
        let mut raw = Raw { number: self.number + 1, line: self.line, bytes: std::mem::take(&mut self.ahead) };
        // It is never a whole document.
        let _ = scan.end(&raw.bytes);
        loop {
            let buffer = self.reader.fill_buf().map_err(|error| error.to_string())?;
            if buffer.is_empty() {
                break;
            }
            let mut used = 0;
            if raw.bytes.is_empty() {
                // A byte-order mark stands before the first document only.
                let blank =
                    |byte: u8| byte.is_ascii_whitespace() || (raw.number == 1 && b"\xef\xbb\xbf".contains(&byte));
                used = buffer.iter().position(|byte| !blank(*byte)).unwrap_or(buffer.len());
                self.line += lines(&buffer[..used]);
                raw.line = self.line;
            }
            if let (true, Some(line)) = (raw.bytes.is_empty(), whole_line(&buffer[used..])) {
                raw.bytes.extend_from_slice(line);
                let taken = used + line.len();
                self.reader.consume(taken);
                break;
            }
            let end = scan.end(&buffer[used..]);
            let taken = match end {
                Some(End::After(end)) => used + end,
                Some(End::Before(_)) => used + scan.at - raw.bytes.len(),
                None => buffer.len(),
            };
            raw.bytes.extend_from_slice(&buffer[used..taken]);
            self.reader.consume(taken);
            if let Some(End::Before(begin)) = end {
                self.ahead = raw.bytes.split_off(begin);
            }
            if end.is_some() || raw.bytes.len() > self.limit {
                break;
            }
        }
        if raw.bytes.len() > self.limit {
            return Err(format!("document {} is larger than {} bytes", raw.number, self.limit));
        }
        if raw.bytes.is_empty() {
            return Ok(None);
        }
        self.number = raw.number;
        self.line += lines(&raw.bytes);
        Ok(Some(raw))
    }
}

/// How many lines end in these bytes.
fn lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// The first line, where it is certainly a document of its own: it has a bracket at both ends, and the next line opens
/// one again. Within one document a comma would have to stand between them.
fn whole_line(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].trim_ascii_end();
    (line.len() > 1 && line.ends_with(b"}") && bytes.get(end + 1) == Some(&b'{')).then_some(line)
}

/// Where a document ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After so many of the bytes that were given last.
    After(usize),
    /// Cut off before another one, which begins after so many of all its bytes.
    Before(usize),
}

/// What stands after the bracket that opens facts.
const HEAD: &[u8] = b"\"schema\"";

/// Follows brackets and strings to the end of a document.
#[derive(Debug, Default)]
struct Scan {
    begun: bool,
    depth: usize,
    text: bool,
    escaped: bool,
    /// How many bytes of the document have been looked at.
    at: usize,
    /// The byte before.
    last: u8,
    /// Where a line began with a bracket, and how much of [`HEAD`] followed.
    head: Option<(usize, usize)>,
}

impl Scan {
    /// Where the document ends in these bytes, which go on where the last ones stopped.
    fn end(&mut self, bytes: &[u8]) -> Option<End> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            // Most of a document are plain letters within texts.
            if self.text && !self.escaped && self.head.is_none() && self.last != b'\n' {
                let rest = &bytes[at..];
                let plain = memchr::memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
                if plain > 0 {
                    self.last = b'x';
                    self.at += plain;
                    at += plain;
                    continue;
                }
            }
            at += 1;
            self.at += 1;
            if self.another(byte) {
                return self.head.map(|(begin, _)| End::Before(begin));
            }
            self.last = byte;
            if self.text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'"' if self.depth > 0 => self.text = true,
                b'}' | b']' if self.depth == 1 => return Some(End::After(at)),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                // What is no document ends with its line.
                b'\n' if self.depth == 0 && self.begun => return Some(End::After(at)),
                _ => {}
            }
            self.begun = true;
        }
        None
    }

    /// Whether with this byte it is certain that another document has begun on a line of its own.
    fn another(&mut self, byte: u8) -> bool {
        self.head = match self.head {
            None if byte == b'{' && self.last == b'\n' => Some((self.at - 1, 0)),
            Some((begin, 0)) if byte.is_ascii_whitespace() => Some((begin, 0)),
            Some((begin, seen)) if HEAD.get(seen) == Some(&byte) => Some((begin, seen + 1)),
            _ => None,
        };
        self.head.is_some_and(|(_, seen)| seen == HEAD.len())
    }
}

/// Maps inputs on several threads and hands the results on in the order of the inputs.
///
/// At most four inputs and results for each thread are held at a time.
///
/// # Errors
///
/// The first error in the order of the inputs, be it of an input, of the mapping, or of who takes the results.
pub fn ordered<I, O, E, M, T>(
    mut inputs: impl FnMut() -> Result<Option<I>, E>,
    threads: usize,
    map: M,
    mut take: T,
) -> Result<(), E>
where
    I: Send,
    O: Send,
    E: Send,
    M: Fn(I) -> Result<O, E> + Sync,
    T: FnMut(O) -> Result<(), E>,
{
    let (jobs, queue) = mpsc::channel::<(usize, I)>();
    let queue = Mutex::new(queue);
    let (queue, map) = (&queue, &map);
    std::thread::scope(|scope| {
        // The threads end when this does, so it must not outlive the scope.
        let jobs = jobs;
        let (done, results) = mpsc::channel();
        for _ in 0..threads.max(1) {
            let done = done.clone();
            scope.spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((index, input)) = job else { break };
                    if done.send((index, map(input))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let (mut given, mut taken, mut open) = (0, 0, true);
        let mut waiting: BTreeMap<usize, Result<O, E>> = BTreeMap::new();
        loop {
            while open && given - taken < 4 * threads.max(1) {
                match inputs() {
                    Ok(Some(input)) => {
                        // The threads end only after this end of the channel does.
                        let _ = jobs.send((given, input));
                        given += 1;
                    }
                    Ok(None) => open = false,
                    Err(error) => {
                        waiting.insert(given, Err(error));
                        given += 1;
                        open = false;
                    }
                }
            }
            while let Some(result) = waiting.remove(&taken) {
                take(result?)?;
                taken += 1;
            }
            if taken == given {
                if open {
                    continue;
                }
                return Ok(());
            }
            if given - taken < 4 * threads.max(1) && open {
                continue;
            }
            match results.recv() {
                Ok((index, result)) => {
                    waiting.insert(index, result);
                }
                Err(mpsc::RecvError) => return Ok(()),
            }
        }
    })
}

/// What is kept of many machines: their names and, once each, the causes.
#[derive(Debug, Default)]
pub struct Fleet {
    /// The machines in their order.
    pub machines: Vec<Member>,
    /// The causes: what the first machine that has it says, and the numbers of all that have it.
    pub causes: Vec<Cause>,
    index: BTreeMap<(&'static str, Level, String), usize>,
}

/// One machine of many.
#[derive(Debug)]
pub struct Member {
    /// Where its facts come from.
    pub name: String,
    /// How its check ended.
    pub outcome: Outcome,
    /// Why its facts could not be read.
    pub error: Option<String>,
}

/// A finding that one or more machines have.
#[derive(Debug)]
pub struct Cause {
    /// As the first machine has it.
    pub item: Item,
    /// The machines, by their place in [`Fleet::machines`].
    pub machines: Vec<usize>,
}

impl Fleet {
    /// Adds a machine.
    pub fn add(&mut self, name: String, denied: bool, items: Vec<Item>) {
        let machine = self.machines.len();
        let outcome = if denied { Outcome::Denied } else { Outcome::Ok };
        self.machines.push(Member { name, outcome, error: None });
        for item in items {
            let key = (item.rule.id, item.level, item.title.clone());
            let place = *self.index.entry(key).or_insert(self.causes.len());
            match self.causes.get_mut(place) {
                // Two environments of one machine count once.
                Some(cause) if cause.machines.last() == Some(&machine) => {}
                Some(cause) => cause.machines.push(machine),
                None => self.causes.push(Cause { item, machines: vec![machine] }),
            }
        }
    }

    /// Adds a machine whose facts could not be read.
    pub fn add_unread(&mut self, name: String, why: String) {
        self.machines.push(Member { name, outcome: Outcome::Incomplete, error: Some(why) });
    }

    /// How many machines are denied.
    pub fn denied(&self) -> usize {
        self.machines.iter().filter(|machine| machine.outcome == Outcome::Denied).count()
    }

    /// Why facts could not be read, for each machine of which that is so.
    pub fn unread(&self) -> Vec<&str> {
        self.machines.iter().filter_map(|machine| machine.error.as_deref()).collect()
    }

    /// The causes as findings with their machines' names: the worst first, then those that most machines have.
    pub fn items(&self) -> Vec<Item> {
        let mut order: Vec<&Cause> = self.causes.iter().collect();
        crate::sort::by_key(&mut order, |cause| {
            let Item { level, rule, .. } = &cause.item;
            (std::cmp::Reverse(*level), std::cmp::Reverse(cause.machines.len()), rule.layer)
        });
        let name = |machine: &usize| self.machines.get(*machine).map_or_else(String::new, |it| it.name.clone());
        order
            .into_iter()
            .map(|cause| Item { machines: cause.machines.iter().map(name).collect(), ..cause.item.clone() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::item::Place;
    use proptest::prelude::*;

    fn split(text: &[u8], buffer: usize) -> Vec<(usize, usize, String)> {
        let mut documents = Documents::new(std::io::BufReader::with_capacity(buffer, text), 1 << 20);
        let mut all = Vec::new();
        while let Some(raw) = documents.take().unwrap() {
            all.push((raw.number, raw.line, String::from_utf8(raw.bytes).unwrap()));
        }
        all
    }

    #[test]
    fn documents_end_where_their_bracket_closes() {
        let text = b"\xef\xbb\xbf{\"a\": \"}\\\"{\"}\n\n{\n \"b\": [1, {}]\n}{}\nnonsense {\n}\n";
        for buffer in [1, 3, 1000] {
            let all = split(text, buffer);
            let texts: Vec<&str> = all.iter().map(|(_, _, text)| text.as_str()).collect();
            assert_eq!(texts, ["{\"a\": \"}\\\"{\"}", "{\n \"b\": [1, {}]\n}", "{}", "nonsense {\n}"], "{buffer}");
            assert_eq!(all.iter().map(|(_, line, _)| *line).collect::<Vec<_>>(), [1, 3, 5, 6]);
            assert_eq!(all.last().unwrap().0, 4);
        }
        assert_eq!(split(b" \n ", 8), []);
        assert_eq!(split(b"{\"schema\": 1,", 4).len(), 1);
    }

    #[test]
    fn a_document_that_is_cut_off_swallows_no_other() {
        let cut =
            [r#"{"schema": 1, "machine": {"os": "lin"#, "{\n  \"schema\": 1,\n  \"pci\": [\n    {", r#"{"a": {}"#];
        let whole = ["{\"schema\":1}", "{\n  \"schema\": 1\n}", "{ \"schema\": 1, \"a\": {\"schema\": 2}}"];
        for cut in cut {
            for whole in whole {
                let text = format!("{whole}\n{cut}\n{whole}\n{whole}\n");
                for buffer in [1, 2, 7, 1000] {
                    let all = split(text.as_bytes(), buffer);
                    let texts: Vec<&str> = all.iter().map(|(_, _, text)| text.trim_end()).collect();
                    assert_eq!(texts, [whole, cut.trim_end(), whole, whole], "{buffer}");
                    let lines: Vec<usize> = all.iter().map(|(_, line, _)| *line).collect();
                    let (of_whole, of_cut) = (whole.lines().count(), cut.lines().count());
                    let last = 1 + of_whole + of_cut;
                    assert_eq!(lines, [1, 1 + of_whole, last, last + of_whole], "{buffer}");
                }
            }
        }
    }

    #[test]
    fn a_document_has_a_limit() {
        let mut documents = Documents::new(&b"{\"a\": \"bbbbbbbbbbbbbb\"}"[..], 8);
        assert!(documents.take().unwrap_err().contains("larger than 8 bytes"));
    }

    #[test]
    fn results_come_in_order_and_few_are_held() {
        let (mut next, held) = (0, std::sync::atomic::AtomicUsize::new(0));
        let most = std::sync::atomic::AtomicUsize::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        let mut seen = Vec::new();
        ordered(
            || {
                next += 1;
                most.fetch_max(held.fetch_add(1, order) + 1, order);
                Ok::<_, ()>((next <= 500).then_some(next))
            },
            3,
            |number: u32| {
                std::thread::sleep(std::time::Duration::from_micros(u64::from(number * 37 % 101)));
                Ok(number)
            },
            |number| {
                held.fetch_sub(1, order);
                seen.push(number);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, (1..=500).collect::<Vec<_>>());
        assert!(most.into_inner() <= 13);
    }

    #[test]
    fn the_first_error_by_order_ends_it() {
        let mut next = 0;
        let ended = ordered(
            || {
                next += 1;
                if next == 90 { Err(900) } else { Ok(Some(next)) }
            },
            4,
            |number: u32| if number.is_multiple_of(40) { Err(number) } else { Ok(number) },
            |number| if number == 70 { Err(0) } else { Ok(()) },
        );
        assert_eq!(ended, Err(40));
        assert_eq!(ordered(|| Err::<Option<()>, _>(1), 2, |()| Ok(()), |()| Ok(())), Err(1));
        assert_eq!(ordered(|| Ok::<Option<()>, u8>(None), 2, |()| Ok(()), |()| Ok(())), Ok(()));
    }

    fn item(rule: &str, level: Level, title: &str) -> Item {
        Item {
            rule: crate::rules::find(rule).unwrap(),
            level,
            title: title.to_owned(),
            subject: "machine".to_owned(),
            details: Vec::new(),
            help: Vec::new(),
            place: Place { file: "Cargo.toml".to_owned(), line: 1, column: None },
            machines: Vec::new(),
        }
    }

    #[test]
    fn causes_are_told_once_the_worst_and_commonest_first() {
        let mut fleet = Fleet::default();
        let lost = item("gpu-lost", Level::Deny, "a GPU is lost");
        let old = || item("database-old", Level::Warn, "old");
        fleet.add("a".to_owned(), false, vec![old()]);
        fleet.add("b".to_owned(), true, vec![lost.clone(), lost.clone(), old()]);
        fleet.add("c".to_owned(), true, vec![item("gpu-absent", Level::Deny, "none")]);
        fleet.add("d".to_owned(), true, vec![lost]);
        let items = fleet.items();
        let told: Vec<(&str, Vec<&str>)> =
            items.iter().map(|it| (it.rule.id, it.machines.iter().map(String::as_str).collect())).collect();
        assert_eq!(told, [("gpu-lost", vec!["b", "d"]), ("gpu-absent", vec!["c"]), ("database-old", vec!["a", "b"])]);
        assert_eq!(fleet.denied(), 3);
        fleet.add_unread("e".to_owned(), "no JSON".to_owned());
        assert_eq!((fleet.denied(), fleet.unread()), (3, vec!["no JSON"]));
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(text in "([{}\\[\\]\",:0-9a-z\n \\\\é]{0,12}|\\{\"schema\":1\\}){0,8}", buffer in 1usize..20) {
            let kept: String = split(text.as_bytes(), buffer).into_iter().map(|(_, _, text)| text).collect();
            let solid = |text: &str| text.split_ascii_whitespace().collect::<String>();
            prop_assert_eq!(solid(&kept), solid(&text));
        }
    }
}
