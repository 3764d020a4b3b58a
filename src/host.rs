//! The one seam to the machine: a root folder, one copy of the environment, the working folder, the day.
//!
//! Everything that is read goes through [`Host`]; nothing else may touch `std::fs` or `std::env`
//! (clippy's `disallowed-methods` holds the fence). With a root no link leads out of it and no program
//! is run; without one, programs are run by `exec` alone. Reads are bounded and never block on pipes or
//! devices.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the fence protects")]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::facts::User;
use crate::sort::Sorted as _;

mod exec;
mod keep;

pub use exec::{BEAT, Beside, End, Program, Ran};
pub use keep::{Kept, keep, start_keeper};

/// Text files are read up to this many bytes unless a caller says otherwise.
pub const TEXT_LIMIT: u64 = 4 << 20;
/// Folders are listed up to this many entries.
pub const LIST_LIMIT: usize = 200_000;
/// How many bytes of a folder are read at a time.
const LISTED: usize = 16 << 10;
/// The device numbers of the kernel's ring buffer, by the kernel's Documentation/admin-guide/devices.txt.
const KERNEL_LOG: (u32, u32) = (1, 11);
/// Links followed in one path before it counts as a loop, as in the kernel.
const LINK_LIMIT: u32 = 40;

/// A machine, or a folder that stands for one.
#[derive(Debug)]
pub struct Host {
    root: Option<PathBuf>,
    env: BTreeMap<String, String>,
    cwd: PathBuf,
    user: User,
    today: String,
    folders: Mutex<HashMap<PathBuf, Option<PathBuf>>>,
    /// The names in folders that several parts search, each with a `/` behind it.
    names: Mutex<HashMap<PathBuf, Arc<OnceLock<String>>>>,
    /// Files whose content lies elsewhere; `None` for those that count as not there.
    laid_over: BTreeMap<PathBuf, Option<PathBuf>>,
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct HostError {
    /// The path, inside the root.
    pub path: String,
    /// The kind of failure.
    pub why: Why,
}

/// A kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is not there.
    #[error("not found")]
    NotFound,
    /// It may not be read.
    #[error("permission denied")]
    Denied,
    /// It is a folder, pipe, socket or device where a file was wanted.
    #[error("not a regular file")]
    NotRegular,
    /// It is larger than anything sensible.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// Links lead in a circle.
    #[error("too many levels of links")]
    Loop,
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl HostError {
    fn new(path: &Path, error: &io::Error) -> Self {
        let why = match error.kind() {
            // A component that is a file where a folder was wanted: the path is not there either.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Why::NotFound,
            io::ErrorKind::PermissionDenied => Why::Denied,
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Why::Loop,
            _ => Why::Other(error.to_string()),
        };
        Self { path: path.to_string_lossy().into_owned(), why }
    }

    fn because(path: &Path, why: Why) -> Self {
        Self { path: path.to_string_lossy().into_owned(), why }
    }

    /// Whether it simply is not there.
    pub fn is_absent(&self) -> bool {
        self.why == Why::NotFound
    }
}

/// A folder entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its kind, links not followed.
    pub kind: Kind,
    /// Its inode number.
    pub inode: u64,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A character device.
    Character,
    /// Anything else.
    Other,
}

impl From<fs::FileType> for Kind {
    fn from(kind: fs::FileType) -> Self {
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            Self::Link
        } else if kind.is_char_device() {
            Self::Character
        } else {
            Self::Other
        }
    }
}

impl From<rustix::fs::FileType> for Kind {
    fn from(kind: rustix::fs::FileType) -> Self {
        use rustix::fs::FileType;

        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::CharacterDevice => Self::Character,
            _ => Self::Other,
        }
    }
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The file's identity: device and inode.
    pub id: (u64, u64),
    /// Change of contents, seconds since 1970.
    pub modified: i64,
}

impl From<&fs::Metadata> for Stat {
    fn from(meta: &fs::Metadata) -> Self {
        Self {
            kind: meta.file_type().into(),
            size: meta.len(),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            id: (meta.dev(), meta.ino()),
            modified: meta.mtime(),
        }
    }
}

/// An open regular file for reads at an offset; made for large libraries.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
    /// Its `stat`.
    pub stat: Stat,
}

impl OpenFile {
    /// Reads exactly `length` bytes at `offset`.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, HostError> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.stat.size) {
            return Err(HostError::because(
                &self.path,
                Why::Other("it ends before what its headers promise".to_owned()),
            ));
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            // Not `read_exact_at`, which wants room that was cleared before.
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => {
                    return Err(HostError::because(&self.path, Why::Other("it was cut while it was read".to_owned())));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(HostError::new(&self.path, &errno.into())),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The file as a stream, for what is read once from its beginning.
    pub fn into_reader(self) -> impl io::Read + Send {
        self.file
    }
}

/// An open folder: its files are looked at without walking the way to it each time.
#[derive(Debug)]
pub struct OpenFolder<'h> {
    host: &'h Host,
    path: PathBuf,
    folder: OwnedFd,
}

