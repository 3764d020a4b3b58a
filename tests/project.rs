//! Cargo projects, laid out with crates that have only the names of the real ones, through the real program and Cargo.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay its files out has to stop")]
#![expect(clippy::disallowed_methods, reason = "tests lay files out and run the program; the fence is for the product")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A workspace: `app` has cudarc behind a feature, `other` always, `tool` in its tests only.
fn workspace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[workspace]\nmembers = [\"app\", \"other\", \"tool\"]\nresolver = \"2\"\n");
    for member in ["app", "other", "tool", "cudarc"] {
        write(&format!("{member}/src/lib.rs"), "");
    }
    let package = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{rest}")
    };
    write(
        "app/Cargo.toml",
        &package(
            "app",
            "[features]\ngpu = [\"dep:cudarc\", \"cudarc?/driver\"]\n[dependencies]\ncudarc = { path = \"../cudarc\", optional = true, default-features = false, features = [\"dynamic-loading\", \"cuda-version-from-build-system\"] }\n",
        ),
    );
    write(
        "other/Cargo.toml",
        &package("other", "[dependencies]\ncudarc = { path = \"../cudarc\", features = [\"cuda-12080\"] }\n"),
    );
    write("tool/Cargo.toml", &package("tool", "[dev-dependencies]\ncudarc = { path = \"../cudarc\" }\n"));
    write(
        "cudarc/Cargo.toml",
        "[package]\nname = \"cudarc\"\nversion = \"0.19.10\"\nedition = \"2021\"\n[features]\ndefault = [\"std\", \"fallback-dynamic-loading\"]\nstd = []\ndriver = []\nfallback-dynamic-loading = []\ndynamic-loading = []\ncuda-version-from-build-system = []\ncuda-12080 = []\n",
    );
    let locked =
        Command::new(env!("CARGO")).args(["generate-lockfile", "--offline"]).current_dir(folder.path()).output();
    assert!(locked.unwrap().status.success());
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    // Cargo looks for rustc on PATH; of nvcc there is none.
    let cargo = Path::new(env!("CARGO")).parent().unwrap().display();
    Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("CARGO", env!("CARGO"))
        .env("HOME", std::env::var_os("HOME").unwrap_or_default())
        .envs(["RUSTUP_HOME", "CARGO_HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("PATH", format!("{cargo}:/usr/bin:/bin"))
        .output()
        .unwrap()
}

fn project(folder: &Path, args: &[&str]) -> Value {
    let output = run(folder, &[&["facts"], args].concat());
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    facts["project"].clone()
}

fn features(project: &Value) -> Vec<&str> {
    project["crates"][0]["features"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn a_build_of_one_member_has_its_own_crates_and_features() {
    let folder = workspace();
    let at = |member: &str| folder.path().join(member);
    let app = project(&at("app"), &[]);
    assert_eq!(app["resolved"], true, "{app}");
    assert!(app["crates"].as_array().unwrap().is_empty(), "{app}");
    assert!(project(&at("tool"), &[])["crates"].as_array().unwrap().is_empty());

    let with = project(&at("app"), &["--features", "gpu"]);
    assert_eq!(features(&with), ["cuda-version-from-build-system", "driver", "dynamic-loading"]);
    assert_eq!(with["crates"][0]["via"][0], "app 0.1.0");
    assert_eq!(with["crates"][0]["declared"]["line"], 8);
    assert_eq!(with["crates"][0]["optional"], true);
    assert!(with["crates"][0]["evidence"]["line"].is_u64());

    let other = project(folder.path(), &["-p", "other"]);
    assert_eq!(features(&other), ["cuda-12080", "default", "fallback-dynamic-loading", "std"]);
    // All members at once, as `cargo build` in the workspace's folder.
    assert_eq!(features(&project(folder.path(), &[])), ["cuda-12080", "default", "fallback-dynamic-loading", "std"]);
    let bare = project(
        folder.path(),
        &["--manifest-path", "app/Cargo.toml", "--all-features", "--target", "x86_64-unknown-linux-gnu"],
    );
    assert_eq!(bare["crates"].as_array().unwrap().len(), 1);
}

#[test]
fn without_cargo_only_what_the_manifest_says_is_certain() {
    let folder = workspace();
    let app = project(&folder.path().join("app"), &["--static"]);
    assert!(app["resolved"].is_null(), "{app}");
    assert!(app["crates"][0]["built"].is_null());
    let other = project(&folder.path().join("other"), &["--static"]);
    assert_eq!(other["crates"][0]["built"], true);
    assert_eq!(features(&other), ["cuda-12080", "default"]);
}

#[test]
fn a_lock_file_that_is_not_of_the_manifest_is_told() {
    let folder = workspace();
    let manifest = folder.path().join("other/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("[dependencies]", "[dependencies]\napp = { path = \"../app\" }")).unwrap();
    let before = std::fs::read(folder.path().join("Cargo.lock")).unwrap();
    let other = project(&folder.path().join("other"), &[]);
    assert!(other["unresolved"].as_str().unwrap().contains("cargo metadata"), "{other}");
    assert_eq!(std::fs::read(folder.path().join("Cargo.lock")).unwrap(), before);
}

#[test]
fn the_verdict_follows_the_features() {
    let folder = workspace();
    let check = |args: &[&str]| {
        let output = run(&folder.path().join("app"), &[&["check", "--format", "json", "--gpu", "none"], args].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report["verdicts"]["project"].clone())
    };
    let (code, verdict) = check(&["--features", "gpu"]);
    assert_eq!(code, Some(100));
    assert_eq!((&verdict["builds"], &verdict["because"][0]), (&Value::from("no"), &Value::from("toolkit-missing")));
    let (code, _) = check(&[]);
    assert_eq!(code, Some(0));
    // Only files: whether the feature is on is not guessed.
    let (code, verdict) = check(&["--static"]);
    assert_eq!((code, &verdict["builds"]), (Some(0), &Value::from("unknown")));
}

#[test]
fn variables_of_cargos_configuration_reach_the_build_scripts() {
    let folder = workspace();
    std::fs::create_dir_all(folder.path().join(".cargo")).unwrap();
    std::fs::write(folder.path().join(".cargo/config.toml"), "[env]\nCUDARC_CUDA_VERSION = \"12080\"\nTOKEN = \"x\"\n")
        .unwrap();
    let app = project(&folder.path().join("app"), &["--features", "gpu"]);
    assert_eq!(app["build"]["env"]["CUDARC_CUDA_VERSION"]["value"], "12080");
    assert!(app["build"]["env"]["TOKEN"].is_null());
    let output = run(&folder.path().join("app"), &["check", "--format", "json", "--gpu", "none", "--features", "gpu"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdicts"]["project"]["builds"], "yes", "{}", report["outcomes"]["unknown"]);
}

#[test]
fn a_lock_file_that_cannot_be_read_passes_nothing() {
    let folder = workspace();
    let lock = folder.path().join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    std::fs::write(&lock, format!("<<<<<<< HEAD\n{text}")).unwrap();
    let args = ["check", "--format", "json", "--gpu", "none"];
    let output = run(&folder.path().join("other"), &args);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdicts"]["project"]["builds"], "unknown", "{}", report["verdicts"]);
    let output = run(&folder.path().join("other"), &["check", "--gpu", "none", "--strict"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(100), "{said}");
    assert!(said.contains("cannot tell (toolkit-missing): which crates the project has"), "{said}");
}

#[test]
fn a_feature_or_a_platform_that_is_none_is_a_mistake() {
    let folder = workspace();
    for (args, named) in [
        (["check", "--package", "app", "--features", "nope"].as_slice(), "--features nope"),
        (&["check", "--target", "nonsense"], "--target nonsense"),
        (&["check", "--assume", "driver=550.54.14", "cuda=13.0"], "that driver reports CUDA 12.4"),
    ] {
        let output = run(folder.path(), args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
    let fine = run(folder.path(), &["check", "--assume", "driver=550.54.14", "cuda=12.4", "--gpu", "none"]);
    assert_ne!(fine.status.code(), Some(2));
}

#[test]
fn without_a_lock_file_nothing_is_known_of_the_project() {
    let folder = workspace();
    std::fs::remove_file(folder.path().join("Cargo.lock")).unwrap();
    let report = |args: &[&str]| run(folder.path(), &[&["check", "--gpu", "none", "--format", "json"], args].concat());
    let output = report(&[]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verdicts"]["project"]["builds"], "unknown");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report(&["--strict"]).status.code(), Some(100));
    // One that asks for no other package needs none.
    let alone = folder.path().join("alone");
    std::fs::create_dir_all(alone.join("src")).unwrap();
    std::fs::write(alone.join("Cargo.toml"), "[package]\nname = \"alone\"\nversion = \"0.1.0\"\n").unwrap();
    let json: Value =
        serde_json::from_slice(&run(&alone, &["check", "--gpu", "none", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["verdicts"]["project"], Value::Null);
}

#[test]
fn a_git_dependency_of_a_pre_release_version_counts() {
    let folder = workspace();
    let at = |name: &str| folder.path().join(name);
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=A", "-c", "user.email=a@example.org"]).args(args).current_dir(at("upstream"));
        assert!(command.output().unwrap().status.success(), "{args:?}");
    };
    std::fs::create_dir_all(at("upstream/src")).unwrap();
    std::fs::write(at("upstream/src/lib.rs"), "").unwrap();
    let manifest = std::fs::read_to_string(at("cudarc/Cargo.toml")).unwrap().replace("0.19.10", "0.20.0-alpha.1");
    std::fs::write(at("upstream/Cargo.toml"), manifest).unwrap();
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    let user = at("user");
    std::fs::create_dir_all(user.join("src")).unwrap();
    std::fs::write(user.join("src/lib.rs"), "").unwrap();
    let url = format!("file://{}", at("upstream").display());
    let manifest = format!(
        "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ncudarc = {{ git = \"{url}\" }}\n[workspace]\n"
    );
    std::fs::write(user.join("Cargo.toml"), manifest).unwrap();
    let locked = Command::new(env!("CARGO")).arg("generate-lockfile").current_dir(&user).output().unwrap();
    assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    let output = run(&user, &["check", "--gpu", "none", "--format", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let project = &json["facts"]["project"];
    assert_eq!((&project["resolved"], &project["crates"][0]["name"]), (&true.into(), &"cudarc".into()), "{project}");
}
