//! Judges the data files: grammar, order, sources, dates and what figures must obey; it never mends.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use pep440_rs::{Version, VersionSpecifiers};

use super::load::{Fault, Located, Reader};
use super::schema::{
    ChipRow, CompatRow, CrateRow, CudaRow, CudnnRow, Day, DriverRow, GpuRow, KerasRow, MetaRow, TensorflowRow,
};
use crate::sort::Sorted as _;
use crate::version::Dotted;

/// The names of the data files.
pub const FILES: [&str; 9] = [
    "meta.toml",
    "tensorflow.toml",
    "keras.toml",
    "cuda.toml",
    "cudnn.toml",
    "driver.toml",
    "gpu.toml",
    "compat.toml",
    "crates.toml",
];

/// The row grammar that this program reads.
pub const SCHEMA: u32 = 1;

/// The rows of all files.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Which data it is; none where meta.toml cannot be read.
    pub meta: Option<MetaRow>,
    /// tensorflow.toml.
    pub tensorflow: Vec<TensorflowRow>,
    /// keras.toml.
    pub keras: Vec<KerasRow>,
    /// cuda.toml.
    pub cuda: Vec<CudaRow>,
    /// cudnn.toml.
    pub cudnn: Vec<CudnnRow>,
    /// driver.toml.
    pub driver: Vec<DriverRow>,
    /// gpu.toml, the products.
    pub gpu: Vec<GpuRow>,
    /// gpu.toml, the chips.
    pub chip: Vec<ChipRow>,
    /// compat.toml.
    pub compat: Vec<CompatRow>,
    /// crates.toml.
    pub crates: Vec<CrateRow>,
}

/// Reads and judges the data files, given as name and text.
///
/// `prefix` goes before the names in faults. `today` is the day after which no date may lie; a build
/// leaves it out, because the clock of a build machine proves nothing about the data.
pub fn lint(files: &BTreeMap<String, String>, prefix: &str, today: Option<&Day>) -> (Tables, Vec<Fault>) {
    judge(files, prefix, today, false)
}

/// The same for curated data and what was derived on top of it.
pub fn lint_overlaid(files: &BTreeMap<String, String>, today: Option<&Day>) -> (Tables, Vec<Fault>) {
    judge(files, "", today, true)
}

