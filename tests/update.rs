//! `db verify` and `db update` against a local server: networks that fail, packages that disagree, documents that lie.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests stand outside of the seam: they lay out files")]

#[path = "support/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use gpu_doctor::db::document::Document;
use gpu_doctor::db::lint;
use gpu_doctor::db::{Database, Day, overlay};
use gpu_doctor::host::Host;
use gpu_doctor::update::derive::{DeriveError, keras};
use gpu_doctor::update::http::{Http, NetError, Part, Settings, Wanted, address};
use gpu_doctor::update::index::{self, Index, IndexError};
use gpu_doctor::update::renew::{self, RenewError, Renewed};
use gpu_doctor::update::verify::{self, Verified};
use gpu_doctor::update::wheel::{Hints, WheelError};
use minisign::{KeyPair, SecretKey};
use server::{Reply, Server, wheel};
use snapbox::cmd::{Command, cargo_bin};

/// A client without patience.
fn http() -> Http {
    let settings = Settings {
        timeout: Duration::from_secs(1),
        retries: 2,
        pause: Duration::from_millis(1),
        direct: true,
        ..Settings::default()
    };
    Http::new(settings).unwrap()
}

fn page(url: &str) -> Result<Vec<u8>, NetError> {
    http().page(&address(url).unwrap(), "*/*", 1000).map(|page| page.bytes)
}

#[test]
fn failures_that_may_pass_are_tried_again() {
    let server = Server::start();
    let ok = Reply::Page("text/plain", b"here".to_vec());
    assert_eq!(page(&server.put("/once", Reply::First(1, 503, Box::new(ok.clone())))).unwrap(), b"here");
    assert_eq!(server.hits("/once"), 2);
    assert!(matches!(page(&server.put("/broken", Reply::Status(500))), Err(NetError::Status(_, 500, _))));
    assert_eq!(server.hits("/broken"), 3);
    assert!(matches!(page(&server.put("/absent", Reply::Status(404))), Err(NetError::Status(_, 404, _))));
    assert_eq!(server.hits("/absent"), 1);
    assert!(matches!(page(&server.put("/cut", Reply::Cut(b"abc".to_vec(), 10))), Err(NetError::Truncated(..))));
    assert_eq!(server.hits("/cut"), 3);
    server.put("/here", ok);
    assert_eq!(page(&server.put("/moved", Reply::Redirect("/here".to_owned()))).unwrap(), b"here");
    assert!(matches!(page(&server.put("/round", Reply::Redirect("/round".to_owned()))), Err(NetError::Redirect(..))));
}

#[test]
fn no_answer_lasts_for_ever() {
    let server = Server::start();
    let begin = std::time::Instant::now();
    let once = Settings { timeout: Duration::from_secs(1), retries: 0, direct: true, ..Settings::default() };
    let once = Http::new(once).unwrap();
    for (path, reply) in [("/silence", Reply::Silence), ("/drip", Reply::Drip)] {
        let url = address(&server.put(path, reply)).unwrap();
        let result = once.page(&url, "*/*", 10 << 20);
        assert!(matches!(result, Err(NetError::Slow(_, 1))), "{path}: {result:?}");
    }
    let url = address(&server.put("/endless", Reply::Endless)).unwrap();
    assert!(matches!(once.page(&url, "*/*", 100_000), Err(NetError::TooLong(_, 100_000))));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_is_not_there_is_told_by_what_is_wrong() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = page(&format!("http://me:secret@127.0.0.1:{port}/x?token=1")).unwrap_err();
    assert!(matches!(refused, NetError::Connect(..)), "{refused:?}");
    assert!(!refused.to_string().contains("secret") && !refused.to_string().contains("token"), "{refused}");
    let unknown = page("http://no-such-name.invalid/").unwrap_err();
    assert!(matches!(unknown, NetError::Name(_)), "{unknown:?}");
    // Plain text where a handshake was expected.
    let server = Server::start();
    assert!(page(&server.address.replace("http:", "https:")).is_err());
}

