//! What the dynamic loader would pick for a name: glibc's search rebuilt from files, nothing loaded.
//!
//! It follows glibc's own order and its own reasons to pass over a file or to give up. It knows no
//! audit libraries, no namespaces and no set-user-id programs.
//!
//! Which subfolders for better processors it tries depends on glibc's version, which the loader's own
//! file tells: `glibc-hwcaps` from 2.33 on, `tls`, `haswell`, `x86_64` and their like before 2.37. Where
//! it does not tell, 2.37 or newer is assumed. The processor is that of `/proc/cpuinfo`; a tree without
//! that file counts as one of the oldest. For machines other than `x86_64` no subfolder is tried.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::facts::loader::{
    Brought, Candidate, Library, MissingNeeded, Reading, Rejected, SearchFolder, Unresolved, Via, in_store,
};
use crate::facts::{Dynamic, Evidence, Loader, Probed, Resolution};
use crate::host::{Host, HostError, Stat, Why};
use crate::probe::elf::{self, ElfError, Object, Wanted};
use crate::probe::ld_cache::{self, Cache, Capable};
use crate::probe::symbols::{self, Symbols};
use crate::version::Dotted;

mod glibc;

use glibc::{LOADER_LIMIT, Legacy, Processor, glibc, machine_of};

/// Libraries that one process holds at most.
const MOST_LOADED: usize = 4096;
/// Entries of a search path or of a list of preloads that are looked at.
const MOST_ENTRIES: usize = 4096;
/// Symbols asked in vain that are kept for one library.
const MOST_UNRESOLVED: usize = 3;
/// Names of the C library itself: a process that opens libraries has it already.
const C_LIBRARY: [&str; 6] = ["libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1"];
const PRELOAD_FILE: &str = "/etc/ld.so.preload";

/// The loader of one machine: its `LD_LIBRARY_PATH`, cache, default folders, and what was read of ELF files so far.
#[derive(Debug)]
pub struct Search<'h> {
    host: &'h Host,
    /// What every search needs; read once, by whoever asks first.
    own: OnceLock<Own>,
    /// By path, as text: the hash of a path takes it apart.
    objects: Mutex<HashMap<OsString, Known>>,
    symbols: Mutex<KnownSymbols>,
    folders: Mutex<HashMap<OsString, Arc<[String]>>>,
    processes: Mutex<HashMap<Vec<String>, Arc<Process>>>,
}

/// What the loader is built with and knows: its machine, version, cache and processor.
#[derive(Debug)]
struct Own {
    machine: String,
    cache: Probed<u32>,
    entries: Cache,
    /// Folders that a cache would cover, where the tree came without one.
    uncached: Vec<String>,
    glibc: Probed<Dotted>,
    levels: Vec<&'static str>,
    legacy: Legacy,
}

impl Own {
    fn read(host: &Host) -> Self {
        let machine = machine_of(host);
        let (cache, entries) = match host.read(ld_cache::PATH, ld_cache::LIMIT) {
            Ok(bytes) => match Cache::parse(&bytes) {
                Ok(entries) => {
                    let says = format!("{} libraries", entries.len());
                    (Probed::found(entries.len(), Evidence::file(ld_cache::PATH, says)), entries)
                }
                Err(error) => (Probed::failed(format!("{}: {error}", ld_cache::PATH)), Cache::default()),
            },
            Err(error) if error.is_absent() => (Probed::Absent, Cache::default()),
            Err(error) => (Probed::failed(error.to_string()), Cache::default()),
        };
        let glibc = glibc(host, &machine);
        let processor = Processor::read(host, &machine);
        let older_than = |minor| glibc.value().is_some_and(|version| *version < Dotted::new(&[2, minor]));
        let levels = if older_than(33) { Vec::new() } else { processor.levels() };
        let legacy = if older_than(37) { processor.legacy(older_than(26)) } else { Legacy::default() };
        // A tree without a cache is an image before its first start, or a copy: what starts it writes the cache.
        // On a running machine without one, the loader really has none.
        let uncached = if host.is_rooted() && cache.is_absent() { ld_cache::folders(host) } else { Vec::new() };
        Self { machine, cache, entries, uncached, glibc, levels, legacy }
    }
}

/// Symbols by device and inode; `None` where they could not be read.
type KnownSymbols = HashMap<(u64, u64), Option<Arc<Symbols>>>;

/// What is remembered of a file: its `stat`, and what its headers say.
type Known = (Stat, Result<Arc<Object>, ElfError>);

/// How the loader of one machine type was built.
#[derive(Clone, Debug)]
struct Layout {
    wanted: Wanted,
    /// What `$LIB` stands for.
    lib: String,
    default_folders: Vec<String>,
}

/// A loader that is not the system's, such as those of Nix, Guix and Gentoo's prefix: each belongs to a glibc of its
/// own, which searches its own folder and has its own cache, and neither those of the system.
#[derive(Debug)]
struct Foreign {
    cache: String,
    entries: Cache,
    /// Why nobody can tell what else it searches.
    untold: Option<String>,
}

/// A library in a process.
#[derive(Clone, Debug)]
struct Loaded {
    path: String,
    stat: Stat,
    object: Arc<Object>,
    /// What opened it or needs it.
    by: Option<usize>,
    /// What needs it, where that is why it was loaded: from there it inherits RPATHs. A library that
    /// was opened by `dlopen` inherits none from its caller.
    heir_of: Option<usize>,
    /// Its RPATH and RUNPATH, existing folders only.
    rpath: Arc<[Folder]>,
    runpath: Arc<[Folder]>,
    /// Its needed libraries, once they are loaded.
    needs: Option<Vec<Need>>,
}

/// A needed name and the library that it became.
#[derive(Clone, Debug)]
struct Need {
    name: String,
    library: Option<usize>,
}

/// A folder in which names are tried.
#[derive(Clone, Debug)]
struct Folder {
    /// The entry as written.
    entry: String,
    path: String,
    /// Whether it is a subfolder for better processors.
    variant: bool,
}

/// A path that the search tries.
struct Place {
    path: String,
    via: Via,
    /// Whether it lies in a subfolder for better processors.
    variant: bool,
}

/// What a process has loaded so far.
#[derive(Clone, Debug)]
struct Process {
    layout: Arc<Layout>,
    foreign: Option<Arc<Foreign>>,
    loaded: Vec<Loaded>,
    names: HashMap<String, usize>,
    files: HashMap<(u64, u64), usize>,
    /// The program, where the chain ends with one.
    program: Option<usize>,
    library_path: Arc<[Folder]>,
    default_path: Arc<[Folder]>,
}

/// How a search ended.
enum Outcome {
    Found { path: String, stat: Stat, object: Arc<Object>, via: Via },
    Absent,
    Failed(String),
}

/// What trying one path gave.
enum Try {
    Taken(Stat, Arc<Object>),
    /// It is not there.
    Missing,
    /// It is there, and the search goes on behind it.
    PassedOver(String),
    /// Nothing more of this list of folders is tried.
    EndsList(String),
    /// The loader reports this and gives up.
    Fatal(String),
}

