//! Markdown for an issue or a job summary: machine text is shown as it is and cannot break the page.

use std::fmt::Write as _;

use super::item::{Item, named};
use super::wrap::clean;
use super::{GpuStanding, Report};
use crate::finding::Level;
use crate::verdict::Answer;

/// The report on one machine.
pub fn report(report: &Report<'_>, items: &[Item]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## cargo gpu-doctor: {}\n", headline(items, report.exit_code));
    let state = match report.gpu.state {
        GpuStanding::NotWanted => "not wanted".to_owned(),
        GpuStanding::Absent => "none".to_owned(),
        GpuStanding::Usable => "usable".to_owned(),
        GpuStanding::Unusable => format!("there, and unusable: {}", report.gpu.because.join(", ")),
        GpuStanding::Unknown => "cannot tell".to_owned(),
    };
    let _ = writeln!(out, "GPU: {}\n", text(&state));
    let framed: Vec<_> =
        report.verdicts.environments.iter().filter(|env| env.tensorflow.is_some() || env.keras.is_some()).collect();
    if !framed.is_empty() {
        out.push_str("| environment | Python | TensorFlow | sees the GPU | computes on it | Keras | uses the GPU |\n");
        out.push_str("|---|---|---|---|---|---|---|\n");
    }
    for env in framed {
        let unknown = || "?".to_owned();
        let (tf, sees, runs) = match &env.tensorflow {
            Some(tf) => (tf.version.clone().unwrap_or_else(unknown), answer(tf.sees_gpu), answer(tf.runs_on_gpu)),
            None => ("none".to_owned(), "", ""),
        };
        let (keras, uses) = match &env.keras {
            Some(keras) => {
                let version = keras.version.clone().unwrap_or_else(unknown);
                (format!("{version} on {}", keras.backend), answer(keras.uses_gpu))
            }
            None => ("none".to_owned(), ""),
        };
        let python = env.python.clone().unwrap_or_else(unknown);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {sees} | {runs} | {} | {uses} |",
            cell(&env.path),
            cell(&python),
            cell(&tf),
            cell(&keras)
        );
    }
    if let Some(project) = &report.verdicts.project {
        let _ = writeln!(out, "\nProject: builds {}, runs {}", answer(project.builds), answer(project.runs));
    }
    for item in items {
        finding(&mut out, item);
    }
    let unknown = &report.outcomes.unknown;
    if !unknown.is_empty() {
        out.push_str("\n### Could not be told\n\n");
    }
    for missing in unknown {
        let _ = writeln!(out, "- {}: {}", code(missing.rule), text(missing.missing));
    }
    let database = &report.database;
    let _ = writeln!(
        out,
        "\n{} {}, database revision {} of {} ({})",
        report.tool.name,
        report.tool.version,
        database.revision,
        text(&database.date),
        text(&database.origin)
    );
    out
}

/// The page on many machines.
pub fn fleet(items: &[Item], machines: usize, denied: usize, unread: &[&str], exit_code: u8) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## cargo gpu-doctor: {}\n", headline(items, exit_code));
    let _ = writeln!(out, "{machines} machines, {denied} of them denied");
    for item in items {
        finding(&mut out, item);
    }
    if !unread.is_empty() {
        out.push_str("\n### Could not be read\n\n");
    }
    for why in unread {
        let _ = writeln!(out, "- {}", code(why));
    }
    out
}

fn headline(items: &[Item], exit_code: u8) -> String {
    let count = |level: Level| items.iter().filter(|item| item.level == level).count();
    match (count(Level::Deny), count(Level::Warn), exit_code) {
        (0, 0, 0) => "nothing is wrong".to_owned(),
        (0, 0, 2) => "not all facts could be read".to_owned(),
        (0, 0, _) => "denied, because something could not be told (`--strict`)".to_owned(),
        (denied, warned, _) => format!("{denied} denied, {warned} warned"),
    }
}

fn finding(out: &mut String, item: &Item) {
    let word = match item.level {
        Level::Deny => "error",
        Level::Warn => "warning",
        Level::Note => "note",
    };
    let _ = writeln!(out, "\n### {word}: {}\n", text(&item.title));
    let whom = if item.machines.is_empty() { item.subject.clone() } else { named(&item.machines, 20) };
    let _ = writeln!(out, "{} in {}\n", code(item.rule.id), code(&whom));
    for detail in &item.details {
        let _ = writeln!(out, "- {}", code(detail));
    }
    for (words, command) in &item.help {
        let _ = writeln!(out, "\nHelp: {}", text(words));
        if let Some(command) = command {
            let fence = "`".repeat(longest_run(command).max(2) + 1);
            let lines: Vec<String> = command.lines().map(clean).collect();
            let _ = writeln!(out, "\n{fence}sh\n{}\n{fence}", lines.join("\n"));
        }
    }
}

fn answer(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "**no**",
        Answer::Unknown => "cannot tell",
    }
}

/// Words with every sign escaped that Markdown could take for its own; nobody is mentioned and nothing is linked.
fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in clean(words).chars() {
        match c {
            // A mention, a reference or an address ends at the comment.
            '@' | '#' | ':' => {
                out.push(c);
                out.push_str("<!-- -->");
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_ascii_punctuation()
                && !matches!(c, ',' | ';' | '/' | '\'' | '"' | '?' | '%' | '=' | '.' | '-' | '(' | ')') =>
            {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as code: a fence longer than any in it.
fn code(words: &str) -> String {
    let words = clean(words);
    let fence = "`".repeat(longest_run(&words) + 1);
    let pad = if words.is_empty() || words.starts_with(['`', ' ']) || words.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{words}{pad}{fence}")
}

/// Code in a table, where a bar ends the cell even in code.
fn cell(words: &str) -> String {
    code(words).replace('|', "\\|")
}

fn longest_run(words: &str) -> usize {
    words.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signs_lose_their_meaning() {
        assert_eq!(text("*a* <b> [c](d) `e` @f #1"), "\\*a\\* &lt;b&gt; \\[c\\](d) \\`e\\` @<!-- -->f #<!-- -->1");
        assert_eq!(text("https://x"), "https:<!-- -->//x");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(cell("a|b"), "`a\\|b`");
    }

    proptest! {
        #[test]
        fn no_text_ends_its_line_or_its_fence(words in "(?s).{0,40}") {
            prop_assert!(!text(&words).contains(['\n', '\r']));
            let shown = code(&words);
            let fence = shown.bytes().take_while(|byte| *byte == b'`').count();
            // The closing fence is the first run of that length.
            let inner = &shown[fence..shown.len() - fence];
            prop_assert!(longest_run(inner) < fence);
            prop_assert!(!shown.contains('\n'));
        }
    }
}
