//! Takes a Dockerfile apart: instructions with their continuations and documents; understands none of them.

/// More instructions than these are not read, and no more changes of files are kept of one stage.
pub(super) const MOST_INSTRUCTIONS: usize = 5_000;

/// An instruction with its continuations joined.
#[derive(Debug, Default)]
pub(super) struct Instruction {
    pub(super) keyword: String,
    /// What follows the keyword.
    pub(super) rest: String,
    /// Pieces of `rest`: where each begins in it, and where that is in the file.
    pieces: Vec<(usize, usize)>,
    pub(super) start: usize,
}

impl Instruction {
    /// The byte of the file for a byte of `rest`.
    pub(super) fn source(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
        self.pieces.get(index).map_or(self.start, |(begin, source)| source + (at - begin.min(&at)))
    }
}

/// The instructions of a Dockerfile, comments taken out, documents between `<<EOF` and `EOF` put in.
pub(super) fn instructions(text: &str) -> Vec<Instruction> {
    let mut all = Vec::new();
    let mut escape = '\\';
    let mut directives = true;
    let mut offset = 0;
    let mut current: Option<Instruction> = None;
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let start = offset;
        offset += line.len();
        let bare = line.trim_end_matches(['\n', '\r']);
        let trimmed = bare.trim_start_matches(['\u{feff}', ' ', '\t']);
        if let Some(comment) = trimmed.strip_prefix('#') {
            if let Some((name, value)) = comment.split_once('=').filter(|_| directives)
                && name.trim().eq_ignore_ascii_case("escape")
                && value.trim() == "`"
            {
                escape = '`';
            }
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        directives = false;
        let mut instruction = current.take().unwrap_or_default();
        let mut begin = start + (bare.len() - trimmed.len());
        let mut part = trimmed;
        if instruction.keyword.is_empty() {
            let end = part.find(char::is_whitespace).unwrap_or(part.len());
            instruction.keyword = part[..end].to_ascii_uppercase();
            instruction.start = begin;
            begin += end;
            part = &part[end..];
        }
        let continued = part.trim_end().strip_suffix(escape);
        instruction.pieces.push((instruction.rest.len(), begin));
        instruction.rest.push_str(continued.unwrap_or(part));
        if continued.is_some() {
            instruction.rest.push(' ');
            current = Some(instruction);
            continue;
        }
        let documents = heredocs(&instruction);
        for (mark, commands) in documents {
            for line in lines.by_ref() {
                let start = offset;
                offset += line.len();
                let bare = line.trim_end_matches(['\n', '\r']);
                if bare.trim_start_matches('\t') == mark {
                    break;
                }
                if commands {
                    instruction.rest.push('\n');
                    instruction.pieces.push((instruction.rest.len(), start));
                    instruction.rest.push_str(bare);
                }
            }
        }
        all.push(instruction);
        if all.len() >= MOST_INSTRUCTIONS {
            return all;
        }
    }
    all.extend(current);
    all
}

/// The options of an instruction (`--mount=…`, `--network=…`), and what follows them.
pub(super) fn options(mut rest: &str) -> (Vec<&str>, &str) {
    let mut options = Vec::new();
    while rest.trim_start().starts_with("--") {
        let trimmed = rest.trim_start();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        options.push(&trimmed[..end]);
        rest = &trimmed[end..];
    }
    (options, rest)
}

/// The marks of documents that follow an instruction, and whether they hold shell commands.
fn heredocs(instruction: &Instruction) -> Vec<(String, bool)> {
    if !matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let shell = instruction.keyword == "RUN" && options(&instruction.rest).1.trim_start().starts_with("<<");
    instruction
        .rest
        .split_whitespace()
        .filter_map(|word| {
            let mark = word.strip_prefix("<<")?.trim_start_matches('-').trim_matches(['"', '\'']);
            let plain = mark.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            (plain && !mark.is_empty()).then(|| (mark.to_owned(), shell))
        })
        .collect()
}