impl<'h> Search<'h> {
    /// A search that has read nothing yet.
    pub fn new(host: &'h Host) -> Self {
        Self {
            host,
            own: OnceLock::new(),
            objects: Mutex::default(),
            symbols: Mutex::default(),
            folders: Mutex::default(),
            processes: Mutex::default(),
        }
    }

    /// Reads what every search needs, so that the first one does not wait for it.
    pub fn prepare(&self) {
        self.own();
    }

    fn own(&self) -> &Own {
        self.own.get_or_init(|| Own::read(self.host))
    }

    /// The host that is searched.
    pub fn host(&self) -> &'h Host {
        self.host
    }

    /// How this loader searches for an ordinary program.
    pub fn facts(&self) -> Loader {
        let layout = self.layout(&self.own().machine);
        Loader {
            library_path: self
                .library_path_entries()
                .map(|text| {
                    // Without a program, `$ORIGIN` stays as it is written.
                    let expanded = expand(text, Some("$ORIGIN"), &layout).unwrap_or_default();
                    let path = self.host.absolute(&expanded).to_string_lossy().into_owned();
                    SearchFolder { text: text.to_owned(), exists: self.host.is_dir(&path), path }
                })
                .collect(),
            preload: self.preloads().into_iter().map(|(_, evidence)| evidence).collect(),
            cache: self.own().cache.clone(),
            glibc: self.own().glibc.clone(),
            default_folders: layout.default_folders.into_iter().filter(|folder| self.host.is_dir(folder)).collect(),
        }
    }

    /// Resolves names in the order in which one process would `dlopen` them.
    ///
    /// `chain` is the object that calls `dlopen` first, then what loaded that object, up to the program.
    /// Names that an earlier library already brought in are found as such.
    pub fn resolve_all(&self, names: &[&str], chain: &[&str]) -> Vec<Resolution> {
        self.open_all(names, chain, true)
    }

    /// The same for what is only asked whether all that it needs is found: no symbols are read but those that NVIDIA's
    /// libraries ask of each other; frameworks have hundreds of thousands.
    pub fn resolve_needed(&self, names: &[&str], chain: &[&str]) -> Vec<Resolution> {
        self.open_all(names, chain, false)
    }

    fn open_all(&self, names: &[&str], chain: &[&str], symbols: bool) -> Vec<Resolution> {
        let mut process = Process::clone(&self.process(chain));
        let caller = chain.first().and_then(|path| process.by_path(self.host, path));
        names.iter().map(|name| self.dlopen(&mut process, name, caller, symbols)).collect()
    }

    /// Resolves one name in a fresh process.
    pub fn resolve(&self, name: &str, chain: &[&str]) -> Resolution {
        self.resolve_all(&[name], chain).swap_remove(0)
    }

    /// What the first object of a chain needs, directly or further down, and nothing provides: it cannot be loaded.
    ///
    /// Names that the loader's cache may hold, where that could not be read, are left out.
    pub fn lacking(&self, chain: &[&str]) -> Vec<MissingNeeded> {
        let process = self.process(chain);
        let index = chain.first().and_then(|path| process.by_path(self.host, path));
        let mut missing = index.map(|index| process.consequences(index).1).unwrap_or_default();
        missing.retain(|need| self.uncached::<()>(&process, &need.name).is_none());
        missing
    }

    /// The dynamic section of an ELF file; remembered.
    pub fn dynamic(&self, path: impl AsRef<Path>) -> Result<Dynamic, HostError> {
        let path = path.as_ref();
        let fault = |error: ElfError| match error {
            ElfError::Host(error) => error,
            other => HostError { path: path.to_string_lossy().into_owned(), why: Why::Other(other.to_string()) },
        };
        let (_, object) = self.object(path)?;
        object.map(|object| object.dynamic.clone()).map_err(fault)
    }

    /// Reads an object of any machine; remembered, also where it is broken.
    fn object(&self, path: &Path) -> Result<Known, HostError> {
        let path = self.host.absolute(path);
        if let Some(known) = hold(&self.objects).get(path.as_os_str()) {
            return Ok(known.clone());
        }
        let file = self.host.open(&path)?;
        let known = (file.stat, elf::read(&file, None).map(Arc::new));
        hold(&self.objects).insert(path.into(), known.clone());
        Ok(known)
    }

    /// What the loader does with a path: it opens it and looks at its headers.
    fn attempt(&self, path: &str, layout: &Layout) -> Try {
        let (stat, object) = match self.object(Path::new(path)) {
            Ok(known) => known,
            Err(error) => {
                return match error.why {
                    Why::NotFound => Try::Missing,
                    Why::Denied => Try::PassedOver(error.why.to_string()),
                    Why::NotRegular => Try::Fatal(error.to_string()),
                    _ => Try::EndsList(error.why.to_string()),
                };
            }
        };
        let wanted = &layout.wanted;
        match object {
            Ok(object) if object.dynamic.class != wanted.class => {
                Try::PassedOver(format!("wrong ELF class: it is a {}-bit object", object.dynamic.class))
            }
            Ok(object) if object.dynamic.machine != wanted.machine => {
                Try::PassedOver(format!("for {}", object.dynamic.machine))
            }
            Ok(object) if object.program => Try::Fatal(format!("{path}: it is a program, not a library")),
            Ok(object) => Try::Taken(stat, object),
            // A broken object of another machine is passed over all the same.
            Err(ElfError::Broken(why)) => match self.host.open(path).map(|file| elf::read(&file, Some(wanted))) {
                Ok(Err(ElfError::Foreign(why))) => Try::PassedOver(why),
                Ok(Err(ElfError::Broken(why))) => Try::Fatal(format!("{path}: {why}")),
                _ => Try::Fatal(format!("{path}: {why}")),
            },
            Err(error) => Try::Fatal(format!("{path}: {error}")),
        }
    }

    /// The process before the caller's first `dlopen`: preloads, the program, everything in the chain and what it needs.
    fn process(&self, chain: &[&str]) -> Arc<Process> {
        let key: Vec<String> = chain.iter().map(|path| (*path).to_owned()).collect();
        if let Some(known) = hold(&self.processes).get(&key) {
            return Arc::clone(known);
        }
        let process = Arc::new(self.start(chain));
        hold(&self.processes).insert(key, Arc::clone(&process));
        process
    }

    fn start(&self, chain: &[&str]) -> Process {
        let objects: Vec<(&str, Stat, Arc<Object>)> = chain
            .iter()
            .rev()
            .filter_map(|path| match self.object(Path::new(path)) {
                Ok((stat, Ok(object))) => Some((*path, stat, object)),
                _ => None,
            })
            .collect();
        let machine =
            objects.first().map_or(self.own().machine.as_str(), |(_, _, object)| object.dynamic.machine.as_str());
        let mut layout = self.layout(machine);
        if let Some((_, _, object)) = objects.first() {
            layout.wanted.class = object.dynamic.class;
        }
        let foreign = objects.first().and_then(|(path, ..)| self.foreign(path));
        let foreign = foreign.map(|loader| Arc::new(self.searched_by(&loader, &mut layout)));
        let layout = Arc::new(layout);
        let mut process = Process {
            library_path: Arc::from([]),
            default_path: layout.default_folders.iter().flat_map(|folder| self.folder(folder, folder)).collect(),
            layout,
            foreign,
            loaded: Vec::new(),
            names: HashMap::new(),
            files: HashMap::new(),
            program: None,
        };
        // The program: its folder is the one behind all links, as the kernel tells the loader.
        let mut rest = objects.into_iter().peekable();
        let has_program = rest.peek().is_some_and(|(_, _, object)| object.program || object.interpreter.is_some());
        let mut origin = None;
        let mut program = None;
        if has_program && let Some((path, stat, object)) = rest.next() {
            let path = self.host.real_text(path);
            origin = folder_of(&path);
            program = self.add(&mut process, None, path, (stat, object), None, false);
            process.program = program;
        }
        process.library_path = self
            .library_path_entries()
            .flat_map(|entry| {
                let expanded = expand(entry, origin.as_deref(), &process.layout);
                expanded.map(|expanded| self.folder(entry, &expanded)).unwrap_or_default()
            })
            .collect();
        let mut roots: Vec<usize> = program.into_iter().collect();
        for (name, _) in self.preloads() {
            // One that cannot be loaded is ignored, with a message.
            if let Ok((index, _)) = self.map(&mut process, &name, program, true, &mut Vec::new()) {
                roots.push(index);
            }
        }
        self.load_needed(&mut process, &roots);
        let mut opener = program;
        for (path, stat, object) in rest {
            let path = self.host.absolute(path).to_string_lossy().into_owned();
            let before = process.files.get(&stat.id).copied();
            let index = before.or_else(|| self.add(&mut process, None, path.clone(), (stat, object), opener, false));
            if let Some(index) = index {
                process.names.entry(path).or_insert(index);
                self.load_needed(&mut process, &[index]);
                opener = Some(index);
            }
        }
        process
    }

    /// One `dlopen`: what it gives, and what stays loaded after it.
    fn dlopen(&self, process: &mut Process, name: &str, caller: Option<usize>, symbols: bool) -> Resolution {
        let mut resolution = Resolution { name: name.to_owned(), ..Resolution::default() };
        let before = process.loaded.len();
        let (index, via) = match self.map(process, name, caller, false, &mut resolution.rejected) {
            Ok(found) => found,
            Err(why) => {
                resolution.file = match why {
                    Some(why) => Probed::failed(why),
                    None => self.uncached(process, name).unwrap_or(Probed::Absent),
                };
                // Where nothing at all was met, there is nothing else of that name.
                if !resolution.file.is_absent() || !resolution.rejected.is_empty() {
                    resolution.others = self.others(process, name, caller, None);
                }
                return resolution;
            }
        };
        self.load_needed(process, &[index]);
        let (brings, missing) = process.consequences(index);
        let unresolved = if missing.is_empty() { self.unresolved(process, index, symbols) } else { Vec::new() };
        let chosen = &process.loaded[index];
        let real = self.host.real_text(&chosen.path);
        let soname = chosen.object.dynamic.soname.clone();
        let library = Library {
            version: version_of(&real, soname.as_deref()),
            path: chosen.path.clone(),
            via,
            soname,
            needed: chosen.object.dynamic.needed.clone(),
            missing,
            unresolved,
            brings,
            owner: None,
            size: chosen.stat.size,
            real,
        };
        resolution.others = self.others(process, name, caller, Some(&library.real));
        if !library.missing.is_empty() {
            // The call fails: what it loaded is unloaded.
            process.truncate(before);
            let untold: Option<Vec<_>> =
                library.missing.iter().map(|missing| self.uncached(process, &missing.name)).collect();
            if let Some(first) = untold.and_then(|untold| untold.into_iter().next()) {
                resolution.file = first;
                return resolution;
            }
        }
        if !library.unresolved.is_empty() {
            process.truncate(before);
        }
        let evidence = library.evidence(name);
        resolution.file = Probed::found(library, evidence);
        resolution
    }

    /// Symbols that a library, or one that it brings along, asks of another in vain. NVIDIA's libraries alone: those
    /// of the C library are there or nothing runs at all.
    fn unresolved(&self, process: &Process, root: usize, all: bool) -> Vec<Unresolved> {
        let mut unresolved = Vec::new();
        for index in process.closure(root) {
            let asking = &process.loaded[index];
            let own = asking.path.rsplit('/').next().is_some_and(is_nvidia);
            if !(all || own) || !asking.object.dynamic.needed.iter().any(|name| is_nvidia(name)) {
                continue;
            }
            let Some(symbols) = self.symbols(asking) else { continue };
            for (of, names) in symbols.asked.iter().filter(|(of, _)| is_nvidia(of)) {
                let Some(asked) = process.names.get(of).and_then(|&index| process.loaded.get(index)) else { continue };
                let Some(offering) = self.symbols(asked) else { continue };
                let lacking = names.iter().filter(|name| !offering.offers(name));
                for symbol in lacking.take(MOST_UNRESOLVED.saturating_sub(unresolved.len())) {
                    let folder = folder_of(&asked.path);
                    let entry = process.library_path.iter().find(|entry| Some(&entry.path) == folder.as_ref());
                    unresolved.push(Unresolved {
                        symbol: symbol.clone(),
                        by: asking.path.clone(),
                        of: of.clone(),
                        file: asked.path.clone(),
                        entry: entry.map(|folder| folder.entry.clone()),
                        owner: None,
                    });
                }
            }
        }
        unresolved
    }

    /// The symbols of a loaded library, read once.
    fn symbols(&self, library: &Loaded) -> Option<Arc<Symbols>> {
        if let Some(known) = hold(&self.symbols).get(&library.stat.id) {
            return known.clone();
        }
        let read = self.host.open(&library.path).ok().and_then(|file| symbols::read(&file)).map(Arc::new);
        hold(&self.symbols).insert(library.stat.id, read.clone());
        read
    }

    /// Why a name that was not found may be there all the same: the cache that is not here would list it.
    fn uncached<T>(&self, process: &Process, name: &str) -> Option<Probed<T>> {
        if name.is_empty() || name.contains('/') {
            return None;
        }
        if let Some(foreign) = &process.foreign {
            return foreign.untold.clone().map(|why| Probed::Skipped { why });
        }
        let paths = self.own().uncached.iter().map(|folder| join(folder, name));
        let path = paths.into_iter().find(|path| matches!(self.attempt(path, &process.layout), Try::Taken(..)))?;
        Some(Probed::Skipped { why: format!("the tree has no {}, which may list {path}", ld_cache::PATH) })
    }

    /// Finds a name and adds its file to the process; `Err(None)` where there is none.
    fn map(
        &self,
        process: &mut Process,
        name: &str,
        loader: Option<usize>,
        needed: bool,
        rejected: &mut Vec<Rejected>,
    ) -> Result<(usize, Via), Option<String>> {
        if name.is_empty() {
            return Err(None);
        }
        if let Some(&index) = process.names.get(name) {
            return Ok((index, Via::AlreadyLoaded { by: process.brought_by(index) }));
        }
        let (path, stat, object, via) = match self.search(process, name, loader, rejected) {
            Outcome::Found { path, stat, object, via } => (path, stat, object, via),
            Outcome::Absent => return Err(None),
            Outcome::Failed(why) => return Err(Some(why)),
        };
        // The same file under another path is the same library.
        if let Some(&index) = process.files.get(&stat.id) {
            process.names.entry(name.to_owned()).or_insert(index);
            return Ok((index, Via::AlreadyLoaded { by: process.brought_by(index) }));
        }
        let index = self
            .add(process, Some(name), path, (stat, object), loader, needed)
            .ok_or_else(|| Some(format!("more than {MOST_LOADED} libraries")))?;
        Ok((index, via))
    }

    fn add(
        &self,
        process: &mut Process,
        name: Option<&str>,
        path: String,
        (stat, object): (Stat, Arc<Object>),
        by: Option<usize>,
        needed: bool,
    ) -> Option<usize> {
        let index = process.loaded.len();
        if index >= MOST_LOADED {
            return None;
        }
        let origin = folder_of(&path);
        let list = |entries: &[String]| -> Arc<[Folder]> {
            entries
                .iter()
                .flat_map(|entry| {
                    let expanded = expand(entry, origin.as_deref(), &process.layout);
                    expanded.map(|expanded| self.folder(entry, &expanded)).unwrap_or_default()
                })
                .collect()
        };
        let dynamic = &object.dynamic;
        // An object with a RUNPATH has no RPATH, as far as the loader is concerned.
        let rpath = if object.has_runpath { Arc::from([]) } else { list(&dynamic.rpath) };
        let runpath = list(&dynamic.runpath);
        for known in [name, Some(path.as_str()), dynamic.soname.as_deref()].into_iter().flatten() {
            process.names.entry(known.to_owned()).or_insert(index);
        }
        process.files.insert(stat.id, index);
        process.loaded.push(Loaded {
            path,
            stat,
            object,
            by,
            heir_of: by.filter(|_| needed),
            rpath,
            runpath,
            needs: None,
        });
        Some(index)
    }

    /// Loads what the roots need, breadth first.
    fn load_needed(&self, process: &mut Process, roots: &[usize]) {
        let mut queue = roots.to_vec();
        let mut seen: HashSet<usize> = roots.iter().copied().collect();
        let mut at = 0;
        while let Some(&index) = queue.get(at) {
            at += 1;
            if process.loaded[index].needs.is_none() {
                let object = Arc::clone(&process.loaded[index].object);
                let origin = folder_of(&process.loaded[index].path);
                let mut needs = Vec::new();
                for name in &object.dynamic.needed {
                    let expanded = expand(name, origin.as_deref(), &process.layout).unwrap_or_default();
                    let library = self.map(process, &expanded, Some(index), true, &mut Vec::new()).ok();
                    needs.push(Need { name: name.clone(), library: library.map(|(index, _)| index) });
                }
                process.loaded[index].needs = Some(needs);
            }
            let needs = process.loaded[index].needs.iter().flatten();
            queue.extend(needs.filter_map(|need| need.library).filter(|library| seen.insert(*library)));
        }
    }

    /// glibc's search for one name.
    fn search(&self, process: &Process, name: &str, loader: Option<usize>, rejected: &mut Vec<Rejected>) -> Outcome {
        if name.contains('/') {
            let origin = loader.and_then(|index| folder_of(&process.loaded[index].path));
            let Some(expanded) = expand(name, origin.as_deref(), &process.layout) else { return Outcome::Absent };
            let path = self.host.absolute(expanded).to_string_lossy().into_owned();
            return match self.attempt(&path, &process.layout) {
                Try::Taken(stat, object) => Outcome::Found { path, stat, object, via: Via::Path },
                Try::Missing => Outcome::Absent,
                Try::PassedOver(why) | Try::EndsList(why) => Outcome::Failed(format!("{path}: {why}")),
                Try::Fatal(why) => Outcome::Failed(why),
            };
        }
        for list in self.lists(process, name, loader) {
            for Place { path, via, variant } in list {
                match self.attempt(&path, &process.layout) {
                    Try::Taken(stat, object) => return Outcome::Found { path, stat, object, via },
                    Try::Missing => {}
                    Try::PassedOver(why) => rejected.push(Rejected { path, why }),
                    Try::EndsList(why) => {
                        rejected.push(Rejected { path, why });
                        // The loader asks only after the folder itself what went wrong.
                        if !variant {
                            break;
                        }
                    }
                    Try::Fatal(why) => return Outcome::Failed(why),
                }
            }
        }
        Outcome::Absent
    }

    /// The lists of paths that the loader tries for a name, in its order.
    fn lists<'a>(
        &'a self,
        process: &'a Process,
        name: &'a str,
        loader: Option<usize>,
    ) -> impl Iterator<Item = Vec<Place>> + 'a {
        let paths = move |folders: &[Folder], via: &dyn Fn(&Folder) -> Via| -> Vec<Place> {
            let place =
                |folder: &Folder| Place { path: join(&folder.path, name), via: via(folder), variant: folder.variant };
            folders.iter().map(place).collect()
        };
        let asking = loader.map(|index| &process.loaded[index]);
        // RPATH: the asking object's and those of what loaded it, unless it has a RUNPATH; then the program's.
        let mut inherited = Vec::new();
        if asking.is_none_or(|asking| !asking.object.has_runpath) {
            let mut at = loader;
            while let Some(index) = at {
                if inherited.contains(&index) {
                    break;
                }
                inherited.push(index);
                at = process.loaded[index].heir_of;
            }
            if let Some(program) = process.program.filter(|program| !inherited.contains(program)) {
                inherited.push(program);
            }
        }
        let rpaths = inherited.into_iter().map(move |index| {
            let object = &process.loaded[index];
            paths(&object.rpath, &|folder| Via::Rpath { object: object.path.clone(), entry: folder.entry.clone() })
        });
        let no_defaults = asking
            .or_else(|| process.program.map(|program| &process.loaded[program]))
            .is_some_and(|object| object.object.dynamic.no_default_folders);
        let rest = (0..4).map(move |step| match step {
            0 => paths(&process.library_path, &|folder| Via::LibraryPath { entry: folder.entry.clone() }),
            1 => asking.map_or_else(Vec::new, |asking| {
                paths(&asking.runpath, &|folder| Via::Runpath {
                    object: asking.path.clone(),
                    entry: folder.entry.clone(),
                })
            }),
            2 => self.cached(process, name, no_defaults).take(1).map(|path| cache_place(process, path)).collect(),
            _ if no_defaults => Vec::new(),
            _ => paths(&process.default_path, &|folder| Via::DefaultFolder { folder: folder.entry.clone() }),
        });
        rpaths.chain(rest)
    }

    /// The cache's paths for a name.
    fn cached<'a>(
        &'a self,
        process: &'a Process,
        name: &str,
        no_defaults: bool,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'h> {
        let layout = &process.layout;
        let Own { entries, levels, legacy, .. } = self.own();
        let capable = Capable { levels, bits: legacy.bits, platform: legacy.platform };
        let entries = process.foreign.as_ref().map_or(entries, |foreign| &foreign.entries);
        entries.lookup(name, &layout.wanted.machine, &capable).into_iter().map(|entry| entry.path.as_str()).filter(
            move |path| {
                !no_defaults
                    || !layout
                        .default_folders
                        .iter()
                        .any(|folder| path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')))
            },
        )
    }

    /// Files of that name elsewhere in the search, each once.
    fn others(&self, process: &Process, name: &str, loader: Option<usize>, winner: Option<&str>) -> Vec<Candidate> {
        if name.is_empty() || name.contains('/') {
            return Vec::new();
        }
        let mut seen: HashSet<String> = winner.map(str::to_owned).into_iter().collect();
        let mut others = Vec::new();
        let cached = self.cached(process, name, false).skip(1).map(|path| cache_place(process, path)).collect();
        for Place { path, via, .. } in self.lists(process, name, loader).chain([cached]).flatten() {
            if let Try::Taken(_, object) = self.attempt(&path, &process.layout) {
                let real = self.host.real_text(&path);
                let version = version_of(&real, object.dynamic.soname.as_deref());
                if seen.insert(real) {
                    others.push(Candidate { path, via: Some(via), version });
                }
            }
        }
        others
    }

    /// A folder with those of its subfolders for better processors that the loader tries; none where it does not exist.
    fn folder(&self, entry: &str, path: &str) -> Vec<Folder> {
        let path = self.host.absolute(path);
        let known = hold(&self.folders).get(path.as_os_str()).cloned();
        let known = known.unwrap_or_else(|| {
            let text = path.to_string_lossy();
            let mut found = Vec::new();
            if self.host.is_dir(&path) {
                let hwcaps = join(&text, "glibc-hwcaps");
                if !self.own().levels.is_empty() && self.host.is_dir(&hwcaps) {
                    let levels = self.own().levels.iter().map(|level| join(&hwcaps, level));
                    found.extend(levels.filter(|folder| self.host.is_dir(folder)));
                }
                let legacy = self.own().legacy.folders.iter().map(|folder| join(&text, folder));
                found.extend(legacy.filter(|folder| self.host.is_dir(folder)));
                found.push(text.into_owned());
            }
            let found: Arc<[String]> = found.into();
            hold(&self.folders).insert(path.into(), Arc::clone(&found));
            found
        });
        let last = known.len().saturating_sub(1);
        let folders = known.iter().enumerate();
        folders.map(|(at, path)| Folder { entry: entry.to_owned(), path: path.clone(), variant: at < last }).collect()
    }

    /// The entries of `LD_LIBRARY_PATH` as written; set and empty counts as unset.
    fn library_path_entries(&self) -> impl Iterator<Item = &'h str> + use<'h> {
        let host = self.host;
        host.env_nonempty("LD_LIBRARY_PATH").into_iter().flat_map(|text| text.split([':', ';'])).take(MOST_ENTRIES)
    }

    /// What is loaded before everything else, and where that is written.
    fn preloads(&self) -> Vec<(String, Evidence)> {
        let mut preloads: Vec<(String, Evidence)> = self
            .host
            .env_nonempty("LD_PRELOAD")
            .into_iter()
            .flat_map(|text| text.split([' ', ':']))
            .filter(|name| !name.is_empty())
            .map(|name| (name.to_owned(), Evidence::env("LD_PRELOAD", name)))
            .take(MOST_ENTRIES)
            .collect();
        if let Ok(text) = self.host.read_lossy(PRELOAD_FILE) {
            for (number, line) in (1u32..).zip(text.lines()) {
                let line = line.split('#').next().unwrap_or_default();
                let names = line.split([' ', '\t', ':']).filter(|name| !name.is_empty());
                preloads.extend(
                    names.map(|name| (name.to_owned(), Evidence::file(PRELOAD_FILE, name).line(number))).take(64),
                );
                if preloads.len() > MOST_ENTRIES {
                    break;
                }
            }
        }
        preloads
    }

    /// The loader that a program names, where it is another one than the system's.
    ///
    /// A program may name the system's by a link of its own, and the system's name may lead into a store.
    pub fn foreign(&self, program: &str) -> Option<String> {
        let (_, object) = self.object(Path::new(program)).ok()?;
        let named = object.ok()?.interpreter.clone()?;
        let real = self.host.real_text(&named);
        let of_system = |path: &str| path.starts_with("/lib") || path.starts_with("/usr/lib");
        let is_loader = real.rsplit('/').next().is_some_and(|name| name.starts_with("ld"));
        let other = in_store(&real) || !(of_system(&real) || of_system(&named));
        // One that says that it reads the system's cache was only moved, such as those of snaps.
        let moved = || self.cache_of(&real).is_some_and(|cache| cache == ld_cache::PATH);
        (other && is_loader && self.host.is_file(&real) && !moved()).then_some(real)
    }

    /// The cache that a loader reads: its path is a constant in the file.
    fn cache_of(&self, loader: &str) -> Option<String> {
        const END: &[u8] = b"/etc/ld.so.cache\0";
        let bytes = self.host.read_head(loader, LOADER_LIMIT).ok()?;
        let at = bytes.windows(END.len()).position(|window| window == END)?;
        let start = bytes.get(..at)?.iter().rposition(|&byte| byte == 0).map_or(0, |zero| zero + 1);
        String::from_utf8(bytes.get(start..at + END.len() - 1)?.to_vec()).ok()
    }

    /// What another loader than the system's searches, in place of the system's cache and default folders.
    ///
    /// nixpkgs and Guix have glibc look for its cache under its own prefix, as any glibc does that is built for one.
    fn searched_by(&self, loader: &str, layout: &mut Layout) -> Foreign {
        let folder = folder_of(loader).unwrap_or_default();
        let (prefix, lib) = folder.rsplit_once("/lib").unwrap_or((&folder, ""));
        let prefix = prefix.trim_end_matches("/usr");
        layout.default_folders = vec![folder.clone(), format!("{prefix}/lib{lib}"), format!("{prefix}/usr/lib{lib}")];
        layout.default_folders.dedup();
        let cache = self.cache_of(loader).unwrap_or_else(|| format!("{prefix}/etc/ld.so.cache"));
        let read = self.host.read(&cache, ld_cache::LIMIT).ok().and_then(|bytes| Cache::parse(&bytes).ok());
        let untold = (read.is_none() && !in_store(loader))
            .then(|| format!("the program starts with the loader {loader}, and nothing tells what that one searches"));
        Foreign { cache, entries: read.unwrap_or_default(), untold }
    }

    /// How glibc was built for a machine: default folders and `$LIB`.
    fn layout(&self, machine: &str) -> Layout {
        let class = if matches!(machine, "x86" | "arm") { 32 } else { 64 };
        let triplet = match machine {
            "x86" => "i386-linux-gnu".to_owned(),
            "arm" => "arm-linux-gnueabihf".to_owned(),
            "powerpc64" => "powerpc64le-linux-gnu".to_owned(),
            other => format!("{other}-linux-gnu"),
        };
        let wanted = Wanted { class, machine: machine.to_owned() };
        if self.is_multiarch(&triplet) {
            let default_folders = vec![
                format!("/lib/{triplet}"),
                format!("/usr/lib/{triplet}"),
                "/lib".to_owned(),
                "/usr/lib".to_owned(),
            ];
            return Layout { wanted, lib: format!("lib/{triplet}"), default_folders };
        }
        let lib = if class == 64 { "lib64" } else { "lib" };
        Layout { wanted, lib: lib.to_owned(), default_folders: vec![format!("/{lib}"), format!("/usr/{lib}")] }
    }

    /// Whether this is a Debian or Ubuntu, whose folders carry the machine's name.
    fn is_multiarch(&self, triplet: &str) -> bool {
        let has = |folder: &str| self.host.exists(format!("{folder}/libc.so.6"));
        if has(&format!("/lib/{triplet}")) || has(&format!("/usr/lib/{triplet}")) {
            return true;
        }
        if has("/lib64") || has("/usr/lib64") {
            return false;
        }
        if self.host.exists("/etc/debian_version") {
            return true;
        }
        let text = self.host.read_lossy("/etc/os-release").or_else(|_| self.host.read_lossy("/usr/lib/os-release"));
        text.is_ok_and(|text| {
            text.lines()
                .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
                .flat_map(|value| value.trim().trim_matches(['"', '\'']).split_whitespace())
                .any(|id| matches!(id, "debian" | "ubuntu"))
        })
    }
}

