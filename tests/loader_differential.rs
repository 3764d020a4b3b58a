//! Holds the search against the real loader: random trees of libraries, opened by a real program.
//!
//! It needs a C compiler for the program and its callers; the libraries are written by hand.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(clippy::disallowed_methods, reason = "the real loader only works in a process of its own")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../src/probe/elf_writer.rs"]
mod elf_writer;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use elf_writer::Elf;
use gpu_doctor::facts::{Probed, Resolution};
use gpu_doctor::host::Host;
use gpu_doctor::probe::loader::Search;

const CALLER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
void open_name(const char *name) {
    void *handle = dlopen(name, RTLD_NOW);
    struct link_map *map;
    if (handle && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0) printf("+%s\n", map->l_name);
    else printf("-%s\n", dlerror());
}
"#;

const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **names) {
    void *caller = dlopen(names[1], RTLD_NOW);
    void (*open_name)(const char *) = caller ? (void (*)(const char *)) dlsym(caller, "open_name") : 0;
    if (!open_name) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    for (int i = 2; i < count; i++) open_name(names[i]);
    return 0;
}
"#;

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.roll(100) < chance
    }
}

fn compile(folder: &Path, source: &str, name: &str, options: &[&str]) -> PathBuf {
    let code = folder.join(format!("{name}.c"));
    fs::write(&code, source).unwrap();
    let out = folder.join(name);
    let made = Command::new("cc").args(["-w", "-o"]).arg(&out).arg(&code).args(options).arg("-ldl").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    out
}

const FOLDERS: [&str; 9] = [
    "d0",
    "d1",
    "d2",
    "d3",
    "d1/glibc-hwcaps/x86-64-v2",
    "d2/glibc-hwcaps/x86-64-v3",
    "d1/tls",
    "d2/tls/x86_64",
    "d3/x86_64/x86_64",
];
const NAMES: [&str; 6] = ["libone.so.1", "libtwo.so.2", "libthree.so", "libfour.so.4", "libfive.so", "libsix.so"];

/// A search path as it may stand in an object.
fn search_path(dice: &mut Dice, base: &str) -> String {
    let mut entries = Vec::new();
    for _ in 0..=dice.roll(3) {
        let entry = dice.pick(&[
            "$ORIGIN",
            "${ORIGIN}",
            "$ORIGIN/../d0",
            "$ORIGIN/../d1",
            "$ORIGIN/../d2",
            "${ORIGIN}/../d3/",
            "BASE/d0",
            "BASE/d1//",
            "BASE/d2/.",
            "BASE/d3",
            "BASE/none",
            "",
            "d2",
            "$ORIGINAL/x",
            "$LIB",
            "BASE/$PLATFORM",
        ]);
        entries.push(entry.replace("BASE", base));
    }
    entries.join(":")
}

fn library(dice: &mut Dice, base: &str) -> Elf {
    let mut elf = Elf::default();
    if dice.percent(60) {
        elf.soname = Some(dice.pick(&NAMES).to_owned());
    }
    while dice.percent(35) {
        elf.needed.push(dice.pick(&NAMES).to_owned());
    }
    if dice.percent(35) {
        elf.rpath = Some(search_path(dice, base));
    }
    if dice.percent(35) {
        elf.runpath = Some(search_path(dice, base));
    }
    elf.no_default_folders = dice.percent(5);
    match dice.roll(30) {
        0 => elf.machine = 8,
        1 => (elf.class, elf.machine) = (32, 3),
        _ => {}
    }
    elf
}

/// Fills a folder with libraries, good ones and bad ones.
fn fill(dice: &mut Dice, base: &Path) {
    let text = base.to_str().unwrap();
    for folder in FOLDERS {
        // The x86_64 folder is what `$PLATFORM` stands for.
        fs::create_dir_all(base.join(folder)).unwrap();
        for name in NAMES {
            let path = base.join(folder).join(name);
            match dice.roll(60) {
                0..20 => {}
                20 => fs::write(path, "").unwrap(),
                21 => fs::write(path, "INPUT(-lone) ".repeat(20)).unwrap(),
                22 => fs::create_dir(path).unwrap(),
                23 => symlink("nowhere", path).unwrap(),
                24 => symlink(name, path).unwrap(),
                25..30 => symlink(base.join(dice.pick(&FOLDERS)).join(dice.pick(&NAMES)), path).unwrap(),
                30 => fs::write(path, &library(dice, text).bytes()[..100]).unwrap(),
                _ => fs::write(path, library(dice, text).bytes()).unwrap(),
            }
        }
    }
}