fn judge(files: &BTreeMap<String, String>, prefix: &str, today: Option<&Day>, overlaid: bool) -> (Tables, Vec<Fault>) {
    let mut faults = Vec::new();
    let names: BTreeMap<&str, String> = FILES.iter().map(|name| (*name, format!("{prefix}{name}"))).sorted_map();
    for name in FILES {
        if !files.contains_key(name) {
            faults.push(Fault::new(&format!("{prefix}{name}"), "", 0..0, "the file is missing"));
        }
    }
    let reader = |name: &'static str| {
        Reader::new(names.get(name).map_or(name, String::as_str), files.get(name).map_or("", String::as_str))
    };
    let mut pen = Pen { prefix, files, file: "", faults: &mut faults, latest: None, overlaid };

    let mut file = reader("meta.toml");
    let meta = file.root::<MetaRow>();
    pen.open("meta.toml", file);
    if let Some(meta) = &meta {
        if meta.row.schema != SCHEMA {
            pen.fault(meta.at("schema"), format!("this program reads schema {SCHEMA} only"));
        }
        if today.is_some_and(|today| meta.row.date > *today) {
            pen.fault(meta.at("date"), "the date lies in the future");
        }
    }
    pen.latest = meta.as_ref().map(|meta| meta.row.date.clone());

    let mut file = reader("tensorflow.toml");
    let tensorflow = file.rows("tensorflow");
    pen.open("tensorflow.toml", file);
    pen.tensorflow(&tensorflow);

    let mut file = reader("keras.toml");
    let keras = file.rows("keras");
    pen.open("keras.toml", file);
    pen.keras(&keras);
    pen.keras_fits(&keras, &tensorflow);

    let mut file = reader("cuda.toml");
    let cuda = file.rows("cuda");
    pen.open("cuda.toml", file);
    pen.cuda(&cuda);

    let mut file = reader("cudnn.toml");
    let cudnn = file.rows("cudnn");
    pen.open("cudnn.toml", file);
    pen.cudnn(&cudnn);
    pen.cudnn_fits(&cudnn, &cuda);

    let mut file = reader("driver.toml");
    let driver = file.rows("driver");
    pen.open("driver.toml", file);
    pen.driver(&driver);

    // What refers to a table that comes later.
    pen.file = "tensorflow.toml";
    pen.satisfiable(&tensorflow, &Others { keras: &keras, cuda: &cuda, cudnn: &cudnn });
    pen.file = "cuda.toml";
    for at in &cuda {
        let row = &at.row;
        for (key, version) in [("driver_linux", &row.driver_linux), ("floor_linux", &row.floor_linux)] {
            pen.branch(at.at(key), version.as_ref(), &driver);
        }
    }
    pen.file = "cudnn.toml";
    for at in &cudnn {
        pen.branch(at.at("driver_linux"), at.row.driver_linux.as_ref(), &driver);
    }

    let mut file = reader("gpu.toml");
    let (gpu, chip) = (file.rows("gpu"), file.rows("chip"));
    pen.open("gpu.toml", file);
    pen.gpu(&gpu, &chip);

    let mut file = reader("compat.toml");
    let compat = file.rows("compat");
    pen.open("compat.toml", file);
    pen.compat(&compat, &driver, &cuda);

    let mut file = reader("crates.toml");
    let crates = file.rows("crates");
    pen.open("crates.toml", file);
    pen.crates(&crates);

    let tables = Tables {
        meta: meta.map(|meta| meta.row),
        tensorflow: plain(tensorflow),
        keras: plain(keras),
        cuda: plain(cuda),
        cudnn: plain(cudnn),
        driver: plain(driver),
        gpu: plain(gpu),
        chip: plain(chip),
        compat: plain(compat),
        crates: plain(crates),
    };
    crate::sort::by(&mut faults, |a, b| (&a.file, a.span.start).cmp(&(&b.file, b.span.start)));
    (tables, faults)
}

fn plain<Row>(rows: Vec<Located<Row>>) -> Vec<Row> {
    rows.into_iter().map(|located| located.row).collect()
}

/// What every row has.
trait Sourced {
    fn source(&self) -> &str;
    fn also(&self) -> &[String];
    fn checked(&self) -> &Day;
    fn note(&self) -> Option<&str>;
    fn derived(&self) -> bool;
}

macro_rules! sourced {
    ($($row:ty: $derived:expr),*) => {$(
        impl Sourced for $row {
            fn source(&self) -> &str { &self.source }
            fn also(&self) -> &[String] { &self.also }
            fn checked(&self) -> &Day { &self.checked }
            fn note(&self) -> Option<&str> { self.note.as_deref() }
            fn derived(&self) -> bool {
                let derived: fn(&Self) -> bool = $derived;
                derived(self)
            }
        }
    )*};
}

sourced!(
    TensorflowRow: |row| row.derived,
    KerasRow: |row| row.derived,
    CudaRow: |row| row.derived,
    CudnnRow: |row| row.derived,
    DriverRow: |_| false,
    GpuRow: |_| false,
    ChipRow: |_| false,
    CompatRow: |_| false,
    CrateRow: |_| false
);

/// Writes faults down, for the file that is open.
struct Pen<'p> {
    prefix: &'p str,
    files: &'p BTreeMap<String, String>,
    file: &'static str,
    faults: &'p mut Vec<Fault>,
    latest: Option<Day>,
    /// Whether derived rows may stand among the curated ones.
    overlaid: bool,
}

