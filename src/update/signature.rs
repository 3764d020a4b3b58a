//! Signed databases: whether a document is signed by a key, sound, and newer than what is here; installs nothing.

use minisign_verify::{PublicKey, Signature};

use crate::db::Day;
use crate::db::document::{Document, NotDocument};

/// Why a signed database is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key is none.
    #[error("the public key is no minisign key: {0}")]
    Key(String),
    /// The signature is none.
    #[error("the signature is no minisign signature: {0}")]
    Shape(String),
    /// The signature is another's, or the document was changed.
    #[error("the signature does not fit the document and the key: {0}")]
    Signature(String),
    /// What is signed is no database, or the linter refuses it.
    #[error(transparent)]
    Document(#[from] NotDocument),
    /// It is older than what is here.
    #[error("it has revision {found}, and revision {here} is here already: an old document was served again")]
    Older {
        /// Its revision.
        found: u32,
        /// The revision that is here.
        here: u32,
    },
}

/// Reads a signed document; `here` is the revision that is installed, below which nothing may go.
///
/// None where the revision is the one that is here.
pub fn open(
    bytes: &[u8],
    signature: &str,
    key: &str,
    here: u32,
    today: Option<&Day>,
) -> Result<Option<Document>, Refused> {
    let key = key.trim();
    // The file of a key has a comment above it.
    let key = if key.contains('\n') { PublicKey::decode(key) } else { PublicKey::from_base64(key) }
        .map_err(|error| Refused::Key(error.to_string()))?;
    let signature = Signature::decode(signature).map_err(|error| Refused::Shape(error.to_string()))?;
    // The old form, which hashes nothing first, is not taken.
    key.verify(bytes, &signature, false).map_err(|error| Refused::Signature(error.to_string()))?;
    let text = std::str::from_utf8(bytes).map_err(|_| NotDocument::Shape("not UTF-8".to_owned()))?;
    let document = Document::parse(text)?;
    if document.revision < here {
        return Err(Refused::Older { found: document.revision, here });
    }
    if document.revision == here {
        return Ok(None);
    }
    document.lint(false, today)?;
    Ok(Some(document))
}