impl<'h> OpenFolder<'h> {
    /// A folder below it, by a relative path; the way to this one is not walked again, but in a root.
    pub fn below(&self, name: &str) -> Result<OpenFolder<'h>, Why> {
        use rustix::fs::{Mode, OFlags};

        let path = self.path.join(name);
        if self.host.is_rooted() {
            return self.host.open_folder(path).map_err(|error| error.why);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(folder) => Ok(OpenFolder { host: self.host, path, folder }),
            Err(errno) => Err(HostError::new(&path, &errno.into()).why),
        }
    }

    /// The size of what is there under a relative path, links followed.
    ///
    /// In a root the way through several folders, and a link, are followed by the seam itself.
    pub fn size(&self, name: &str) -> Result<u64, Why> {
        use rustix::fs::{AtFlags, FileType, statat};

        let rooted = self.host.is_rooted();
        let slowly = || self.host.stat(self.path.join(name)).map(|stat| stat.size).map_err(|error| error.why);
        if rooted && (name.contains('/') || name == "..") {
            return slowly();
        }
        let flags = if rooted { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        match statat(&self.folder, name, flags) {
            Ok(stat) if rooted && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => slowly(),
            Ok(stat) => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
            Err(errno) => Err(HostError::new(Path::new(name), &errno.into()).why),
        }
    }
}

impl Host {
    /// The machine that the program runs on, with its own environment.
    pub fn here() -> Result<Self, HostError> {
        let env = std::env::vars_os().map(lossy).sorted_map();
        let cwd = std::env::current_dir().map_err(|error| HostError::new(Path::new("."), &error))?;
        let mut host = Self::bare(None, env, cwd);
        host.user = host.process_user();
        Ok(host)
    }

    /// The machine that the program runs on, with another environment.
    pub fn here_with(env: BTreeMap<String, String>) -> Result<Self, HostError> {
        let mut host = Self::here()?;
        if let Some(pwd) = env.get("PWD").filter(|pwd| pwd.starts_with('/')) {
            host.cwd = PathBuf::from(pwd);
        }
        host.env = env;
        host.user = host.process_user();
        Ok(host)
    }

    /// A folder that stands for a machine; every path is a path of that tree.
    ///
    /// The working folder is `PWD` of `env`, else `/`.
    pub fn rooted(root: &Path, env: BTreeMap<String, String>) -> Result<Self, HostError> {
        let real = fs::canonicalize(root).map_err(|error| HostError::new(root, &error))?;
        let meta = fs::metadata(&real).map_err(|error| HostError::new(root, &error))?;
        if !meta.is_dir() {
            return Err(HostError::because(root, Why::Other("not a folder".to_owned())));
        }
        let cwd = env.get("PWD").filter(|pwd| pwd.starts_with('/')).map_or_else(|| PathBuf::from("/"), PathBuf::from);
        // `/` itself needs no resolving of links: the kernel does that better.
        let root = (real != Path::new("/")).then_some(real);
        let mut host = Self::bare(root, env, cwd);
        host.user = host.tree_user();
        Ok(host)
    }

    fn bare(root: Option<PathBuf>, env: BTreeMap<String, String>, cwd: PathBuf) -> Self {
        Self {
            root,
            env,
            cwd,
            user: User::default(),
            today: today(),
            folders: Mutex::default(),
            names: Mutex::default(),
            laid_over: BTreeMap::new(),
        }
    }

    /// The same machine on another day, `YYYY-MM-DD`; for tests.
    #[must_use]
    pub fn on(mut self, day: &str) -> Self {
        day.clone_into(&mut self.today);
        self
    }

    /// The same machine with other files in some places: the content lies at the second path, or the file counts as
    /// not there. Programs that are run see none of it.
    ///
    /// The first paths are absolute and free of links. Only for a machine that is no folder.
    #[must_use]
    pub fn laid_over(mut self, files: BTreeMap<PathBuf, Option<PathBuf>>) -> Self {
        self.laid_over = files;
        self
    }

    /// The same machine from another working folder, an absolute one.
    #[must_use]
    pub fn standing_in(mut self, folder: &Path) -> Self {
        self.cwd = folder.to_path_buf();
        self
    }

