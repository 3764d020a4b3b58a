//! A real crate whose build script calls the check, built by the real Cargo: when it fails, what it says, when it runs again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the seam: they lay out files and run the program"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crate that is built, and the toolkits that it may find.
///
/// It lies in the target folder, so that what it depends on is compiled once.
struct Downstream {
    folder: PathBuf,
}

/// What came of a build.
struct Built {
    passed: bool,
    said: String,
    /// Whether the build script ran.
    ran: bool,
}

impl Downstream {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("downstream");
        // What an earlier run left must not decide.
        let _ = fs::remove_file(folder.join("gpu-doctor.toml"));
        let _ = fs::remove_file(folder.join("Cargo.lock"));
        let this = Self { folder };
        this.manifest("", "gpu_doctor::build_script::check();");
        this.write("src/main.rs", "fn main() {}\n");
        // Named like a crate that compiles CUDA; what it does is of no interest here.
        this.write("bindgen_cuda/Cargo.toml", "[package]\nname = \"bindgen_cuda\"\nversion = \"0.1.5\"\n");
        this.write("bindgen_cuda/src/lib.rs", "");
        // Versions that are here: no network is used.
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"), this.folder.join("Cargo.lock")).unwrap();
        for (name, newest) in [("good", 99), ("bad", 2)] {
            this.write(&format!("{name}/version.json"), "{\"cuda\": {\"version\": \"12.4.1\"}}");
            this.write(&format!("{name}/bin/nvcc"), "");
            this.executable(&format!("{name}/bin/nvcc"));
            this.write(&format!("{name}/include/cuda.h"), "#define CUDA_VERSION 12040\n");
            this.write(
                &format!("{name}/include/crt/host_config.h"),
                &format!("#if __GNUC__ > {newest}\n#error -- unsupported GNU version! gcc versions later than {newest} are not supported!\n#endif\n"),
            );
        }
        this
    }

    fn manifest(&self, more: &str, script: &str) {
        let doctor = env!("CARGO_MANIFEST_DIR");
        self.write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"downstream\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}\n[workspace]\n\
                 [dependencies]\nbindgen_cuda = {{ path = \"bindgen_cuda\" }}\n\
                 [build-dependencies]\ncargo-gpu-doctor = {{ path = {doctor:?}, default-features = false }}\n"
            ),
        );
        self.write(
            "build.rs",
            &format!(
                "use std::io::Write;\nfn main() {{\n    let path = concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/ran\");\n    \
                 let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();\n    \
                 writeln!(file, \"ran\").unwrap();\n    {script}\n}}\n"
            ),
        );
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Cargo goes by the time of the last change.
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            fs::write(path, text).unwrap();
        }
    }

    fn executable(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(self.folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn build(&self, toolkit: &str, more: &[(&str, &str)]) -> Built {
        let count = || fs::read_to_string(self.folder.join("ran")).unwrap_or_default().lines().count();
        let before = count();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--offline", "--color", "never"]).current_dir(&self.folder).env_clear();
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("CARGO_TARGET_DIR", self.folder.join("target"));
        // The toolkit is the one that every build script finds, and no GPU has to be asked.
        let toolkit = self.folder.join(toolkit);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}/bin:{path}", toolkit.display())).env("CUDA_COMPUTE_CAP", "90");
        command.env("CUDA_PATH", toolkit).envs(more.iter().copied());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        Built { passed: output.status.success(), said, ran: count() > before }
    }

    fn passes(&self, toolkit: &str, more: &[(&str, &str)]) -> Built {
        let built = self.build(toolkit, more);
        assert!(built.passed, "{toolkit} {more:?}: {}", built.said);
        built
    }

    fn fails(&self, toolkit: &str, more: &[(&str, &str)]) -> String {
        let built = self.build(toolkit, more);
        assert!(!built.passed, "{toolkit} {more:?}: {}", built.said);
        built.said
    }
}

#[test]
fn a_downstream_crate_is_checked_as_it_is_built() {
    let crate_ = Downstream::new();

    // A healthy project builds, and nothing is said or done again.
    let first = crate_.passes("good", &[]);
    assert!(!first.said.contains("warning: downstream"), "{}", first.said);
    for (why, more) in [("nothing changed", ("A", "")), ("a variable that nobody reads", ("UNRELATED", "1"))] {
        assert!(!crate_.passes("good", &[more]).ran, "{why}");
    }
    crate_.write("src/main.rs", "fn main() { println!(); }\n");
    assert!(!crate_.passes("good", &[]).ran, "a source file is no reason");
    crate_.write("src/main.rs", "fn main() {}\n");

    // A variable on which the verdict rests.
    let said = crate_.fails("bad", &[]);
    let title = "error: downstream@0.1.0: ";
    assert!(said.contains(title) && said.contains("[host-compiler-unsupported]"), "{said}");
    assert!(said.contains("error: downstream@0.1.0:   help: "), "{said}");
    assert!(said.contains("GPU_DOCTOR_SKIP=1 builds without this check"), "{said}");

    // The ways out.
    crate_.passes("bad", &[("GPU_DOCTOR_SKIP", "1")]);
    crate_.fails("bad", &[]);
    crate_.passes("bad", &[("DOCS_RS", "1")]);
    crate_.fails("bad", &[]);
    crate_.write("gpu-doctor.toml", "[rules]\nhost-compiler-unsupported = \"warn\"\n");
    let said = crate_.passes("bad", &[]).said;
    assert!(said.contains("warning: downstream@0.1.0: ") && said.contains("[host-compiler-unsupported]"), "{said}");
    assert!(!crate_.passes("bad", &[]).ran);
    crate_.write("gpu-doctor.toml", "[rules]\nhost-compiler-unsupported = \"deny\"\n");
    crate_.fails("bad", &[]);
    crate_.write("gpu-doctor.toml", "[rules]\nhost-compiler-unsuported = \"deny\"\n");
    let said = crate_.fails("good", &[]);
    assert!(said.contains("gpu-doctor.toml:2:1: unknown rule `host-compiler-unsuported`"), "{said}");
    fs::remove_file(crate_.folder.join("gpu-doctor.toml")).unwrap();

    // Files on which the verdict rests.
    assert!(crate_.passes("good", &[]).ran);
    let lock = fs::read_to_string(crate_.folder.join("Cargo.lock")).unwrap();
    fs::write(crate_.folder.join("Cargo.lock"), lock).unwrap();
    assert!(crate_.passes("good", &[]).ran, "the lock file is read");
    fs::write(crate_.folder.join("good/version.json"), "{\"cuda\": {\"version\": \"12.4.1\"}}").unwrap();
    assert!(crate_.passes("good", &[]).ran, "the toolkit's version is read");
    assert!(!crate_.passes("good", &[]).ran);

    // The builder, and a package that may not have Cargo's newer lines.
    crate_.manifest(
        "rust-version = \"1.70\"",
        "gpu_doctor::build_script::Check::new().warn(\"host-compiler-unsupported\").run();",
    );
    crate_.passes("good", &[]);
    let said = crate_.passes("bad", &[]).said;
    assert!(said.contains("warning: downstream@0.1.0: "), "{said}");
    crate_.manifest("rust-version = \"1.70\"", "gpu_doctor::build_script::check();");
    let said = crate_.fails("bad", &[]);
    assert!(said.contains("[host-compiler-unsupported]"), "{said}");
}