impl Pen<'_> {
    fn open(&mut self, file: &'static str, reader: Reader<'_>) {
        self.file = file;
        self.faults.extend(reader.finish());
    }

    fn fault(&mut self, span: Range<usize>, message: impl Into<String>) {
        let text = self.files.get(self.file).map_or("", String::as_str);
        self.faults.push(Fault::new(&format!("{}{}", self.prefix, self.file), text, span, message));
    }

    /// Sources and dates, which all tables have, and the order of the rows.
    fn common<Row: Sourced>(
        &mut self,
        rows: &[Located<Row>],
        order: impl Fn(&Row, &Row) -> Ordering,
        say: impl Fn(&Row) -> String,
    ) {
        for located in rows {
            let row = &located.row;
            if let Err(why) = source(row.source()) {
                self.fault(located.at("source"), why);
            }
            for (index, also) in row.also().iter().enumerate() {
                if let Err(why) = source(also) {
                    self.fault(located.at("also"), format!("`{also}`: {why}"));
                }
                if also == row.source() || row.also()[..index].contains(also) {
                    self.fault(located.at("also"), format!("`{also}` is named twice"));
                }
            }
            if self.latest.as_ref().is_some_and(|latest| row.checked() > latest) {
                self.fault(located.at("checked"), "the row was checked after the date of the data in meta.toml");
            }
            if row.derived() && !self.overlaid {
                self.fault(located.at("derived"), "a derived row has no place in curated data");
            }
            if row.note().is_some_and(|note| note.trim().is_empty()) {
                self.fault(located.at("note"), "the note is empty: leave it out");
            }
        }
        for pair in rows.windows(2) {
            let [before, after] = pair else { continue };
            match order(&before.row, &after.row) {
                Ordering::Less => {}
                Ordering::Equal => self.fault(after.span.clone(), format!("{} has two rows", say(&after.row))),
                Ordering::Greater => {
                    let message = format!("{} comes after {}: rows are sorted", say(&after.row), say(&before.row));
                    self.fault(after.span.clone(), message);
                }
            }
        }
    }

    fn requirement(&mut self, span: Range<usize>, text: &str) {
        if text.trim().is_empty() || text.parse::<VersionSpecifiers>().is_err() {
            self.fault(span, format!("`{text}` is not a PEP 440 requirement"));
        }
    }

    fn one_of(&mut self, span: Range<usize>, text: &str, known: &[&str]) {
        if !known.contains(&text) {
            self.fault(span, format!("`{text}` is none of {}", known.join(", ")));
        }
    }

    fn at_most(&mut self, span: Range<usize>, low: (&str, Option<&Dotted>), high: (&str, Option<&Dotted>)) {
        if let (Some(a), Some(b)) = (low.1, high.1)
            && a > b
        {
            self.fault(span, format!("{} {a} is above {} {b}", low.0, high.0));
        }
    }

    fn tensorflow(&mut self, rows: &[Located<TensorflowRow>]) {
        self.common(rows, TensorflowRow::order, |row| format!("{} {} for {}", row.package, row.version, row.platform));
        for at in rows {
            let row = &at.row;
            self.one_of(
                at.at("platform"),
                &row.platform,
                &["linux-aarch64", "linux-x86_64", "macos-arm64", "macos-x86_64", "windows-x86_64"],
            );
            for (key, text) in [("python", &row.python), ("keras", &row.keras)] {
                if let Some(text) = text {
                    self.requirement(at.at(key), text);
                }
            }
            for text in row.and_cuda.values() {
                self.requirement(at.at("and_cuda"), text);
            }
            for (python, why) in &row.and_cuda_fails {
                self.requirement(at.at("and_cuda_fails"), python);
                if why.trim().is_empty() || row.and_cuda.is_empty() {
                    self.fault(at.at("and_cuda_fails"), "`and_cuda_fails` says why, and stands beside `and_cuda`");
                }
            }
            for name in &row.compute {
                let number = name.strip_prefix("sm_").or_else(|| name.strip_prefix("compute_"));
                if !number.is_some_and(compute_number) {
                    self.fault(at.at("compute"), format!("`{name}` is neither sm_NN nor compute_NN"));
                }
            }
            for soname in &row.libraries {
                if !library(soname, &row.platform) {
                    self.fault(at.at("libraries"), format!("`{soname}` is no name of a shared library"));
                }
            }
            // Which libraries are opened was measured; no package states it.
            if row.cuda_build && row.platform == "linux-x86_64" && row.libraries.is_empty() && !row.derived {
                self.fault(at.span.clone(), "a CUDA build for linux-x86_64 names the libraries it loads");
            }
            if !row.cuda_build {
                let stray = [
                    ("cuda", row.cuda.is_some()),
                    ("cudnn", row.cudnn.is_some()),
                    ("compute", !row.compute.is_empty()),
                    ("libraries", !row.libraries.is_empty()),
                ];
                for (key, _) in stray.iter().filter(|(_, there)| *there) {
                    self.fault(at.at(key), format!("`{key}` in a row that is no CUDA build"));
                }
            }
        }
    }

    fn keras(&mut self, rows: &[Located<KerasRow>]) {
        self.common(rows, KerasRow::order, |row| format!("{} {}", row.package, row.version));
        for at in rows {
            self.one_of(at.at("package"), &at.row.package, &["keras", "tf-keras"]);
            for (key, text) in [("python", &at.row.python), ("tensorflow", &at.row.tensorflow)] {
                if let Some(text) = text {
                    self.requirement(at.at(key), text);
                }
            }
            for backend in &at.row.backends {
                self.one_of(
                    at.at("backends"),
                    backend,
                    &["tensorflow", "jax", "torch", "numpy", "openvino", "theano", "cntk"],
                );
            }
        }
    }

    fn cuda(&mut self, rows: &[Located<CudaRow>]) {
        self.common(rows, CudaRow::order, |row| format!("CUDA {}", row.version));
        for at in rows {
            let row = &at.row;
            // Not so on Windows: NVIDIA's floor for 12.x is 528.33, and 12.0.0 came with 527.41.
            let pairs = [
                ("floor_linux", &row.floor_linux, "driver_linux", &row.driver_linux),
                ("compute_min", &row.compute_min, "compute_max", &row.compute_max),
                ("gcc_min", &row.gcc_min, "gcc_max", &row.gcc_max),
                ("clang_min", &row.clang_min, "clang_max", &row.clang_max),
                ("msvc_min", &row.msvc_min, "msvc_below", &row.msvc_below),
            ];
            for (low, a, high, b) in pairs {
                self.at_most(at.at(low), (low, a.as_ref()), (high, b.as_ref()));
            }
        }
        for (key, figure) in [
            ("driver_linux", (|row: &CudaRow| row.driver_linux.as_ref()) as fn(&CudaRow) -> Option<&Dotted>),
            ("driver_windows", |row| row.driver_windows.as_ref()),
            ("floor_linux", |row| row.floor_linux.as_ref()),
            ("floor_windows", |row| row.floor_windows.as_ref()),
            ("compute_min", |row| row.compute_min.as_ref()),
            ("compute_max", |row| row.compute_max.as_ref()),
            ("ptx_isa", |row| row.ptx_isa.as_ref()),
        ] {
            self.rises(key, rows, figure, |_, _| true, |row| format!("CUDA {}", row.version));
        }
    }

    /// A figure never falls from a row to the next of its kind.
    fn rises<Row>(
        &mut self,
        key: &str,
        rows: &[Located<Row>],
        figure: impl Fn(&Row) -> Option<&Dotted>,
        same_kind: impl Fn(&Row, &Row) -> bool,
        say: impl Fn(&Row) -> String,
    ) {
        for (index, at) in rows.iter().enumerate() {
            let Some(now) = figure(&at.row) else { continue };
            let before = rows[..index]
                .iter()
                .rev()
                .filter(|older| same_kind(&older.row, &at.row))
                .find_map(|older| Some((&older.row, figure(&older.row)?)));
            if let Some((older, then)) = before.filter(|(_, then)| now < *then) {
                self.fault(at.at(key), format!("{key} {now} falls below the {then} of {}", say(older)));
            }
        }
    }

    fn cudnn(&mut self, rows: &[Located<CudnnRow>]) {
        self.common(rows, CudnnRow::order, |row| format!("cuDNN {} for CUDA {}", row.version, texts(&row.cuda)));
        for at in rows {
            if at.row.cuda.is_empty() || at.row.cuda.iter().any(|cuda| cuda.len() != 1) {
                self.fault(at.at("cuda"), "`cuda` is a list of CUDA majors");
            }
        }
        let say = |row: &CudnnRow| format!("cuDNN {} for CUDA {}", row.version, texts(&row.cuda));
        let same = |a: &CudnnRow, b: &CudnnRow| a.cuda == b.cuda;
        self.rises("driver_linux", rows, |row| row.driver_linux.as_ref(), same, say);
        self.rises("compute_min", rows, |row| row.compute_min.as_ref(), same, say);
    }

    /// What cuDNN refers to. A table without rows cannot be referred to, and is not asked.
    fn cudnn_fits(&mut self, rows: &[Located<CudnnRow>], toolkits: &[Located<CudaRow>]) {
        if toolkits.is_empty() {
            return;
        }
        for at in rows {
            for major in at.row.cuda.iter().filter(|major| major.len() == 1) {
                if !toolkits.iter().any(|toolkit| toolkit.row.version.number.major() == major.major()) {
                    self.fault(at.at("cuda"), format!("no toolkit of CUDA {major} has a row in cuda.toml"));
                }
            }
        }
    }

    /// A driver that a row names is of a branch that driver.toml has.
    fn branch(&mut self, span: Range<usize>, version: Option<&Dotted>, drivers: &[Located<DriverRow>]) {
        let Some(version) = version else { return };
        if !drivers.is_empty() && !drivers.iter().any(|driver| driver.row.branch.major() == version.major()) {
            self.fault(span, format!("branch {} has no row in driver.toml", version.major()));
        }
    }

    /// A Keras that names its TensorFlow names one that there is.
    fn keras_fits(&mut self, rows: &[Located<KerasRow>], tensorflow: &[Located<TensorflowRow>]) {
        if tensorflow.is_empty() {
            return;
        }
        for at in rows {
            let Some(wanted) = at.row.tensorflow.as_deref().and_then(specifiers) else { continue };
            if !tensorflow.iter().any(|other| wanted.contains(&other.row.version)) {
                self.fault(at.at("tensorflow"), "no row of tensorflow.toml meets this requirement");
            }
        }
    }

    /// Every TensorFlow works with some Python, CUDA, cuDNN and Keras of the tables.
    fn satisfiable(&mut self, rows: &[Located<TensorflowRow>], others: &Others<'_>) {
        let pythons = pythons();
        for at in rows {
            let row = &at.row;
            let python = row.python.as_deref().and_then(specifiers);
            if let Some(python) = &python
                && !pythons.iter().any(|version| python.contains(version))
            {
                self.fault(at.at("python"), "no Python meets this requirement");
            }
            if let Some(cuda) = row.cuda.as_ref().filter(|_| !others.cuda.is_empty()) {
                let same = |other: &CudaRow| {
                    let number = &other.version.number;
                    number.major() == cuda.major() && (cuda.len() == 1 || number.minor() == cuda.minor())
                };
                if !others.cuda.iter().any(|other| same(&other.row)) {
                    self.fault(at.at("cuda"), format!("CUDA {cuda} has no row in cuda.toml"));
                }
            }
            if let Some(cudnn) = row.cudnn.as_ref().filter(|_| !others.cudnn.is_empty()) {
                // It runs with the same major and at least what it was built with.
                let fits = |other: &CudnnRow| {
                    other.version.major() == cudnn.major()
                        && (other.version >= *cudnn)
                        && row.cuda.as_ref().is_none_or(|cuda| other.cuda.iter().any(|of| of.major() == cuda.major()))
                };
                if !others.cudnn.iter().any(|other| fits(&other.row)) {
                    let cuda = row.cuda.as_ref().map(|cuda| format!(" for CUDA {}", cuda.major())).unwrap_or_default();
                    let message = format!("no row of cudnn.toml is a cuDNN {}{cuda} from {cudnn} on", cudnn.major());
                    self.fault(at.at("cudnn"), message);
                }
            }
            if let Some(keras) = row.keras.as_deref().and_then(specifiers).filter(|_| !others.keras.is_empty()) {
                // Of the Pythons that TensorFlow has wheels for, one must do for Keras too.
                let fits = |other: &KerasRow| {
                    let its = other.python.as_deref().and_then(specifiers);
                    other.package == "keras"
                        && keras.contains(&other.version)
                        && pythons.iter().any(|version| {
                            python.as_ref().is_none_or(|python| python.contains(version))
                                && its.as_ref().is_none_or(|its| its.contains(version))
                        })
                };
                if !others.keras.iter().any(|other| fits(&other.row)) {
                    self.fault(at.at("keras"), "no row of keras.toml meets this requirement on a Python of this row");
                }
            }
        }
    }

    fn driver(&mut self, rows: &[Located<DriverRow>]) {
        self.common(rows, |a, b| a.branch.cmp(&b.branch), |row| format!("branch {}", row.branch));
        for at in rows {
            let row = &at.row;
            if row.branch.len() != 1 {
                self.fault(at.at("branch"), "a branch is one number");
            }
            if row.first.as_ref().is_some_and(|first| first.major() != row.branch.major()) {
                self.fault(at.at("first"), format!("`first` is no driver of branch {}", row.branch));
            }
            if row.end_of_life.as_ref().is_some_and(|month| Day::new(&format!("{month}-01")).is_none()) {
                self.fault(at.at("end_of_life"), "the end of life is a month, YYYY-MM");
            }
        }
        for pair in rows.windows(2) {
            let [before, after] = pair else { continue };
            if after.row.reports_cuda < before.row.reports_cuda {
                let message = format!(
                    "branch {} reports CUDA {}, less than the {} of branch {}",
                    after.row.branch, after.row.reports_cuda, before.row.reports_cuda, before.row.branch
                );
                self.fault(after.at("reports_cuda"), message);
            }
        }
    }

    fn gpu(&mut self, gpus: &[Located<GpuRow>], chips: &[Located<ChipRow>]) {
        self.common(gpus, |a, b| (&a.compute, &a.name).cmp(&(&b.compute, &b.name)), |row| row.name.clone());
        self.common(chips, |a, b| a.chip.cmp(&b.chip), |row| row.chip.clone());
        let mut computes: BTreeMap<&str, (&str, &Dotted)> = BTreeMap::new();
        for at in chips {
            self.ids(at, &at.row.pci);
            self.compute(at, &at.row.compute);
            for id in &at.row.pci {
                if let Some((other, _)) = computes.insert(id, (&at.row.chip, &at.row.compute)) {
                    self.fault(at.at("pci"), format!("{id} is an id of chip {other} already"));
                }
            }
        }
        for at in gpus {
            self.ids(at, &at.row.pci);
            self.compute(at, &at.row.compute);
            if let Some(class) = &at.row.class {
                self.one_of(at.at("class"), class, &["datacenter", "workstation", "geforce", "jetson"]);
            }
            for id in &at.row.pci {
                let (other, compute) = *computes.entry(id).or_insert((&at.row.name, &at.row.compute));
                if *compute != at.row.compute {
                    self.fault(at.at("pci"), format!("{id} has compute capability {compute} in the row of {other}"));
                }
            }
        }
    }

    fn ids<Row>(&mut self, at: &Located<Row>, ids: &[String]) {
        for (index, id) in ids.iter().enumerate() {
            let hex = id.strip_prefix("0x").unwrap_or_default();
            if hex.len() != 4 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)) {
                self.fault(at.at("pci"), format!("`{id}` is not a PCI device id such as 0x1EB8"));
            }
            if ids[..index].contains(id) {
                self.fault(at.at("pci"), format!("{id} is named twice"));
            }
        }
    }

    fn compute<Row>(&mut self, at: &Located<Row>, compute: &Dotted) {
        if compute.len() != 2 {
            self.fault(at.at("compute"), "a compute capability has two numbers");
        }
    }

    fn compat(&mut self, rows: &[Located<CompatRow>], drivers: &[Located<DriverRow>], toolkits: &[Located<CudaRow>]) {
        self.common(rows, |a, b| a.cuda.cmp(&b.cuda), |row| format!("the package of CUDA {}", row.cuda));
        for at in rows {
            if at.row.cuda.len() != 2 {
                self.fault(at.at("cuda"), "`cuda` has two numbers");
            }
            let same = |toolkit: &CudaRow| toolkit.version.number.prefix(2) == at.row.cuda;
            if !toolkits.is_empty() && !toolkits.iter().any(|toolkit| same(&toolkit.row)) {
                self.fault(at.at("cuda"), format!("CUDA {} has no row in cuda.toml", at.row.cuda));
            }
            for branch in &at.row.branches {
                if !drivers.iter().any(|driver| driver.row.branch == *branch) {
                    self.fault(at.at("branches"), format!("branch {branch} has no row in driver.toml"));
                }
            }
        }
    }

    fn crates(&mut self, rows: &[Located<CrateRow>]) {
        self.common(
            rows,
            |a, b| (&a.name, a.first()).cmp(&(&b.name, b.first())),
            |row| format!("{} {}", row.name, row.versions),
        );
        for at in rows {
            if !cargo_requirement(&at.row.versions) {
                self.fault(at.at("versions"), format!("`{}` is not a Cargo requirement", at.row.versions));
            }
            for (index, variable) in at.row.env.iter().enumerate() {
                let letters = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
                if variable.is_empty() || !variable.bytes().all(letters) {
                    self.fault(at.at("env"), format!("`{variable}` is no name of a variable"));
                }
                if at.row.env[..index].contains(variable) {
                    self.fault(at.at("env"), format!("{variable} is named twice"));
                }
            }
        }
    }
}