    /// What is laid over a path: nothing, or where its content lies.
    fn over(&self, path: &Path) -> Option<&Option<PathBuf>> {
        if self.laid_over.is_empty() {
            return None;
        }
        self.laid_over.get(path).or_else(|| {
            // Named by a way around.
            let real = fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?);
            self.laid_over.get(&real)
        })
    }

    /// The day, `YYYY-MM-DD`, in UTC.
    pub fn today(&self) -> &str {
        &self.today
    }

    /// Whether the machine is a folder rather than the one the program runs on.
    pub fn is_rooted(&self) -> bool {
        self.root.is_some()
    }

    /// Runs a program of this machine; of a folder that stands for a machine none is run.
    pub fn run(&self, program: &Program<'_>) -> Result<Ran, HostError> {
        let path = Path::new(program.file);
        if self.is_rooted() {
            return Err(HostError::because(path, Why::Other("programs of another root are not run".to_owned())));
        }
        exec::run(program).map_err(|error| HostError::new(path, &error))
    }

    /// The value of an environment variable; set and empty is `Some("")`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// The value of an environment variable where it is set and not empty.
    pub fn env_nonempty(&self, name: &str) -> Option<&str> {
        self.env(name).filter(|value| !value.is_empty())
    }

    /// The whole environment.
    pub fn env_all(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The working folder.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Who would run programs.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The home folder, as Python's `expanduser` and most programs find it.
    pub fn home(&self) -> Option<&str> {
        self.user.home.as_deref()
    }

    /// An absolute path, lexically: joined to the working folder, `.` and empty parts removed, `..` kept.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        self.absolute_at(path.as_ref())
    }

    fn absolute_at(&self, path: &Path) -> PathBuf {
        if path.is_absolute() && is_plain(path) {
            return path.to_path_buf();
        }
        let joined = if path.is_absolute() { path.to_path_buf() } else { self.cwd.join(path) };
        joined.components().filter(|part| !matches!(part, Component::CurDir)).collect()
    }

    /// The path that the operating system is given, links in the root resolved.
    fn outside<'p>(&self, path: &'p Path, follow: Follow) -> Result<Cow<'p, Path>, HostError> {
        // Most paths are absolute already, and each look at a file comes by here.
        let path =
            if path.is_absolute() && is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(self.absolute(path)) };
        let Some(root) = &self.root else {
            return match self.over(&path) {
                None => Ok(path),
                Some(Some(elsewhere)) => Ok(Cow::Owned(elsewhere.clone())),
                Some(None) => Err(HostError::because(&path, Why::NotFound)),
            };
        };
        let inside = self.resolve(&path, follow)?;
        Ok(Cow::Owned(root.join(inside.strip_prefix("/").unwrap_or(&inside))))
    }

    /// Resolves links inside the root, component by component; `..` never leaves it.
    fn resolve(&self, path: &Path, follow: Follow) -> Result<PathBuf, HostError> {
        let mut budget = LINK_LIMIT;
        self.resolve_within(path, follow, &mut budget).map_err(|why| HostError::because(path, why))
    }

    fn resolve_within(&self, path: &Path, follow: Follow, budget: &mut u32) -> Result<PathBuf, Why> {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        // Most paths share their folder with earlier ones.
        let (parent, last) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(last)) => (parent, last),
            (Some(parent), None) if path.ends_with("..") => {
                let mut real = self.folder(parent, budget)?;
                real.pop();
                return Ok(real);
            }
            _ => return Ok(PathBuf::from("/")),
        };
        let mut real = self.folder(parent, budget)?;
        real.push(last);
        if follow == Follow::No {
            return Ok(real);
        }
        let outside = root.join(real.strip_prefix("/").unwrap_or(&real));
        match fs::read_link(&outside) {
            Ok(target) => {
                *budget = budget.checked_sub(1).ok_or(Why::Loop)?;
                real.pop();
                self.resolve_within(&real.join(target), Follow::Yes, budget)
            }
            Err(_) => Ok(real),
        }
    }

    fn folder(&self, folder: &Path, budget: &mut u32) -> Result<PathBuf, Why> {
        if folder.as_os_str().is_empty() || folder == Path::new("/") {
            return Ok(PathBuf::from("/"));
        }
        if let Some(known) = self.folders.lock().expect("no thread panics while it holds this").get(folder) {
            return known.clone().ok_or(Why::Loop);
        }
        let real = self.resolve_within(folder, Follow::Yes, budget);
        if !matches!(&real, Err(why) if *why != Why::Loop) {
            self.folders
                .lock()
                .expect("no thread panics while it holds this")
                .insert(folder.to_path_buf(), real.as_ref().ok().cloned());
        }
        real
    }

    /// The path behind all links; it must exist.
    pub fn real(&self, path: impl AsRef<Path>) -> Result<PathBuf, HostError> {
        self.real_at(path.as_ref())
    }

    fn real_at(&self, path: &Path) -> Result<PathBuf, HostError> {
        if self.root.is_none() {
            let path = self.absolute(path);
            match self.over(&path) {
                None => {
                    // The kernel says whether the way leads somewhere. Where to, is mostly known: paths share their
                    // folders with earlier ones, for which `fs::canonicalize` asks anew.
                    self.stat(&path)?;
                    self.resolve(&path, Follow::Yes)
                }
                Some(Some(_)) => Ok(path),
                Some(None) => Err(HostError::because(&path, Why::NotFound)),
            }
        } else {
            let inside = self.resolve(&self.absolute(path), Follow::Yes)?;
            self.stat(&inside)?;
            Ok(inside)
        }
    }

    /// [`Self::real`] as text, or the path itself where it does not resolve.
    pub fn real_text(&self, path: impl AsRef<Path>) -> String {
        self.real_text_at(path.as_ref())
    }

    fn real_text_at(&self, path: &Path) -> String {
        self.real(path).unwrap_or_else(|_| self.absolute(path)).to_string_lossy().into_owned()
    }

    /// `stat`, links followed.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Stat, HostError> {
        self.stat_at(path.as_ref())
    }

    fn stat_at(&self, path: &Path) -> Result<Stat, HostError> {
        let outside = self.outside(path, Follow::Yes)?;
        // In a root the last component is already resolved; a link there now is one that was swapped in.
        let meta = if self.root.is_some() { fs::symlink_metadata(outside) } else { fs::metadata(outside) };
        meta.as_ref().map(Stat::from).map_err(|error| HostError::new(path, error))
    }

    /// `lstat`: the last link is not followed.
    pub fn lstat(&self, path: impl AsRef<Path>) -> Result<Stat, HostError> {
        self.lstat_at(path.as_ref())
    }

    fn lstat_at(&self, path: &Path) -> Result<Stat, HostError> {
        let outside = self.outside(path, Follow::No)?;
        fs::symlink_metadata(outside).as_ref().map(Stat::from).map_err(|error| HostError::new(path, error))
    }

    /// Whether something is there, links followed.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_ok()
    }

    /// Whether a regular file is there, links followed.
    pub fn is_file(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_ok_and(|stat| stat.kind == Kind::File)
    }

    /// Whether a folder is there, links followed.
    pub fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_ok_and(|stat| stat.kind == Kind::Folder)
    }

    /// Whether a file is there that someone may execute.
    pub fn is_executable(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_ok_and(|stat| stat.kind == Kind::File && stat.mode & 0o111 != 0)
    }

    /// The target of a link, as written.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, HostError> {
        self.read_link_at(path.as_ref())
    }

    fn read_link_at(&self, path: &Path) -> Result<PathBuf, HostError> {
        fs::read_link(self.outside(path, Follow::No)?).map_err(|error| HostError::new(path, &error))
    }

    /// Opens a folder whose files are looked at one after the other.
    pub fn open_folder(&self, path: impl AsRef<Path>) -> Result<OpenFolder<'_>, HostError> {
        self.open_folder_at(path.as_ref())
    }

    fn open_folder_at(&self, path: &Path) -> Result<OpenFolder<'_>, HostError> {
        use rustix::fs::{Mode, OFlags};

        let mut flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if self.root.is_some() {
            flags |= OFlags::NOFOLLOW;
        }
        let folder = rustix::fs::open(&*self.outside(path, Follow::Yes)?, flags, Mode::empty())
            .map_err(|errno| HostError::new(path, &errno.into()))?;
        Ok(OpenFolder { host: self, path: path.to_path_buf(), folder })
    }

    /// The entries of a folder, sorted by name, at most [`LIST_LIMIT`].
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<Entry>, HostError> {
        self.list_at(path.as_ref())
    }

    fn list_at(&self, path: &Path) -> Result<Vec<Entry>, HostError> {
        use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, statat};

        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&*self.outside(path, Follow::Yes)?, flags, Mode::empty())
            .map_err(|errno| HostError::new(path, &errno.into()))?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut buffer = [const { MaybeUninit::uninit() }; LISTED];
        let mut rest = RawDir::new(&folder, &mut buffer);
        let mut left = LIST_LIMIT;
        while let Some(Ok(entry)) = rest.next() {
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Some(less) = left.checked_sub(1) else { break };
            left = less;
            let text = String::from_utf8_lossy(name);
            let kind = match entry.file_type() {
                // Some file systems keep no kinds in their folders.
                FileType::Unknown => statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                known => known,
            };
            entries.push(Entry { name: text.into_owned(), kind: kind.into(), inode: entry.ino() });
        }
        if !self.laid_over.is_empty()
            && let Ok(folder) = fs::canonicalize(self.absolute(path))
        {
            for (file, elsewhere) in self.laid_over.iter().filter(|(file, _)| file.parent() == Some(&folder)) {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                entries.retain(|entry| entry.name != name);
                if elsewhere.is_some() {
                    entries.push(Entry { name: name.into_owned(), kind: Kind::File, inode: 0 });
                }
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The names in a folder, sorted; none where it cannot be listed.
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        self.list(path).unwrap_or_default().into_iter().map(|entry| entry.name).collect()
    }

    /// Of the names in a folder those that are asked for, sorted.
    ///
    /// Folders of libraries hold thousands of others, and several parts ask for their own: each is read once, and what
    /// comes into it later is not seen.
    pub fn names_where(&self, path: impl AsRef<Path>, keep: impl Fn(&str) -> bool) -> Vec<String> {
        let all = self.all_names(path.as_ref());
        let all = all.get().map_or("", String::as_str);
        all.split_terminator('/').filter(|name| keep(name)).map(str::to_owned).collect()
    }

    /// The names in a folder, each with a `/` behind it.
    fn all_names(&self, path: &Path) -> Arc<OnceLock<String>> {
        let all = {
            let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(path.to_path_buf()).or_default())
        };
        all.get_or_init(|| {
            let mut names = String::new();
            for entry in self.list(path).unwrap_or_default() {
                names.push_str(&entry.name);
                names.push('/');
            }
            names
        });
        all
    }

    /// Opens a regular file for reads at offsets; never blocks on pipes or devices.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<OpenFile, HostError> {
        self.open_at(path.as_ref())
    }

    fn open_at(&self, path: &Path) -> Result<OpenFile, HostError> {
        let outside = self.outside(path, Follow::Yes)?;
        let mut flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        if self.root.is_some() {
            flags |= rustix::fs::OFlags::NOFOLLOW;
        }
        // Opening a device can wake hardware or load a module: look before.
        let before = self.stat(path)?;
        if before.kind != Kind::File {
            return Err(HostError::because(path, Why::NotRegular));
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(outside)
            .map_err(|error| HostError::new(path, &error))?;
        let meta = file.metadata().map_err(|error| HostError::new(path, &error))?;
        if !meta.is_file() {
            return Err(HostError::because(path, Why::NotRegular));
        }
        Ok(OpenFile { file, path: path.to_path_buf(), stat: Stat::from(&meta) })
    }

    /// The kernel's ring buffer as text, its last `limit` bytes; in a root it is a plain file, if anything.
    pub fn kernel_log(&self, path: impl AsRef<Path>, limit: u64) -> Result<String, HostError> {
        self.kernel_log_at(path.as_ref(), limit)
    }

    fn kernel_log_at(&self, path: &Path, limit: u64) -> Result<String, HostError> {
        if self.root.is_some() {
            return self.read(path, limit).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        }
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(path)
            .map_err(|error| HostError::new(path, &error))?;
        // Containers put other devices in its place; reading those could take input from somebody.
        let opened = rustix::fs::fstat(&file).map_err(|errno| HostError::new(path, &errno.into()))?;
        let device = (rustix::fs::major(opened.st_rdev), rustix::fs::minor(opened.st_rdev));
        if rustix::fs::FileType::from_raw_mode(opened.st_mode) != rustix::fs::FileType::CharacterDevice
            || device != KERNEL_LOG
        {
            return Err(HostError::because(path, Why::NotFound));
        }
        let (mut text, mut record) = (Vec::new(), vec![0; 8 << 10]);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        // Each read gives one record; the bound holds where more come than can be read.
        let mut all = 0;
        while all < 16 * most {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    all += length;
                    text.extend_from_slice(record.get(..length).unwrap_or_default());
                    if text.len() > 2 * most {
                        text.drain(..text.len() - most);
                    }
                }
                // A record that was overwritten meanwhile; the next read goes on behind it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => all += 1 << 10,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(HostError::new(path, &error)),
            }
        }
        Ok(String::from_utf8_lossy(text.get(text.len().saturating_sub(most)..).unwrap_or_default()).into_owned())
    }

    /// A whole file; larger than `limit` bytes is an error.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, HostError> {
        self.read_at(path.as_ref(), limit)
    }

    fn read_at(&self, path: &Path, limit: u64) -> Result<Vec<u8>, HostError> {
        let bytes = self.read_head(path, limit + 1)?;
        if bytes.len() as u64 > limit {
            return Err(HostError::because(path, Why::TooLarge(limit)));
        }
        Ok(bytes)
    }

    /// The first `limit` bytes of a file.
    pub fn read_head(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, HostError> {
        self.read_head_at(path.as_ref(), limit)
    }

    fn read_head_at(&self, path: &Path, limit: u64) -> Result<Vec<u8>, HostError> {
        let open = self.open(path)?;
        // Files of /proc and /sys say size 0; others say what to reserve.
        let mut bytes = Vec::with_capacity(usize::try_from(open.stat.size.min(limit)).unwrap_or(0));
        open.file.take(limit).read_to_end(&mut bytes).map_err(|error| HostError::new(path, &error))?;
        Ok(bytes)
    }

    /// A text file of at most [`TEXT_LIMIT`] bytes; it must be UTF-8.
    pub fn read_text(&self, path: impl AsRef<Path>) -> Result<String, HostError> {
        self.read_text_at(path.as_ref())
    }

    fn read_text_at(&self, path: &Path) -> Result<String, HostError> {
        String::from_utf8(self.read(path, TEXT_LIMIT)?).map_err(|_| HostError::because(path, Why::NotText))
    }

    /// A text file of at most [`TEXT_LIMIT`] bytes; bytes that are not UTF-8 are replaced.
    pub fn read_lossy(&self, path: impl AsRef<Path>) -> Result<String, HostError> {
        Ok(String::from_utf8_lossy(&self.read(path.as_ref(), TEXT_LIMIT)?).into_owned())
    }

    /// Whether the user may open a device node for reading and writing; `None` where that cannot be told.
    ///
    /// On the machine itself the system is asked. In a tree the permission bits are held against the
    /// user; a plain file that stands for a node (a recorded tree can hold nothing else) counts as
    /// open to those who may read it.
    pub fn may_use_node(&self, path: impl AsRef<Path>) -> Option<bool> {
        self.may_use_node_at(path.as_ref())
    }

    fn may_use_node_at(&self, path: &Path) -> Option<bool> {
        if self.root.is_none() {
            use rustix::fs::{Access, access};
            return Some(access(self.absolute(path), Access::READ_OK | Access::WRITE_OK).is_ok());
        }
        let stat = self.stat(path).ok()?;
        let wanted: u32 = if stat.kind == Kind::Character { 0o6 } else { 0o4 };
        let allows = |shift: u32| (stat.mode >> shift) & wanted == wanted;
        if allows(0) {
            return Some(true);
        }
        match self.user.uid {
            Some(0) => Some(true),
            Some(uid) if uid == stat.uid => Some(allows(6)),
            Some(_) if self.user.gids.contains(&stat.gid) => Some(allows(3)),
            // A group that the tree does not tell us about may be the user's.
            Some(_) if allows(3) && self.user.gids.is_empty() => None,
            None if allows(3) => None,
            Some(_) | None => Some(false),
        }
    }

    fn process_user(&self) -> User {
        let uid = rustix::process::geteuid().as_raw();
        let mut gids: Vec<u32> =
            rustix::process::getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw).collect();
        gids.push(rustix::process::getegid().as_raw());
        crate::sort::plain(&mut gids);
        gids.dedup();
        let entry = self.passwd().into_iter().find(|entry| entry.uid == uid);
        User {
            uid: Some(uid),
            gids,
            name: entry.as_ref().map(|entry| entry.name.clone()).or_else(|| self.env("USER").map(str::to_owned)),
            home: self.env("HOME").map(str::to_owned).or_else(|| entry.map(|entry| entry.home)),
        }
    }

    /// Who would run programs in a tree: `USER`, else the owner of `HOME`, by the tree's own passwd.
    fn tree_user(&self) -> User {
        let passwd = self.passwd();
        let home = self.env("HOME");
        let name = self.env_nonempty("USER").or_else(|| self.env_nonempty("LOGNAME"));
        let entry = passwd
            .iter()
            .find(|entry| name == Some(entry.name.as_str()))
            .or_else(|| passwd.iter().find(|entry| name.is_none() && home == Some(entry.home.as_str())));
        let uid = entry
            .map(|entry| entry.uid)
            .or_else(|| (name == Some("root") || (name.is_none() && home == Some("/root"))).then_some(0));
        let mut gids: Vec<u32> = entry.iter().map(|entry| entry.gid).collect();
        if let Some(login) = entry.map(|entry| entry.name.as_str()).or(name)
            && let Ok(text) = self.read_lossy("/etc/group")
        {
            gids.extend(text.lines().filter_map(|line| {
                let mut fields = line.split(':');
                let gid: u32 = fields.nth(2)?.parse().ok()?;
                fields.next()?.split(',').any(|member| member == login).then_some(gid)
            }));
        }
        crate::sort::plain(&mut gids);
        gids.dedup();
        User {
            uid,
            gids,
            name: entry.map(|entry| entry.name.clone()).or_else(|| name.map(str::to_owned)),
            home: home.map(str::to_owned).or_else(|| entry.map(|entry| entry.home.clone())),
        }
    }

    fn passwd(&self) -> Vec<Login> {
        let Ok(text) = self.read_lossy("/etc/passwd") else { return Vec::new() };
        text.lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
                Some(Login {
                    name: name.to_owned(),
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                    home: home.to_owned(),
                })
            })
            .collect()
    }
}