/// Whether the `dlopen` would succeed, and with which path.
fn verdict(resolution: &Resolution) -> Option<&str> {
    match &resolution.file {
        Probed::Found { value, .. } if value.missing.is_empty() => Some(&value.path),
        _ => None,
    }
}

#[test]
fn the_search_agrees_with_the_real_loader() {
    let outer = tempfile::tempdir().unwrap();
    let outer = fs::canonicalize(outer.path()).unwrap();
    let build = outer.join("build");
    fs::create_dir(&build).unwrap();
    let (rpath, runpath) = ("-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags");
    let towards = |folders: &str| format!("-Wl,-rpath,{folders}");
    let programs = [
        compile(&build, PROGRAM, "plain", &[]),
        compile(&build, PROGRAM, "with-rpath", &[rpath, &towards("$ORIGIN/../tree/d3")]),
        compile(&build, PROGRAM, "with-runpath", &[runpath, &towards("$ORIGIN/../tree/d3")]),
    ];
    let shared = ["-shared", "-fPIC"];
    let callers = [
        compile(&build, CALLER, "libcaller.so", &shared),
        compile(&build, CALLER, "libcaller-rpath.so", &["-shared", "-fPIC", rpath, &towards("$ORIGIN/../tree/d1")]),
        compile(
            &build,
            CALLER,
            "libcaller-runpath.so",
            &["-shared", "-fPIC", runpath, &towards("$ORIGIN/../tree/d1:$ORIGIN/../tree/d2")],
        ),
        compile(&build, CALLER, "libcaller-nodefault.so", &["-shared", "-fPIC", "-Wl,-z,nodefaultlib"]),
    ];
    let link = build.join("linked");
    symlink(&programs[1], &link).unwrap();
    let tree = outer.join("tree");
    let (mut found, mut lost) = (0, 0);
    for seed in 1..=150_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.roll(2);
        fs::create_dir(&tree).unwrap();
        fill(&mut dice, &tree);
        let program = if dice.percent(10) { &link } else { &programs[dice.roll(programs.len())] };
        // By a path with `..`, as Python extension modules are found at times.
        let caller = build.join("../build").join(callers[dice.roll(callers.len())].file_name().unwrap());
        let mut names = Vec::new();
        for _ in 0..6 {
            let name = dice.pick(&NAMES);
            names.push(match dice.roll(12) {
                0 => tree.join("d0").join(name).to_str().unwrap().to_owned(),
                1 => format!("../d1/{name}"),
                2 => "libz.so.1".to_owned(),
                _ => name.to_owned(),
            });
        }
        let mut env = BTreeMap::from([("PWD".to_owned(), tree.join("d0").to_str().unwrap().to_owned())]);
        if dice.percent(50) {
            let path = search_path(&mut dice, tree.to_str().unwrap()).replace("$ORIGIN/..", "$ORIGIN/../tree");
            env.insert("LD_LIBRARY_PATH".to_owned(), if dice.percent(20) { path.replace(':', ";") } else { path });
        }
        if dice.percent(15) {
            env.insert("LD_PRELOAD".to_owned(), format!("{} {}/d1/{}", dice.pick(&NAMES), tree.display(), NAMES[0]));
        }
        let mut command = Command::new(program);
        command.arg(&caller).args(&names).env_clear().envs(&env).current_dir(tree.join("d0"));
        let output = command.output().unwrap();
        let real: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        if real.len() == names.len() {
            let host = Host::here_with(env.clone()).unwrap();
            let search = Search::new(&host);
            let asked: Vec<&str> = names.iter().map(String::as_str).collect();
            let ours = search.resolve_all(&asked, &[caller.to_str().unwrap(), program.to_str().unwrap()]);
            for (ours, real) in ours.iter().zip(&real) {
                let expected = real.strip_prefix('+').map(|path| host.absolute(path).to_str().unwrap().to_owned());
                if expected.is_some() {
                    found += 1;
                } else {
                    lost += 1;
                }
                assert_eq!(
                    verdict(ours),
                    expected.as_deref(),
                    "seed {seed}: {} gave {real}; {env:?}, {names:?} by {} of {}; {ours:#?}",
                    ours.name,
                    caller.display(),
                    program.display(),
                );
                for reason in ["file too short", "invalid ELF header"] {
                    let (Probed::Failed { why }, true) = (&ours.file, real.ends_with(reason)) else { continue };
                    assert!(why.ends_with(reason), "seed {seed}: {why} against {real}");
                }
            }
        } else {
            // A broken preload or a broken C library stops the program before it asks anything.
            assert!(!output.status.success(), "seed {seed}: {real:?}");
        }
        fs::remove_dir_all(&tree).unwrap();
    }
    assert!(found > 500 && lost > 200, "{found} found and {lost} lost: the trees are too dull");
}