#[test]
fn parts_are_those_that_were_asked_for_or_an_error() {
    let server = Server::start();
    let bytes: Vec<u8> = (0..=255).collect();
    let part = |url: &str, wanted| http().part(&address(url).unwrap(), &wanted);
    let good = server.put("/good", Reply::File(bytes.clone()));
    assert_eq!(part(&good, Wanted::Last(6)), Ok(Part::Of(250, 256, bytes[250..].to_vec())));
    assert_eq!(part(&good, Wanted::Bytes(3..5)), Ok(Part::Of(3, 256, vec![3, 4])));
    assert_eq!(part(&good, Wanted::Bytes(250..999)), Ok(Part::Of(250, 256, bytes[250..].to_vec())));
    let whole = server.put("/whole", Reply::WholeFile(bytes.clone()));
    assert_eq!(part(&whole, Wanted::Last(6)), Ok(Part::Whole(bytes.clone())));
    let large = server.put("/large", Reply::WholeFile(vec![0; 9 << 20]));
    assert!(matches!(part(&large, Wanted::Last(6)), Err(NetError::WholeOnly(_))));
    let wrong = server.put("/wrong", Reply::WrongPart(bytes));
    assert!(matches!(part(&wrong, Wanted::Bytes(3..5)), Err(NetError::WrongRange(..))));
    assert!(matches!(part(&wrong, Wanted::Last(6)), Err(NetError::WrongRange(..))));
}

/// An index in miniature.
struct World {
    server: Server,
    index: Index,
}

const METADATA: &str = "Metadata-Version: 2.1\nName: tensorflow\nVersion: 99.0.0\nRequires-Python: >=3.10\n\
                        Requires-Dist: keras>=99.0.0\nRequires-Dist: nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == \"and-cuda\"\n\
                        Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == \"and-cuda\"\n";
const BUILD: &str = "build_info = {'cuda_version': '12.5.1', 'cudnn_version': '9', 'is_cuda_build': True, \
                     'cuda_compute_capabilities': ['sm_80', 'compute_90']}\n";
const KERAS: &str = "Metadata-Version: 2.1\nName: keras\nVersion: 99.0.0\nRequires-Python: >=3.10\n";
const BACKENDS: &str = "if backend() == \"tensorflow\":\n    pass\nelif backend() == \"jax\":\n    pass\n";

const TENSORFLOW_WHEELS: [&str; 2] = [
    "tensorflow-99.0.0-cp312-cp312-manylinux_2_27_x86_64.whl",
    "tensorflow-99.0.0-cp313-cp313-manylinux_2_27_x86_64.whl",
];
const KERAS_WHEEL: &str = "keras-99.0.0-py3-none-any.whl";

impl World {
    fn new() -> Self {
        let server = Server::start();
        let url = address(&format!("{}/simple/", server.address)).unwrap();
        let world = Self { server, index: Index { url, from: "the test".to_owned(), certificates: None } };
        world.tensorflow(METADATA, BUILD);
        world.keras(KERAS, BACKENDS);
        for project in ["tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tf-keras"] {
            world.page(project, &[]);
        }
        world.manifests(&newest_driver());
        world
    }

    fn page(&self, project: &str, files: &[&str]) {
        let files: Vec<_> = files
            .iter()
            .map(|name| serde_json::json!({"filename": name, "url": format!("/f/{name}"), "hashes": {}}))
            .collect();
        let page = serde_json::json!({"meta": {"api-version": "1.0"}, "name": project, "files": files});
        let kind = "application/vnd.pypi.simple.v1+json";
        self.server.put(&format!("/simple/{project}/"), Reply::Page(kind, page.to_string().into_bytes()));
    }

    fn tensorflow(&self, metadata: &str, build: &str) {
        self.page("tensorflow", &TENSORFLOW_WHEELS);
        let bytes = wheel(&[
            ("tensorflow/python/platform/build_info.py", build),
            ("tensorflow-99.0.0.dist-info/METADATA", metadata),
        ]);
        for name in TENSORFLOW_WHEELS {
            self.server.put(&format!("/f/{name}"), Reply::File(bytes.clone()));
        }
    }

    fn keras(&self, metadata: &str, backends: &str) {
        self.page("keras", &[KERAS_WHEEL]);
        let bytes =
            wheel(&[("keras/src/backend/__init__.py", backends), ("keras-99.0.0.dist-info/METADATA", metadata)]);
        self.server.put(&format!("/f/{KERAS_WHEEL}"), Reply::File(bytes));
    }