/// A line of /etc/passwd.
struct Login {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Whether the parts of a path are told from each other by one slash each and none is `.`, so that it stays as it is.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let plain = |at: usize| !matches!(bytes.get(at + 1..), None | Some([] | [b'/', ..] | [b'.'] | [b'.', b'/', ..]));
    memchr::memchr_iter(b'/', bytes).all(plain)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    Yes,
    No,
}

fn lossy((name, value): (OsString, OsString)) -> (String, String) {
    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
}

fn today() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    civil(i64::try_from(seconds / 86_400).unwrap_or(0))
}

/// The Gregorian date of a day counted from 1970-01-01.
fn civil(day: i64) -> String {
    // Years are counted from March, so that the leap day is the last of its year.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

/// Makes a folder of the program's own, outside of any machine that is inspected.
pub fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Writes a file of the program's own, outside of any machine that is inspected.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)
}

/// Makes a folder of the program's own with those above it.
pub fn make_folders(path: &Path) -> Result<(), HostError> {
    fs::create_dir_all(path).map_err(|error| HostError::new(path, &error))
}

/// Gives a file another name; what had that name is gone.
pub fn rename(from: &Path, to: &Path) -> Result<(), HostError> {
    fs::rename(from, to).map_err(|error| HostError::new(from, &error))
}

