//! Rule `database-old`: whether the database is too old to know what is new.

use super::{Cx, Family, Rule, layer};
use crate::db::Day;
use crate::facts::{Evidence, Source};
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "database-old",
    family: Family::Tool,
    level: Level::Warn,
    layer: layer::TOOL,
    summary: "the database is older than half a year",
    docs: "\
### What it means

What goes with what (TensorFlow, Keras, CUDA, cuDNN, drivers, GPUs) lies in a database that is built into this \
program and can be renewed; its data was last changed or renewed more than 180 days ago.

### Why it matters

Releases since then are not in it. For those the answer is \"could not tell\", never \"incompatible\", so verdicts \
stay right but become fewer; and advice may name a release that is no longer the best one.

### How to fix it

Install a newer release of this program: `cargo install cargo-gpu-doctor`. Or renew the data alone: \
`cargo gpu-doctor db update`. Where the date of this machine is wrong, \
set its clock.
",
    check,
};

/// How many days the data may be old.
const DAYS: i64 = 180;

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let meta = cx.db.meta();
    let (Some(made), Some(today)) = (days(&meta.date), days(cx.today)) else { return };
    out.applies();
    let age = today - made;
    if age <= DAYS {
        return;
    }
    let title = format!("the database is of {}, {age} days old", meta.date);
    out.find(
        Finding::new(Subject::Machine, title)
            .because(Evidence::new(
                Source::Database,
                &meta.origin,
                format!("revision {} of {}", meta.revision, meta.date),
            ))
            .run("install a newer release of this program", "cargo install cargo-gpu-doctor")
            .so("releases since then are unknown to it"),
    );
}

/// The number of a day, counted from the first of March of the year 0; only differences mean something.
fn days(text: &str) -> Option<i64> {
    let day = Day::new(text)?;
    let mut parts = day.as_str().split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    // A year that begins in March has its leap day at its end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::options::GpuWish;
    use crate::rules::testing::{bare, judge_for};

    #[test]
    fn days_are_counted() {
        let between = |a, b| days(b).unwrap() - days(a).unwrap();
        assert_eq!(between("2026-11-23", "2026-11-24"), 1);
        assert_eq!(between("2024-02-28", "2024-03-01"), 2);
        assert_eq!(between("2023-12-31", "2024-01-01"), 1);
        assert_eq!(between("2000-01-01", "2001-01-01"), 366);
        assert!(days("2026-02-30").is_none());
    }

    #[test]
    fn only_old_data_is_warned_of() {
        let on = |day: &str| judge_for(&RULE, &bare(), GpuWish::Optional, day).findings.len();
        assert_eq!(on(&Database::embedded().meta().date), 0);
        assert_eq!(on("2099-01-01"), 1);
        assert_eq!(on("1999-01-01"), 0);
    }
}