    /// Manifests in the shape that NVIDIA documents, and the pages that list them.
    fn manifests(&self, driver: &str) {
        let list = |path: &str, names: &[&str]| {
            let anchors: Vec<String> = names.iter().map(|name| format!("<a href='{name}'>{name}</a>")).collect();
            let anchors = anchors.join("\n");
            self.server.put(path, Reply::Page("text/html", format!("<html>{anchors}</html>").into_bytes()));
        };
        list("/nv/compute/cuda/redist/", &["redistrib_12.4.1.json", "redistrib_13.99.0.json"]);
        list("/nv/compute/cudnn/redist/", &["redistrib_9.1.0.json", "redistrib_99.1.0.json"]);
        let cuda = serde_json::json!({
            "release_date": "2030-01-01", "release_label": "13.99.0", "release_product": "cuda",
            "cuda_cudart": {"name": "CUDA Runtime (cudart)", "license": "CUDA Toolkit", "version": "13.99.5",
                "linux-x86_64": {"relative_path": "x.tar.xz", "sha256": "00", "md5": "00", "size": "1"}},
            "nvidia_driver": {"name": "NVIDIA Linux Driver", "license": "NVIDIA Driver", "version": driver,
                "linux-x86_64": {"relative_path": "y.tar.xz", "sha256": "00", "md5": "00", "size": "1"}}});
        let cudnn = serde_json::json!({
            "release_date": "2030-01-01", "release_label": "99.1.0", "release_product": "cudnn",
            "cudnn": {"name": "NVIDIA CUDA Deep Neural Network library", "license": "cudnn", "version": "99.1.0.5",
                "cuda_variant": ["12", "13"],
                "linux-x86_64": {"cuda12": {"relative_path": "a"}, "cuda13": {"relative_path": "b"}}}});
        for (path, manifest) in [
            ("/nv/compute/cuda/redist/redistrib_13.99.0.json", cuda),
            ("/nv/compute/cudnn/redist/redistrib_99.1.0.json", cudnn),
        ] {
            self.server.put(path, Reply::Page("application/json", manifest.to_string().into_bytes()));
        }
    }

    fn wish(&self, curated: Option<(&str, &str)>) -> renew::Wish {
        renew::Wish {
            nvidia: address(&format!("{}/nv/", self.server.address)).unwrap(),
            curated: curated.map(|(url, key)| (address(url).unwrap(), key.to_owned())),
            jobs: 4,
        }
    }

    fn update(&self, data: &Path) -> Renewed {
        renew::online(&host(data), &http(), Ok(&self.index), &self.wish(None), &()).unwrap()
    }

    fn verify(&self, db: &Database) -> Verified {
        let wish =
            verify::Wish { newest: None, packages: vec!["tensorflow".into(), "keras".into()], deep: false, jobs: 2 };
        verify::verify(db, &http(), &self.index, &wish, &())
    }
}

/// The newest driver of the table: a newer toolkit needs no older one.
fn newest_driver() -> String {
    let drivers = Database::embedded().cuda_rows().iter().filter_map(|row| row.driver_linux.clone());
    drivers.max().unwrap().to_string()
}

/// This machine, with another place for data.
fn host(data: &Path) -> Host {
    let env = BTreeMap::from([("XDG_DATA_HOME".to_owned(), data.to_str().unwrap().to_owned())]);
    Host::here_with(env).unwrap()
}

/// A database that says of TensorFlow and Keras 99 what their wheels say, but for one change.
fn database(from: &str, to: &str) -> Database {
    let files: BTreeMap<String, String> = lint::FILES
        .iter()
        .map(|name| {
            let text = match *name {
                "meta.toml" => "schema = 1\nrevision = 1\ndate = 2026-01-01\nlicense = \"MIT\"\n",
                "tensorflow.toml" => {
                    "[[tensorflow]]\npackage = \"tensorflow\"\nplatform = \"linux-x86_64\"\nversion = \"99.0.0\"\n\
                     python = \">=3.12,<3.14\"\ncuda_build = true\ncuda = \"12.5.1\"\ncudnn = \"9.3.0\"\n\
                     compute = [\"sm_80\", \"compute_90\"]\nkeras = \">=99.0.0\"\nlibraries = [\"libcudart.so.12\"]\n\
                     and_cuda = { nvidia-cudnn-cu12 = \">=9.3.0.75,<10.0\", nvidia-cublas-cu12 = \">=12.5.3.2,<13.0\" }\n\
                     source = \"pkg:pypi/tensorflow@99.0.0#METADATA\"\nchecked = 2026-01-01\n"
                }
                "keras.toml" => {
                    "[[keras]]\npackage = \"keras\"\nversion = \"99.0.0\"\npython = \">=3.10\"\n\
                     backends = [\"tensorflow\", \"jax\"]\nsource = \"pkg:pypi/keras@99.0.0#METADATA\"\nchecked = 2026-01-01\n"
                }
                _ => "",
            };
            ((*name).to_owned(), text.replace(from, to))
        })
        .collect();
    let (tables, faults) = lint::lint(&files, "", None);
    assert!(faults.is_empty(), "{faults:?}");
    Database::from_tables(tables, "test").unwrap()
}