/// Takes a file of the program's own away.
pub fn remove_file(path: &Path) -> Result<(), HostError> {
    fs::remove_file(path).map_err(|error| HostError::new(path, &error))
}

/// Takes an empty folder away.
pub fn remove_folder(path: &Path) -> Result<(), HostError> {
    fs::remove_dir(path).map_err(|error| HostError::new(path, &error))
}

/// Writes a program that everyone may run; it is there as a whole or not at all.
pub fn write_program(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        HostError::new(path, &error)
    })
}

/// Writes a new file of the program's own; one that is there is never touched.
pub fn create_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(bytes)
}

/// Adds to a file, which is made where it is not there.
pub fn append_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
}

/// Reads `KEY=VALUE` lines; empty lines and a byte-order mark at the start are left out.
///
/// `KEY=` means set and empty. There are no comments: what one tool would skip, another sets.
///
/// # Errors
///
/// The number of the first line that is no `KEY=VALUE`, or that is no UTF-8.
pub fn parse_env_file(bytes: &[u8]) -> Result<BTreeMap<String, String>, EnvFileError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut env = BTreeMap::new();
    for (number, line) in (1u32..).zip(bytes.split(|&byte| byte == b'\n')) {
        let wrong = |why| EnvFileError { line: number, why };
        let line = std::str::from_utf8(line).map_err(|_| wrong("not UTF-8"))?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if line.trim_start().starts_with('#') {
            return Err(wrong("no `KEY=VALUE`: comments are not known here"));
        }
        let (key, value) = line.split_once('=').ok_or(wrong("no `KEY=VALUE`"))?;
        if key.is_empty() {
            return Err(wrong("no `KEY=VALUE`: the key is empty"));
        }
        if key.contains(char::is_whitespace) {
            return Err(wrong("no `KEY=VALUE`: there is a space in the key"));
        }
        if line.contains('\0') {
            return Err(wrong("no `KEY=VALUE`: there is a NUL in it"));
        }
        env.insert(key.to_owned(), value.to_owned());
    }
    Ok(env)
}

