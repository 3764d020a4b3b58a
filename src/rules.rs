//! The rules: what each is called, how much it counts, and its pure check of the facts.
//!
//! A rule reads nothing from the machine; the same facts, rows and options give the same judgment.

use crate::db::Database;
use crate::facts::Facts;
use crate::finding::{Judgment, Level};
use crate::options::GpuWish;
use crate::view::View;

/// A family of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// The driver.
    Driver,
    /// What programs are allowed to see.
    Visibility,
    /// The GPU itself.
    Gpu,
    /// CUDA and cuDNN.
    Cuda,
    /// Python packaging.
    Python,
    /// Keras.
    Keras,
    /// The Cargo project.
    Project,
    /// The program itself.
    Tool,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name: kebab-case, stable, never reused.
    pub id: &'static str,
    /// Its family.
    pub family: Family,
    /// Its default level.
    pub level: Level,
    /// Where it stands in the chain of causes: a smaller number is nearer to the root.
    pub layer: u8,
    /// One line that says what it looks for.
    pub summary: &'static str,
    /// What it means, why it matters, how to fix it: three headed paragraphs.
    pub docs: &'static str,
    /// The check.
    pub check: fn(&Cx<'_>, &mut Judgment),
}

/// What a rule may look at.
#[derive(Debug)]
pub struct Cx<'a> {
    /// What was read.
    pub facts: &'a Facts,
    /// The database.
    pub db: &'a Database,
    /// Derived views of the facts, shared by rules.
    pub view: &'a View<'a>,
    /// What a machine without a usable GPU means.
    pub gpu: GpuWish,
    /// The day, `YYYY-MM-DD`.
    pub today: &'a str,
}

/// Layers of causes, the root first.
pub mod layer {
    /// The machine has no GPU, or it is lost.
    pub const DEVICE: u8 = 10;
    /// The driver is not loaded or does not fit itself.
    pub const DRIVER: u8 = 20;
    /// The process may not see the device.
    pub const VISIBILITY: u8 = 30;
    /// The Python environment cannot import what it should.
    pub const IMPORT: u8 = 40;
    /// The wheel has no GPU support.
    pub const WHEEL: u8 = 50;
    /// The loader does not find the libraries, or the wrong ones.
    pub const LOADER: u8 = 60;
    /// The GPU or driver is too old or too new for the binaries.
    pub const FIT: u8 = 70;
    /// cuDNN does not fit.
    pub const CUDNN: u8 = 80;
    /// XLA lacks its compiler parts.
    pub const XLA: u8 = 90;
    /// Keras.
    pub const KERAS: u8 = 100;
    /// The Cargo project and its toolkit.
    pub const PROJECT: u8 = 110;
    /// The program itself.
    pub const TOOL: u8 = 120;
}