#[test]
fn each_figure_that_differs_is_a_disagreement() {
    let world = World::new();
    let clean = world.verify(&database("", ""));
    assert_eq!((&clean.disagreements, &clean.missing, &clean.failures), (&vec![], &vec![], &vec![]));
    assert_eq!(clean.rows, BTreeMap::from([("keras", 1), ("tensorflow", 1)]));
    assert!(clean.bytes > 0 && clean.figures.len() >= 10, "{:?}", clean.figures);
    for (column, from, to) in [
        ("python", ">=3.12,<3.14", ">=3.11,<3.14"),
        ("cuda", "cuda = \"12.5.1\"", "cuda = \"12.5.0\""),
        ("cudnn", "9.3.0\"", "9.4.0\""),
        ("compute", "\"sm_80\", ", ""),
        ("keras", "keras = \">=99.0.0\"", "keras = \">=98.0.0\""),
        ("and_cuda", ">=12.5.3.2,<13.0", "==12.5.3.2"),
        ("and_cuda", "nvidia-cublas-cu12", "nvidia-cufft-cu12"),
        ("backends", "\"jax\"", "\"torch\""),
        ("python", "python = \">=3.10\"", "python = \">=3.9\""),
    ] {
        let found = world.verify(&database(from, to)).disagreements;
        assert!(!found.is_empty() && found.iter().all(|it| it.column == column), "{from} -> {to}: {found:?}");
    }
    let found = world.verify(&database("99.0.0\"\npython = \">=3.12", "98.0.0\"\npython = \">=3.12"));
    assert!(found.disagreements.iter().any(|it| it.column == "version"), "{:?}", found.disagreements);
    assert_eq!(found.missing.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["tensorflow 99.0.0 linux-x86_64"]);
    // The order of the parts of a requirement means nothing.
    world.tensorflow(&METADATA.replace("<10.0,>=9.3.0.75", "(>=9.3.0.75, <10.0)"), BUILD);
    assert_eq!(world.verify(&database("", "")).disagreements, []);
}

#[test]
fn what_cannot_be_asked_is_no_agreement() {
    let world = World::new();
    world.server.put("/simple/keras/", Reply::Status(500));
    let path = format!("/f/{}", TENSORFLOW_WHEELS[1]);
    world.server.put(&path, Reply::Cut(b"PK".to_vec(), 100));
    let found = world.verify(&database("", ""));
    assert_eq!(found.failures.len(), 2, "{:?}", found.failures);
    assert_eq!(found.rows, BTreeMap::new());
    world.server.put("/simple/tensorflow/", Reply::Page("text/plain", b"welcome to the hotel".to_vec()));
    let found = world.verify(&database("", ""));
    assert!(found.failures.iter().any(|it| it.why.contains("no page of a package index")), "{:?}", found.failures);
}