/// A faulty line of an env file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct EnvFileError {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong.
    pub why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        (dir, host)
    }

    #[test]
    fn links_stay_inside_the_root() {
        let (dir, host) = tree();
        fs::create_dir_all(dir.path().join("etc/deep")).unwrap();
        fs::write(dir.path().join("etc/target"), "inside").unwrap();
        symlink("/etc/target", dir.path().join("absolute")).unwrap();
        symlink("../../../../../../etc/target", dir.path().join("etc/deep/up")).unwrap();
        symlink("/etc", dir.path().join("folder")).unwrap();
        symlink("/etc/hostname-that-only-the-real-machine-has", dir.path().join("out")).unwrap();
        assert_eq!(host.read_text("/absolute").unwrap(), "inside");
        assert_eq!(host.read_text("/etc/deep/up").unwrap(), "inside");
        assert_eq!(host.read_text("/folder/deep/../target").unwrap(), "inside");
        assert_eq!(host.read_text("/../../etc/target").unwrap(), "inside");
        assert!(host.read_text("/out").unwrap_err().is_absent());
        assert_eq!(host.real("/folder/target").unwrap(), Path::new("/etc/target"));
    }

    #[test]
    fn loops_end() {
        let (dir, host) = tree();
        symlink("/b", dir.path().join("a")).unwrap();
        symlink("/a", dir.path().join("b")).unwrap();
        symlink("/self/x", dir.path().join("self")).unwrap();
        assert_eq!(host.read_text("/a").unwrap_err().why, Why::Loop);
        assert_eq!(host.list("/self/y").unwrap_err().why, Why::Loop);
    }

    #[test]
    fn pipes_and_folders_are_not_read() {
        let (dir, host) = tree();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        assert_eq!(host.read_text("/pipe").unwrap_err().why, Why::NotRegular);
        assert_eq!(host.read_text("/").unwrap_err().why, Why::NotRegular);
    }

    #[test]
    fn a_file_larger_than_the_limit_is_an_error() {
        let (dir, host) = tree();
        fs::write(dir.path().join("big"), vec![b'x'; 100]).unwrap();
        assert_eq!(host.read("/big", 99).unwrap_err().why, Why::TooLarge(99));
        assert_eq!(host.read("/big", 100).unwrap().len(), 100);
        assert_eq!(host.read_head("/big", 10).unwrap().len(), 10);
    }

    #[test]
    fn the_user_of_a_tree_comes_from_its_own_files() {
        let (dir, _) = tree();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n")
            .unwrap();
        fs::write(dir.path().join("etc/group"), "video:x:44:ada,bob\nrender:x:105:bob\n").unwrap();
        let user = |pairs: &[(&str, &str)]| {
            let env = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Host::rooted(dir.path(), env).unwrap().user().clone()
        };
        assert_eq!(user(&[("USER", "ada")]).gids, [44, 1000]);
        assert_eq!(user(&[("USER", "ada")]).home.as_deref(), Some("/home/ada"));
        assert_eq!(user(&[("HOME", "/root")]).uid, Some(0));
        assert_eq!(user(&[]).uid, None);
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), "1970-01-01");
        assert_eq!(civil(11_016), "2000-02-29");
        assert_eq!(civil(20_780), "2026-11-23");
    }

    #[test]
    fn env_files_are_strict() {
        let env = parse_env_file(b"\xef\xbb\xbfA=1\n\nEMPTY=\nB=x=y\r\n\r\nC= # kept \n").unwrap();
        assert_eq!(env.len(), 4);
        assert_eq!((env["A"].as_str(), env["EMPTY"].as_str(), env["B"].as_str()), ("1", "", "x=y"));
        assert_eq!(env["C"], " # kept ");
        for (text, line, why) in [
            (&b"A=1\nnonsense\n"[..], 2, "no `KEY=VALUE`"),
            (b"A=1\n\nB=\xff\n", 3, "not UTF-8"),
            (b"A=1\n# note\n", 2, "comments"),
            (b" #A=1\n", 1, "comments"),
            (b"=1\n", 1, "key is empty"),
            (b"export A=1\n", 1, "space in the key"),
            (b"A =1\n", 1, "space in the key"),
            (b"A=1\n  \n", 2, "no `KEY=VALUE`"),
            (b"A=1\0\n", 1, "NUL"),
            (b"A=1\n\xef\xbb\xbf\n", 2, "no `KEY=VALUE`"),
        ] {
            let error = parse_env_file(text).unwrap_err();
            assert!(error.line == line && error.why.contains(why), "{}: {error}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn env_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_env_file(&bytes);
        }

        #[test]
        fn a_plain_path_stays_as_it_is(path in "/{0,2}([a.]{0,3}/{0,2}){0,5}") {
            let host = Host::here().unwrap();
            let joined = Path::new("/").join(&path);
            let want: PathBuf = joined.components().filter(|part| !matches!(part, Component::CurDir)).collect();
            if joined.as_os_str() == path.as_str() {
                prop_assert_eq!(host.absolute(&path).into_os_string(), want.into_os_string());
            }
        }

        #[test]
        fn real_paths_are_those_of_the_system(
            parts in prop::collection::vec(prop::sample::select(vec!["..", ".", "a", "up", "file", "round", "gone", ""]), 0..9)
        ) {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("a/a")).unwrap();
            fs::write(dir.path().join("a/file"), "").unwrap();
            symlink("../a", dir.path().join("a/up")).unwrap();
            symlink("round", dir.path().join("a/round")).unwrap();
            symlink(dir.path().join("a/file"), dir.path().join("file")).unwrap();
            let host = Host::here().unwrap();
            let path = dir.path().join(parts.join("/"));
            for path in [path.as_path(), &path.join("a"), &path.join("up")] {
                let system = fs::canonicalize(host.absolute(path)).map_err(|error| HostError::new(path, &error).why);
                prop_assert_eq!(host.real(path).map_err(|error| error.why), system, "{}", path.display());
            }
        }

        #[test]
        fn no_path_leaves_the_root(parts in prop::collection::vec(prop::sample::select(vec!["..", ".", "a", "up", "abs", ""]), 0..12)) {
            let (dir, host) = tree();
            fs::create_dir(dir.path().join("a")).unwrap();
            symlink("../..", dir.path().join("up")).unwrap();
            symlink("/", dir.path().join("abs")).unwrap();
            let path = format!("/{}", parts.join("/"));
            let outside = host.outside(Path::new(&path), Follow::Yes);
            if let Ok(outside) = outside {
                prop_assert!(outside.starts_with(dir.path().canonicalize().unwrap()), "{path} -> {outside:?}");
            }
        }
    }
}