impl Process {
    /// The library that was loaded from that path.
    fn by_path(&self, host: &Host, path: &str) -> Option<usize> {
        let path = host.absolute(path);
        self.names.get(path.to_string_lossy().as_ref()).copied().or_else(|| {
            let stat = host.stat(path).ok()?;
            self.files.get(&stat.id).copied()
        })
    }

    /// The path of what loaded a library.
    fn brought_by(&self, index: usize) -> String {
        self.loaded[index]
            .by
            .map_or_else(|| "the program's start".to_owned(), |loader| self.loaded[loader].path.clone())
    }

    /// A library and all that it needs, itself first.
    fn closure(&self, root: usize) -> Vec<usize> {
        let mut queue = vec![root];
        let mut at = 0;
        while let Some(&index) = queue.get(at) {
            at += 1;
            for found in self.loaded[index].needs.iter().flatten().filter_map(|need| need.library) {
                if !queue.contains(&found) {
                    queue.push(found);
                }
            }
        }
        queue
    }

    /// What a library brings along, and what is missing for it.
    fn consequences(&self, root: usize) -> (Vec<Brought>, Vec<MissingNeeded>) {
        let (mut brings, mut missing) = (Vec::new(), Vec::new());
        let mut queue = vec![root];
        let mut seen = HashSet::from([root]);
        let mut at = 0;
        while let Some(&index) = queue.get(at) {
            at += 1;
            let library = &self.loaded[index];
            for need in library.needs.iter().flatten() {
                let Some(found) = need.library else {
                    if !is_c_library(&need.name) {
                        missing.push(MissingNeeded { name: need.name.clone(), by: library.path.clone() });
                    }
                    continue;
                };
                if seen.insert(found) {
                    queue.push(found);
                    if is_nvidia(&need.name) {
                        let path = self.loaded[found].path.clone();
                        brings.push(Brought { name: need.name.clone(), path });
                    }
                }
            }
        }
        (brings, missing)
    }