/// The tables that TensorFlow's rows refer to.
struct Others<'t> {
    keras: &'t [Located<KerasRow>],
    cuda: &'t [Located<CudaRow>],
    cudnn: &'t [Located<CudnnRow>],
}

fn specifiers(text: &str) -> Option<VersionSpecifiers> {
    text.parse().ok()
}

/// The minors of Python that anything here may ask for, and some that are to come.
fn pythons() -> Vec<Version> {
    let two = Version::new([2, 7, 18]);
    // A high patch release: `>=3.8.1` and `!=3.9.0` mean the minor.
    std::iter::once(two).chain((3..30).map(|minor| Version::new([3, minor, 99]))).collect()
}

fn texts(versions: &[Dotted]) -> String {
    versions.iter().map(Dotted::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether a text can be a source: an https address or a package URL with a version.
fn source(text: &str) -> Result<(), &'static str> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a source has no blanks");
    }
    if let Some(rest) = text.strip_prefix("https://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return if host.contains('.') { Ok(()) } else { Err("the address has no host") };
    }
    if let Some(rest) = text.strip_prefix("pkg:") {
        let package = rest.split('#').next().unwrap_or_default();
        let (name, version) = package.split_once('@').unwrap_or((package, ""));
        return if name.contains('/') && !version.is_empty() {
            Ok(())
        } else {
            Err("a package URL is pkg:TYPE/NAME@VERSION#FILE")
        };
    }
    Err("a source is an https address or a package URL")
}

/// `80`, `120`, `90a`.
fn compute_number(text: &str) -> bool {
    let digits = text.trim_end_matches(['a', 'f']);
    (2..=3).contains(&digits.len()) && text.len() - digits.len() <= 1 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text can be the name under which a library is loaded.
fn library(name: &str, platform: &str) -> bool {
    if name.contains(['/', '\\']) || name.chars().any(char::is_whitespace) {
        return false;
    }
    if platform.starts_with("windows") {
        name.rsplit_once('.').is_some_and(|(_, extension)| extension == "dll")
    } else {
        name.starts_with("lib") && name.contains(".so")
    }
}

/// Whether each part of a text looks like `>=1.2`, `^0.3`, `=2.0.0-rc.9`, `0.5.*`.
fn cargo_requirement(text: &str) -> bool {
    text.split(',').all(|part| {
        let version = part.trim().trim_start_matches(['^', '~', '=', '<', '>']).trim();
        let (numbers, pre) = version.split_once('-').unwrap_or((version, "x"));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (1..=3).contains(&numbers.split('.').count())
            && numbers.split('.').enumerate().all(|(index, text)| number(text) || (index > 0 && text == "*"))
            && !pre.is_empty()
            && pre.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    })
}
