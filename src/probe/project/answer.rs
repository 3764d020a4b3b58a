//! The part of `cargo metadata`'s answer that is read, borrowed from its text; understands nothing of it.
//!
//! Of a workspace of three hundred packages Cargo says a megabyte, and of that little is asked here. A crate that reads
//! all of it takes four times as long.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;

/// A text, borrowed where it is written without escapes.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
    }
}

/// All of it.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) packages: Vec<Package<'a>>,
    pub(super) workspace_members: Vec<Text<'a>>,
    /// None from a Cargo before 1.71.
    pub(super) workspace_default_members: Option<Vec<Text<'a>>>,
    pub(super) resolve: Option<Resolve<'a>>,
    pub(super) workspace_root: Text<'a>,
}

/// A package.
#[derive(Debug, Deserialize)]
pub(super) struct Package<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    pub(super) version: Text<'a>,
    pub(super) id: Text<'a>,
    pub(super) dependencies: Vec<Dependency<'a>>,
    pub(super) targets: Vec<Target<'a>>,
    pub(super) features: BTreeMap<Text<'a>, Vec<Text<'a>>>,
    pub(super) manifest_path: Text<'a>,
}

/// What a package asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    pub(super) source: Option<Text<'a>>,
    pub(super) req: Text<'a>,
    /// `dev`, `build`, or none.
    pub(super) kind: Option<Text<'a>>,
    pub(super) optional: bool,
    pub(super) uses_default_features: bool,
    pub(super) features: Vec<Text<'a>>,
    pub(super) target: Option<Text<'a>>,
    pub(super) rename: Option<Text<'a>>,
    pub(super) path: Option<Text<'a>>,
}

impl Dependency<'_> {
    /// Whether it is asked for by the build script.
    pub(super) fn is_of_build(&self) -> bool {
        self.kind.as_deref() == Some("build")
    }
}

/// What a package is compiled to.
#[derive(Debug, Deserialize)]
pub(super) struct Target<'a> {
    #[serde(borrow)]
    pub(super) kind: Vec<Text<'a>>,
    #[serde(default, rename = "required-features")]
    pub(super) required_features: Vec<Text<'a>>,
}

/// The graph.
#[derive(Debug, Deserialize)]
pub(super) struct Resolve<'a> {
    #[serde(borrow)]
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Option<Text<'a>>,
}

/// A package of the graph.
#[derive(Debug, Deserialize)]
pub(super) struct Node<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(default)]
    pub(super) deps: Vec<Chosen<'a>>,
}

/// The package that was chosen for a dependency.
#[derive(Debug, Deserialize)]
pub(super) struct Chosen<'a> {
    #[serde(borrow)]
    pub(super) pkg: Text<'a>,
    #[serde(default)]
    pub(super) dep_kinds: Vec<Kind<'a>>,
}

/// For what it was chosen.
#[derive(Debug, Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(borrow)]
    pub(super) kind: Option<Text<'a>>,
    pub(super) target: Option<Text<'a>>,
}