    /// Forgets all libraries from `length` on.
    fn truncate(&mut self, length: usize) {
        self.loaded.truncate(length);
        self.names.retain(|_, index| *index < length);
        self.files.retain(|_, index| *index < length);
    }
}

/// A panic in another thread leaves a memory that is merely incomplete.
fn hold<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cache_place(process: &Process, path: &str) -> Place {
    let file = process.foreign.as_ref().map_or(ld_cache::PATH, |foreign| &foreign.cache).to_owned();
    Place { path: path.to_owned(), via: Via::Cache { file }, variant: false }
}

fn join(folder: &str, name: &str) -> String {
    if folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}

/// The folder of a path, as written: the loader resolves no links for `$ORIGIN`.
fn folder_of(path: &str) -> Option<String> {
    let (folder, _) = path.rsplit_once('/')?;
    Some(if folder.is_empty() { "/" } else { folder }.to_owned())
}

fn is_nvidia(name: &str) -> bool {
    name.starts_with("libcu") || name.starts_with("libnv")
}

fn is_c_library(name: &str) -> bool {
    C_LIBRARY.contains(&name) || name.starts_with("ld-linux") || name.starts_with("ld64.so")
}

/// Expands `$ORIGIN`, `$LIB` and `$PLATFORM`, also in braces; `None` where `$ORIGIN` is not known.
fn expand(text: &str, origin: Option<&str>, layout: &Layout) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, behind) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, behind)) => (name, behind),
            None => {
                after.split_at(after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len()))
            }
        };
        match name {
            "ORIGIN" => expanded.push_str(origin?),
            "LIB" => expanded.push_str(&layout.lib),
            "PLATFORM" => expanded.push_str(&layout.wanted.machine),
            // Anything else stays as it is written.
            _ => {
                expanded.push('$');
                rest = after;
                continue;
            }
        }
        rest = behind;
    }
    expanded.push_str(rest);
    Some(expanded)
}