#[test]
fn hashes_that_do_not_fit_are_told() {
    let world = World::new();
    let text = |file: &str, hash: &str, core: &str| {
        format!(
            r#"{{"meta":{{"api-version":"1.0"}},"files":[{{"filename":"{file}","url":"/f/{file}","hashes":{{"sha256":"{hash}"}}{core}}}]}}"#
        )
    };
    let ask = |page: String| {
        world.server.put("/simple/keras/", Reply::Page("application/vnd.pypi.simple.v1+json", page.into_bytes()));
        let files = index::files(&http(), &world.index, "keras").unwrap().unwrap();
        keras(&http(), &files[0], &Hints::default())
    };
    let wrong = "0".repeat(64);
    let bytes = wheel(&[("keras-99.0.0.dist-info/METADATA", KERAS)]);
    world.server.put(&format!("/f/{KERAS_WHEEL}"), Reply::WholeFile(bytes));
    let result = ask(text(KERAS_WHEEL, &wrong, ""));
    assert!(matches!(result, Err(DeriveError::Wheel(WheelError::Net(NetError::Hash(..))))), "{result:?}");
    world.server.put(&format!("/f/{KERAS_WHEEL}.metadata"), Reply::Page("text/plain", KERAS.as_bytes().to_vec()));
    let result = ask(text(KERAS_WHEEL, &wrong, &format!(r#","core-metadata":{{"sha256":"{wrong}"}}"#)));
    assert!(matches!(result, Err(DeriveError::Wheel(WheelError::Net(NetError::Hash(..))))), "{result:?}");
    let ask = index::files(&http(), &world.index, "no-such-project");
    assert_eq!(ask, Ok(None));
    world.server.put("/simple/odd/", Reply::Page("application/json", b"{}".to_vec()));
    assert!(matches!(index::files(&http(), &world.index, "odd"), Err(IndexError::Page(..))));
}

fn derived(data: &Path) -> String {
    std::fs::read_to_string(data.join("cargo-gpu-doctor/derived.json")).unwrap_or_default()
}

#[test]
fn an_update_adds_what_is_new_and_overrides_nothing() {
    let world = World::new();
    let data = tempfile::tempdir().unwrap();
    let first = world.update(data.path());
    assert_eq!((&first.failures, &first.refused), (&vec![], &vec![]));
    let mut added = first.added.clone();
    added.sort();
    assert_eq!(
        added,
        [
            "cuda 13.99.0",
            "cudnn 99.1.0 for CUDA 12",
            "cudnn 99.1.0 for CUDA 13",
            "keras 99.0.0",
            "tensorflow 99.0.0 linux-x86_64"
        ]
    );
    let installed = overlay::installed(&host(data.path()));
    assert_eq!(installed.meta().origin, "overlay");
    let row = installed.tensorflow("tensorflow", "linux-x86_64", "99.0.0").unwrap();
    assert!(row.derived && row.cuda_build);
    assert_eq!(row.python.as_deref(), Some(">=3.12,<3.14"));
    assert_eq!((row.cuda.as_ref().unwrap().as_str(), row.cudnn.as_ref().unwrap().as_str()), ("12.5.1", "9.3.0"));
    let row = installed.cuda_rows().iter().find(|row| row.derived).unwrap();
    assert_eq!(row.driver_linux.as_ref().unwrap().as_str(), newest_driver());
    assert!(row.floor_linux.is_some());
    assert_eq!(installed.cudnn_rows().len(), Database::embedded().cudnn_rows().len() + 2);
    // A second time nothing is new, and the document stays as it is.
    let text = derived(data.path());
    let second = world.update(data.path());
    assert_eq!((second.added.len(), second.written), (0, None));
    assert_eq!(derived(data.path()), text);
}

#[test]
fn what_the_linter_refuses_is_left_out_alone() {
    let world = World::new();
    let data = tempfile::tempdir().unwrap();
    // No such branch of the driver is known, and no Keras fits.
    world.manifests("9999.10.01");
    world.tensorflow(&METADATA.replace("keras>=99.0.0", "keras>=100"), BUILD);
    let out = world.update(data.path());
    let refused: Vec<&str> = out.refused.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(refused, ["cuda 13.99.0", "tensorflow 99.0.0 linux-x86_64"]);
    assert!(out.refused[0].why.contains("branch 9999"), "{:?}", out.refused);
    assert_eq!(out.added, ["keras 99.0.0", "cudnn 99.1.0 for CUDA 12", "cudnn 99.1.0 for CUDA 13"]);
    assert!(overlay::installed(&host(data.path())).keras("keras", "99.0.0").is_some());
}

#[test]
fn half_an_update_is_kept_and_no_network_loses_nothing() {
    let world = World::new();
    let data = tempfile::tempdir().unwrap();
    world.server.put("/simple/tensorflow/", Reply::Status(503));
    world.server.put("/nv/compute/cuda/redist/", Reply::Silence);
    let half = world.update(data.path());
    assert_eq!(half.failures.len(), 2, "{:?}", half.failures);
    assert_eq!(half.added, ["keras 99.0.0", "cudnn 99.1.0 for CUDA 12", "cudnn 99.1.0 for CUDA 13"]);
    let document = Document::parse(&derived(data.path())).unwrap();
    assert_eq!(document.date.as_str(), Database::embedded().meta().date, "half an update is not up to date");

    let text = derived(data.path());
    let gone = World { server: Server::start(), index: world.index.clone() };
    for path in ["/simple/keras/", "/simple/tensorflow/"] {
        world.server.put(path, Reply::Cut(Vec::new(), 5));
    }
    let offline = renew::online(&host(data.path()), &http(), Ok(&gone.index), &gone.wish(None), &()).unwrap();
    assert!(!offline.failures.is_empty());
    assert_eq!((derived(data.path()), offline.derived), (text, 3));
    let none = renew::online(&host(data.path()), &http(), Err("no index".to_owned()), &world.wish(None), &()).unwrap();
    assert!(none.failures.iter().any(|it| it.why == "no index"));
}

#[test]
fn an_overlay_of_a_newer_program_is_left_as_it_is() {
    let world = World::new();
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("cargo-gpu-doctor/derived.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, r#"{"schema": 2, "all": "different"}"#).unwrap();
    let result = renew::online(&host(data.path()), &http(), Ok(&world.index), &world.wish(None), &());
    assert!(matches!(result, Err(RenewError::Overlay(_))), "{result:?}");
    assert_eq!(derived(data.path()), r#"{"schema": 2, "all": "different"}"#);
}

/// Curated data of a revision, as it would be published.
fn curated(revision: u32, change: impl FnOnce(&mut Document)) -> Vec<u8> {
    let meta = Database::embedded().meta();
    let date = Day::new(&meta.date).unwrap();
    let mut document =
        Document { schema: meta.schema, revision, date, origin: None, tables: Database::embedded().rows() };
    change(&mut document);
    document.text().unwrap().into_bytes()
}

fn sign(bytes: &[u8], key: &SecretKey) -> Vec<u8> {
    minisign::sign(None, key, Cursor::new(bytes), None, None).unwrap().into_string().into_bytes()
}

#[test]
fn only_a_newer_database_with_the_right_signature_is_installed() {
    let world = World::new();
    let data = tempfile::tempdir().unwrap();
    let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().unwrap();
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let key = pk.to_base64();
    let here = Database::embedded().meta().revision;
    let file = data.path().join("cargo-gpu-doctor/curated.json");
    let serve = |bytes: &[u8], signature: Vec<u8>| {
        let url = world.server.put("/db.json", Reply::Page("application/json", bytes.to_vec()));
        world.server.put("/db.json.minisig", Reply::Page("text/plain", signature));
        let wish = world.wish(Some((&url, &key)));
        renew::online(&host(data.path()), &http(), Ok(&world.index), &wish, &()).unwrap()
    };
    let good = curated(here + 2, |document| document.tables.keras[0].note = Some("compared again".to_owned()));
    let refused = |out: &Renewed, why: &str| {
        assert!(out.failures.iter().any(|it| it.why.contains(why)), "{why}: {:?}", out.failures);
        assert_eq!(out.installed, None);
    };
    refused(&serve(&good, sign(&good, &other.sk)), "does not fit");
    let mut changed = good.clone();
    changed.extend(b" ");
    refused(&serve(&changed, sign(&good, &sk)), "does not fit");
    refused(&serve(&good, b"nonsense".to_vec()), "no minisign signature");
    let newer = br#"{"schema": 2, "revision": 99, "tables": {}}"#;
    refused(&serve(newer, sign(newer, &sk)), "schema 2");
    let faulty = curated(here + 2, |document| document.tables.cudnn.reverse());
    refused(&serve(&faulty, sign(&faulty, &sk)), "faults");
    let marked = curated(here + 2, |document| document.tables.keras[0].derived = true);
    refused(&serve(&marked, sign(&marked, &sk)), "derived row has no place");
    assert!(!file.exists());

    assert_eq!(serve(&good, sign(&good, &sk)).installed, Some(here + 2));
    let installed = overlay::installed(&host(data.path()));
    assert_eq!(installed.keras_rows()[0].note.as_deref(), Some("compared again"));
    assert_eq!((installed.meta().revision, installed.meta().origin.as_str()), (here + 2, "overlay"));
    assert!(installed.keras("keras", "99.0.0").is_some(), "derived rows stay on the new ground");
    // An older one that was signed in its time is served again.
    let old = curated(here + 1, |_| {});
    refused(&serve(&old, sign(&old, &sk)), "served again");
    assert_eq!(serve(&good, sign(&good, &sk)).installed, None);
    assert_eq!(overlay::installed(&host(data.path())).meta().revision, here + 2);
}

#[test]
fn a_machine_without_a_network_takes_a_file() {
    let world = World::new();
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    world.update(there.path());
    let file = here.path().join("export.json");
    std::fs::write(&file, overlay::installed(&host(there.path())).export().to_string()).unwrap();
    let out = renew::from_file(&host(here.path()), &file, None).unwrap();
    assert_eq!((out.added.len(), out.derived), (5, 5));
    assert!(overlay::installed(&host(here.path())).tensorflow("tensorflow", "linux-x86_64", "99.0.0").unwrap().derived);
    // Nothing unsigned takes the place of a curated row.
    let lying = curated(Database::embedded().meta().revision, |document| {
        document.tables.cudnn[0].compute_min = Some("1.0".parse().unwrap());
    });
    std::fs::write(&file, lying).unwrap();
    assert_eq!(renew::from_file(&host(here.path()), &file, None).unwrap().added, [""; 0]);
    assert_eq!(overlay::installed(&host(here.path())).cudnn_rows()[0], Database::embedded().cudnn_rows()[0]);

    for (text, says) in [("nonsense", "no database"), (r#"{"schema": 9}"#, "schema 9")] {
        std::fs::write(&file, text).unwrap();
        let error = renew::from_file(&host(here.path()), &file, None).unwrap_err();
        assert!(matches!(&error, RenewError::File(..)) && error.to_string().contains(says), "{error}");
    }
    let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().unwrap();
    let revision = Database::embedded().meta().revision + 1;
    let bytes = curated(revision, |_| {});
    std::fs::write(&file, &bytes).unwrap();
    std::fs::write(here.path().join("export.json.minisig"), sign(&bytes, &sk)).unwrap();
    assert!(renew::from_file(&host(here.path()), &file, None).unwrap_err().to_string().contains("--public-key"));
    let out = renew::from_file(&host(here.path()), &file, Some(&pk.to_base64())).unwrap();
    assert_eq!(out.installed, Some(revision));
    assert_eq!(overlay::installed(&host(here.path())).meta().revision, revision);
}

fn doctor(dir: &Path) -> Command {
    Command::new(cargo_bin!("cargo-gpu-doctor"))
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("XDG_DATA_HOME", dir)
        .env("NO_PROXY", "*")
        .current_dir(dir)
}

#[test]
fn the_exit_code_tells_how_it_went() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let simple = format!("{}/simple", world.server.address);
    let verify =
        |args: &[&str]| doctor(dir.path()).args(["db", "verify", "--package", "keras", "--timeout", "5"]).args(args);
    // The table has every Keras but this one; this index has no other.
    let output = verify(&["--index-url", &simple, "--newest", "1", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(100));
    assert!(output.stderr.is_empty(), "no progress where there is no terminal");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "disagreement");
    assert_eq!(report["missing"][0]["key"], "keras 99.0.0");
    assert!(report["bytes"].as_u64().unwrap() > 0);
    verify(&["--index-url", "nonsense"]).assert().code(2);
    verify(&["--index-url", "http://127.0.0.1:1/simple"]).assert().code(101);
    let nvidia = format!("{}/nv", world.server.address);
    let update = |args: &[&str]| doctor(dir.path()).args(["db", "update"]).args(args);
    let output = update(&["--index-url", &simple, "--nvidia-url", &nvidia]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("added tensorflow 99.0.0 linux-x86_64"), "{said}");
    update(&["--from", "missing.json"]).assert().code(2);
    update(&["--curated", "http://127.0.0.1:1/db.json"]).assert().code(2);
    let said = doctor(dir.path()).args(["db", "query", "tensorflow", "99.0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("derived        yes"), "{said:?}");
    let checked =
        doctor(dir.path()).args(["check", "--format", "json", "--root", ".", "--gpu", "none"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["database"]["origin"], "overlay");
    let broken = dir.path().join("cargo-gpu-doctor/derived.json");
    std::fs::write(broken, "nonsense").unwrap();
    let checked = doctor(dir.path()).args(["check", "--root", ".", "--gpu", "none"]).output().unwrap();
    assert!(String::from_utf8_lossy(&checked.stderr).starts_with("warning: "), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("(embedded)"), "{checked:?}");
}