/// The version in the name of a file, where it says more than the name that programs ask for.
fn version_of(real: &str, soname: Option<&str>) -> Option<Reading> {
    let name = real.rsplit('/').next()?;
    let version = Dotted::from_file_name(name)?;
    let asked = soname.and_then(Dotted::from_file_name).map_or(0, |version| version.len());
    // A single number says which interface it has, not which version it is.
    (version.len() > asked.max(1)).then(|| Reading { value: version, evidence: Evidence::file(real, name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::elf::elf_writer::Elf;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;

    /// A tree of files, and its environment.
    struct Tree {
        folder: tempfile::TempDir,
        env: BTreeMap<String, String>,
    }

    impl Tree {
        fn new() -> Self {
            let tree = Self { folder: tempfile::tempdir().unwrap(), env: BTreeMap::new() };
            tree.put("/etc/debian_version", b"12.0\n");
            let arch = if cfg!(target_arch = "aarch64") {
                "/lib/ld-linux-aarch64.so.1"
            } else {
                "/lib64/ld-linux-x86-64.so.2"
            };
            tree.put(arch, &Elf::default().bytes());
            tree
        }

        fn env(mut self, name: &str, value: &str) -> Self {
            self.env.insert(name.to_owned(), value.to_owned());
            self
        }

        fn put(&self, path: &str, bytes: &[u8]) {
            let path = self.folder.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        fn lib(&self, path: &str, make: impl FnOnce(&mut Elf)) {
            let mut elf = Elf::default();
            make(&mut elf);
            self.put(path, &elf.bytes());
        }

        fn host(&self) -> Host {
            Host::rooted(self.folder.path(), self.env.clone()).unwrap()
        }
    }

    fn path(resolution: &Resolution) -> Option<&str> {
        resolution.file.value().map(|library| library.path.as_str())
    }

    #[test]
    fn a_runpath_comes_after_the_library_path_and_before_the_default_folders() {
        let tree = Tree::new().env("LD_LIBRARY_PATH", "/first:/none");
        tree.lib("/app/libcaller.so", |elf| elf.runpath = Some("$ORIGIN/../second".to_owned()));
        for folder in ["/first", "/second", "/usr/lib"] {
            tree.lib(&format!("{folder}/liba.so"), |_| {});
        }
        tree.lib("/second/libb.so", |_| {});
        tree.lib("/usr/lib/libb.so", |_| {});
        let host = tree.host();
        let search = Search::new(&host);
        let found = search.resolve("liba.so", &["/app/libcaller.so"]);
        assert_eq!(path(&found), Some("/first/liba.so"));
        let others: Vec<&str> = found.others.iter().map(|other| other.path.as_str()).collect();
        assert_eq!(others, ["/app/../second/liba.so", "/usr/lib/liba.so"]);
        let found = search.resolve("libb.so", &["/app/libcaller.so"]);
        assert_eq!(path(&found), Some("/app/../second/libb.so"));
        assert_eq!(found.file.value().unwrap().real, "/second/libb.so");
        // RUNPATH belongs to the asking object alone.
        assert_eq!(path(&search.resolve("libb.so", &[])), Some("/usr/lib/libb.so"));
    }

    /// The lists that `LD_DEBUG=libs` of Debian's 2.31 prints, equal entries once.
    #[cfg(target_arch = "x86_64")]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test changes its own tree")]
    fn the_version_of_the_c_library_decides_which_subfolders_are_tried() {
        const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
        let says = |text: &str| [Elf::default().bytes().as_slice(), text.as_bytes(), b"\0"].concat();
        for (version, want) in [
            ("", "/first/glibc-hwcaps/x86-64-v2/liba.so"),
            ("ld.so (GNU libc) stable release version 2.39.", "/first/glibc-hwcaps/x86-64-v2/liba.so"),
            ("ld.so (Debian GLIBC 2.36-9) stable release version 2.36.", "/first/glibc-hwcaps/x86-64-v2/liba.so"),
            ("2.31", "/first/tls/liba.so"),
        ] {
            let tree = Tree::new().env("LD_LIBRARY_PATH", "/first");
            tree.put("/proc/cpuinfo", b"flags\t: cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3\n");
            for folder in ["/first", "/first/tls", "/first/glibc-hwcaps/x86-64-v2"] {
                tree.lib(&format!("{folder}/liba.so"), |_| {});
            }
            tree.lib("/first/x86_64/libb.so", |_| {});
            tree.lib("/first/libb.so", |_| {});
            if version == "2.31" {
                tree.put("/lib/x86_64-linux-gnu/ld-2.31.so", &says(""));
                fs::remove_file(tree.folder.path().join("lib64/ld-linux-x86-64.so.2")).unwrap();
                let link = tree.folder.path().join("lib64/ld-linux-x86-64.so.2");
                std::os::unix::fs::symlink("/lib/x86_64-linux-gnu/ld-2.31.so", link).unwrap();
            } else {
                tree.put(LOADER, &says(version));
            }
            let host = tree.host();
            let search = Search::new(&host);
            assert_eq!(path(&search.resolve("liba.so", &[])), Some(want), "{version}");
            let legacy = version.contains("2.3") && !version.contains("2.39");
            let want = if legacy { "/first/x86_64/libb.so" } else { "/first/libb.so" };
            assert_eq!(path(&search.resolve("libb.so", &[])), Some(want), "{version}");
            let known = search.facts().glibc.value().map(ToString::to_string);
            assert!(known.is_none_or(|known| version.contains(&known)), "{version}");
        }
    }

    #[test]
    fn what_an_earlier_library_brought_is_already_loaded() {
        let tree = Tree::new().env("LD_LIBRARY_PATH", "/cuda");
        tree.lib("/cuda/libcublas.so.12", |elf| {
            elf.needed = vec!["libcublasLt.so.12".to_owned()];
            elf.runpath = Some("$ORIGIN/lt".to_owned());
        });
        tree.lib("/cuda/lt/libcublasLt.so.12", |_| {});
        let host = tree.host();
        let all = Search::new(&host).resolve_all(&["libcublas.so.12", "libcublasLt.so.12"], &[]);
        let first = all[0].file.value().unwrap();
        assert_eq!(first.brings[0].path, "/cuda/lt/libcublasLt.so.12");
        assert_eq!(first.missing, []);
        let second = all[1].file.value().unwrap();
        assert_eq!(second.via, Via::AlreadyLoaded { by: "/cuda/libcublas.so.12".to_owned() });
        let says = "/cuda/lt/libcublasLt.so.12 (already loaded through /cuda/libcublas.so.12)";
        assert_eq!(second.evidence("libcublasLt.so.12").says, says);
        assert!(Search::new(&host).resolve("libcublasLt.so.12", &[]).file.is_absent());
    }

    #[test]
    fn what_is_needed_and_missing_is_named_and_nothing_stays_loaded() {
        let tree = Tree::new().env("LD_LIBRARY_PATH", "/cuda");
        tree.lib("/cuda/liba.so", |elf| elf.needed = vec!["libb.so".to_owned(), "libc.so.6".to_owned()]);
        tree.lib("/cuda/libb.so", |elf| elf.needed = vec!["libgone.so.1".to_owned()]);
        let host = tree.host();
        let all = Search::new(&host).resolve_all(&["liba.so", "libb.so"], &[]);
        let missing = &all[0].file.value().unwrap().missing;
        assert_eq!(*missing, [MissingNeeded { name: "libgone.so.1".to_owned(), by: "/cuda/libb.so".to_owned() }]);
        assert_eq!(all[1].file.value().unwrap().via, Via::LibraryPath { entry: "/cuda".to_owned() });
    }

    #[test]
    fn a_foreign_library_is_passed_over_and_a_broken_one_ends_the_search() {
        let tree = Tree::new().env("LD_LIBRARY_PATH", "/a:/b");
        tree.lib("/a/liba.so", |elf| elf.machine = 8);
        tree.lib("/a/libb.so", |elf| (elf.class, elf.machine) = (32, 3));
        tree.put("/a/libc.so", b"");
        tree.put("/a/libd.so", &[b'x'; 100]);
        for name in ["liba.so", "libb.so", "libc.so", "libd.so"] {
            tree.lib(&format!("/b/{name}"), |_| {});
        }
        let host = tree.host();
        let all = Search::new(&host).resolve_all(&["liba.so", "libb.so", "libc.so", "libd.so"], &[]);
        assert_eq!(path(&all[0]), Some("/b/liba.so"));
        assert_eq!(all[0].rejected, [Rejected { path: "/a/liba.so".to_owned(), why: "for other-8".to_owned() }]);
        assert_eq!(path(&all[1]), Some("/b/libb.so"));
        assert_eq!(all[2].file, Probed::failed("/a/libc.so: file too short"));
        assert_eq!(all[2].others[0].path, "/b/libc.so");
        assert_eq!(all[3].file, Probed::failed("/a/libd.so: invalid ELF header"));
    }

    #[test]
    fn the_program_gives_its_rpath_to_callers_without_runpath() {
        let tree = Tree::new();
        tree.lib("/py/bin/python", |elf| {
            elf.rpath = Some("$ORIGIN/../lib".to_owned());
            elf.interpreter = Some("/lib64/ld-linux-x86-64.so.2".to_owned());
        });
        std::os::unix::fs::symlink("py", tree.folder.path().join("venv")).unwrap();
        tree.lib("/py/lib/liba.so", |_| {});
        tree.lib("/app/plain.so", |_| {});
        tree.lib("/app/own.so", |elf| elf.runpath = Some("/none".to_owned()));
        let host = tree.host();
        let search = Search::new(&host);
        let found = search.resolve("liba.so", &["/app/plain.so", "/venv/bin/python"]);
        assert_eq!(path(&found), Some("/py/bin/../lib/liba.so"));
        assert!(search.resolve("liba.so", &["/app/own.so", "/venv/bin/python"]).file.is_absent());
    }

    #[test]
    fn another_loader_searches_its_own_places() {
        let tree = Tree::new();
        let says = |text: &[u8]| [Elf::default().bytes().as_slice(), b"\0", text, b"\0"].concat();
        tree.lib("/usr/lib/liba.so", |_| {});
        for (name, loader, cache) in [
            ("nix", "/nix/store/abc-glibc/lib/ld-linux.so.2", "/nix/store/abc-glibc/etc/ld.so.cache"),
            ("snap", "/snap/core/1/lib64/ld-linux.so.2", "/etc/ld.so.cache"),
            ("prefix", "/opt/prefix/lib64/ld-linux.so.2", "/opt/prefix/etc/ld.so.cache"),
        ] {
            tree.put(loader, &says(cache.as_bytes()));
            tree.lib(&format!("/{name}/python"), |elf| elf.interpreter = Some(loader.to_owned()));
        }
        tree.lib("/nix/store/abc-glibc/lib/libb.so", |_| {});
        let host = tree.host();
        let search = Search::new(&host);
        assert_eq!(path(&search.resolve("liba.so", &["/snap/python"])), Some("/usr/lib/liba.so"));
        assert!(search.resolve("liba.so", &["/nix/python"]).file.is_absent());
        let own = search.resolve("libb.so", &["/nix/python"]);
        assert_eq!(path(&own), Some("/nix/store/abc-glibc/lib/libb.so"));
        assert!(search.resolve("liba.so", &["/prefix/python"]).file.unknown().is_some());
        assert_eq!((search.foreign("/snap/python"), search.foreign("/none")), (None, None));
    }

    #[test]
    fn without_a_cache_what_it_would_list_stays_open() {
        let tree = Tree::new();
        tree.put("/etc/ld.so.conf", b"include ld.so.conf.d/*.conf # all of them\n/opt/plain /opt/typed=libc6\n");
        tree.put("/etc/ld.so.conf.d/a.conf", b"/opt/a\ninclude /etc/ld.so.conf\n");
        tree.put("/etc/ld.so.conf.d/a.txt", b"/opt/unread\n");
        for path in ["/opt/a/liba.so", "/opt/plain/libp.so", "/opt/typed/libt.so", "/usr/lib/wsl/lib/libw.so"] {
            tree.lib(path, |_| {});
        }
        tree.lib("/usr/lib/libdefault.so", |_| {});
        tree.lib("/usr/lib/libneeds.so", |elf| elf.needed = vec!["liba.so".to_owned()]);
        tree.lib("/usr/lib/liblacks.so", |elf| elf.needed = vec!["liba.so".to_owned(), "libno.so".to_owned()]);
        tree.lib("/opt/unread/libu.so", |_| {});
        let host = tree.host();
        let search = Search::new(&host);
        for name in ["liba.so", "libp.so", "libt.so", "libw.so", "libneeds.so"] {
            assert!(matches!(search.resolve(name, &[]).file, Probed::Skipped { .. }), "{name}");
        }
        for name in ["libu.so", "libno.so"] {
            assert!(search.resolve(name, &[]).file.is_absent(), "{name}");
        }
        assert_eq!(path(&search.resolve("libdefault.so", &[])), Some("/usr/lib/libdefault.so"));
        assert_eq!(search.resolve("liblacks.so", &[]).file.value().unwrap().missing.len(), 2);
        // A cache that does not list them denies them.
        tree.put("/etc/ld.so.cache", &ld_cache::tests::new_format(&[], &[]));
        let host = tree.host();
        assert!(Search::new(&host).resolve("liba.so", &[]).file.is_absent());
    }

    #[test]
    fn the_cache_wins_over_default_folders_and_may_be_broken() {
        let tree = Tree::new();
        tree.put("/etc/ld.so.cache", b"nonsense that is no cache");
        tree.lib("/usr/lib/liba.so", |_| {});
        let host = tree.host();
        let search = Search::new(&host);
        assert!(search.facts().cache.unknown().is_some());
        assert_eq!(path(&search.resolve("liba.so", &[])), Some("/usr/lib/liba.so"));

        let arch = if cfg!(target_arch = "aarch64") { 0x0a03 } else { 0x0303 };
        tree.put("/etc/ld.so.cache", &ld_cache::tests::new_format(&[(arch, "liba.so", "/opt/liba.so.1.2.3", 0)], &[]));
        tree.lib("/opt/liba.so.1.2.3", |elf| elf.soname = Some("liba.so.1".to_owned()));
        let host = tree.host();
        let search = Search::new(&host);
        let found = search.resolve("liba.so", &[]);
        let library = found.file.value().unwrap();
        assert_eq!(library.path, "/opt/liba.so.1.2.3");
        assert_eq!(library.version.as_ref().unwrap().value.to_string(), "1.2.3");
        assert_eq!(found.others[0].path, "/usr/lib/liba.so");
    }

    #[test]
    fn preloads_are_loaded_before_all_else() {
        let tree = Tree::new().env("LD_PRELOAD", "/pre/liba.so libnone.so").env("LD_LIBRARY_PATH", "/a");
        tree.lib("/pre/liba.so", |elf| elf.soname = Some("liba.so.1".to_owned()));
        tree.lib("/a/liba.so.1", |_| {});
        tree.put("/etc/ld.so.preload", b"# nothing\nlibx.so\tliby.so # more\n");
        let host = tree.host();
        let search = Search::new(&host);
        assert_eq!(path(&search.resolve("liba.so.1", &[])), Some("/pre/liba.so"));
        assert_eq!(search.facts().preload.len(), 4);
    }

    #[test]
    fn entries_of_the_library_path_may_be_empty_or_hold_variables() {
        let tree = Tree::new().env("LD_LIBRARY_PATH", ":/x/${LIB};$OTHER").env("PWD", "/work");
        tree.lib("/work/liba.so", |_| {});
        let host = tree.host();
        let search = Search::new(&host);
        let found = search.resolve("liba.so", &[]);
        assert_eq!(path(&found), Some("/work/liba.so"));
        let folders = search.facts().library_path;
        assert_eq!(folders[0].path, "/work");
        assert!(folders[0].exists);
        assert!(folders[1].path.starts_with("/x/lib/"), "{folders:?}");
        assert_eq!(folders[2].path, "/work/$OTHER");
        // Set and empty is as good as unset.
        assert!(Search::new(&tree.env("LD_LIBRARY_PATH", "").host()).facts().library_path.is_empty());
    }

    #[test]
    fn a_search_may_be_shared_between_threads() {
        fn shared<T: Sync>() {}
        shared::<Search<'_>>();
    }

    proptest! {
        #[test]
        fn expansion_never_panics(text in "(\\$|\\{|\\}|ORIGIN|LIB|/|é|x){0,12}") {
            let wanted = Wanted { class: 64, machine: "x86_64".to_owned() };
            let layout = Layout { wanted, lib: "lib64".to_owned(), default_folders: Vec::new() };
            if let Some(expanded) = expand(&text, Some("/o"), &layout) {
                let braced = expanded.contains("${ORIGIN}");
                prop_assert!(!braced);
            }
        }
    }
}
