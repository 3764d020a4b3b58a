//! The one seam to the network: fetches pages and parts of files, bounded, with retries; understands no content.
//!
//! Nothing else may build a client (clippy's `disallowed-methods` holds the fence). Proxies come from the
//! environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), certificates from the system's store
//! (`SSL_CERT_FILE`, `SSL_CERT_DIR`) and from what [`Settings::certificates`] adds.

use std::io::Read as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Certificate, StatusCode, Url};

/// A file that a server gives only as a whole is taken where it is at most this long, in bytes.
pub const WHOLE_LIMIT: u64 = 8 << 20;
/// Redirects followed for one request.
const REDIRECTS: usize = 8;
/// No pause between two attempts is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The longest time for one request, its body included.
    pub timeout: Duration,
    /// How often a request is made again after a failure that may pass.
    pub retries: u32,
    /// The wait before the first repetition; it doubles.
    pub pause: Duration,
    /// Certificates to trust beside the system's, as PEM.
    pub certificates: Option<Vec<u8>>,
    /// No proxy, whatever the environment says.
    pub direct: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(1),
            retries: 3,
            pause: Duration::from_millis(500),
            certificates: None,
            direct: false,
        }
    }
}

/// Why something could not be fetched. Addresses are shown without names, passwords and queries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The address itself is wrong.
    #[error("`{0}` is no http or https address")]
    Address(String),
    /// The client could not be made.
    #[error("the network cannot be used: {0}")]
    Setup(String),
    /// The name of the server is unknown.
    #[error("{0}: the name of the server cannot be resolved; is this machine offline, or is a proxy needed?")]
    Name(String),
    /// No connection.
    #[error("{0}: no connection: {1}")]
    Connect(String, String),
    /// The connection is not trusted.
    #[error("{0}: the certificate is not trusted: {1}; SSL_CERT_FILE names a file of more certificates")]
    Tls(String, String),
    /// The proxy refuses.
    #[error("{0}: the proxy refuses: {1}")]
    Proxy(String, String),
    /// It took too long.
    #[error("{0}: no answer within {1} seconds")]
    Slow(String, u64),
    /// The server answered that it will not or cannot.
    #[error("{0}: the server answers {1}{2}")]
    Status(String, u16, &'static str),
    /// Too many redirects, or one to an address that is not allowed.
    #[error("{0}: {1}")]
    Redirect(String, String),
    /// The answer ended too early.
    #[error("{0}: the answer ended too early: {1}")]
    Truncated(String, String),
    /// The answer is longer than anything sensible.
    #[error("{0}: the answer is longer than {1} bytes")]
    TooLong(String, u64),
    /// The server gives whole files only, and this one is large.
    #[error("{0}: the server ignores range requests, and the file would have to be downloaded whole")]
    WholeOnly(String),
    /// Another part than was asked for.
    #[error("{0}: the server sent another range than was asked for: {1}")]
    WrongRange(String, String),
    /// The bytes are not those that were promised.
    #[error("{0}: the SHA-256 is {1}, and {2} was promised")]
    Hash(String, String, String),
}

impl NetError {
    /// Whether the same request may succeed a moment later.
    fn passes(&self) -> bool {
        match self {
            Self::Connect(..) | Self::Slow(..) | Self::Truncated(..) | Self::Name(_) => true,
            Self::Status(_, code, _) => matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its bytes, unpacked.
    pub bytes: Vec<u8>,
    /// Its media type, in lower case and without parameters.
    pub kind: String,
    /// Where it was found in the end.
    pub url: Url,
}

/// An answer to the request for a part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The part: where it begins, how long the file is, its bytes.
    Of(u64, u64, Vec<u8>),
    /// The server sent the whole file, and it is small.
    Whole(Vec<u8>),
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The last bytes.
    Last(u64),
    /// These bytes.
    Bytes(Range<u64>),
}

/// A client that counts what it transfers.
#[derive(Debug)]
pub struct Http {
    client: Client,
    settings: Settings,
    bytes: AtomicU64,
    requests: AtomicU64,
}

/// An address without user, password, query and fragment.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Addresses that cannot have a user have none to hide.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Reads an address.
pub fn address(text: &str) -> Result<Url, NetError> {
    let plain = || text.split('@').next_back().unwrap_or_default().to_owned();
    let url = Url::parse(text.trim()).map_err(|_| NetError::Address(plain()))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(NetError::Address(plain())) }
}

impl Http {
    /// A client.
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the fence protects")]
    pub fn new(settings: Settings) -> Result<Self, NetError> {
        // Another part of the process may have chosen a provider; then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let downgrade = attempt.previous().last().is_some_and(|from| from.scheme() == "https")
                && attempt.url().scheme() != "https";
            if downgrade {
                attempt.error("redirected from https to an address without encryption")
            } else if attempt.previous().len() > REDIRECTS {
                attempt.error("redirected too often")
            } else {
                attempt.follow()
            }
        });
        let mut builder = Client::builder()
            .user_agent(concat!("cargo-gpu-doctor/", env!("CARGO_PKG_VERSION")))
            .redirect(redirects)
            .connect_timeout(settings.timeout.min(Duration::from_secs(15)))
            .timeout(settings.timeout);
        if let Some(pem) = &settings.certificates {
            let more = Certificate::from_pem_bundle(pem)
                .map_err(|error| NetError::Setup(format!("the file of certificates: {error}")))?;
            builder = builder.tls_certs_merge(more);
        }
        if settings.direct {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| NetError::Setup(chain(&error)))?;
        Ok(Self { client, settings, bytes: AtomicU64::new(0), requests: AtomicU64::new(0) })
    }

    /// How many bytes of bodies were received.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many requests were made.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Fetches a page of at most `limit` bytes, unpacked.
    pub fn page(&self, url: &Url, accept: &str, limit: u64) -> Result<Page, NetError> {
        self.patiently(|| {
            let request = self.client.get(url.clone()).header(ACCEPT, accept).header(ACCEPT_ENCODING, "gzip");
            let begin = Instant::now();
            let response = self.send(request, url)?;
            check(&response, url)?;
            let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let kind = header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let packed = header(CONTENT_ENCODING).eq_ignore_ascii_case("gzip");
            let found = response.url().clone();
            let bytes = self.body(response, url, limit, begin)?;
            let bytes = if packed { unpack(&bytes, url, limit)? } else { bytes };
            Ok(Page { bytes, kind, url: found })
        })
    }

    /// Fetches a part of a file.
    pub fn part(&self, url: &Url, wanted: &Wanted) -> Result<Part, NetError> {
        let (range, most) = match wanted {
            Wanted::Last(count) => (format!("bytes=-{count}"), *count),
            Wanted::Bytes(range) if range.is_empty() => return Ok(Part::Of(range.start, range.start, Vec::new())),
            Wanted::Bytes(range) => (format!("bytes={}-{}", range.start, range.end - 1), range.end - range.start),
        };
        self.patiently(|| {
            let begin = Instant::now();
            let response = self.send(self.client.get(url.clone()).header(RANGE, &range), url)?;
            check(&response, url)?;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                if response.content_length().is_none_or(|length| length > WHOLE_LIMIT) {
                    return Err(NetError::WholeOnly(shown(url)));
                }
                return self.body(response, url, WHOLE_LIMIT, begin).map(Part::Whole);
            }
            let says = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let says = says.to_owned();
            let wrong = || NetError::WrongRange(shown(url), format!("`{says}` for `{range}`"));
            let (part, total) = content_range(&says).ok_or_else(wrong)?;
            let fits = match wanted {
                Wanted::Last(count) => part.end == total && part.start == total.saturating_sub(*count),
                // The end of the file may come before the end of what was asked for.
                Wanted::Bytes(range) => part.start == range.start && part.end == range.end.min(total),
            };
            if !fits {
                return Err(wrong());
            }
            let bytes = self.body(response, url, most, begin)?;
            if bytes.len() as u64 != part.end - part.start {
                return Err(NetError::Truncated(
                    shown(url),
                    format!("{} of {} bytes", bytes.len(), part.end - part.start),
                ));
            }
            Ok(Part::Of(part.start, total, bytes))
        })
    }

    fn send(&self, request: reqwest::blocking::RequestBuilder, url: &Url) -> Result<Response, NetError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        request.send().map_err(|error| self.classify(&error, url))
    }

    /// Reads a body of at most `limit` bytes, within the time of one request.
    fn body(&self, mut response: Response, url: &Url, limit: u64, begin: Instant) -> Result<Vec<u8>, NetError> {
        let promised = response.content_length();
        if promised.is_some_and(|length| length > limit) {
            return Err(NetError::TooLong(shown(url), limit));
        }
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            // A body that drips for ever never makes a single read time out.
            if begin.elapsed() > self.settings.timeout {
                return Err(NetError::Slow(shown(url), self.settings.timeout.as_secs()));
            }
            let count = match response.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let slow = error.kind() == std::io::ErrorKind::TimedOut
                        || error
                            .get_ref()
                            .and_then(|inner| inner.downcast_ref::<reqwest::Error>())
                            .is_some_and(reqwest::Error::is_timeout);
                    return Err(if slow {
                        NetError::Slow(shown(url), self.settings.timeout.as_secs())
                    } else {
                        NetError::Truncated(shown(url), chain(&error))
                    });
                }
            };
            self.bytes.fetch_add(count as u64, Ordering::Relaxed);
            bytes.extend_from_slice(&buffer[..count]);
            if bytes.len() as u64 > limit {
                return Err(NetError::TooLong(shown(url), limit));
            }
        }
        if promised.is_some_and(|length| length != bytes.len() as u64) {
            return Err(NetError::Truncated(shown(url), format!("{} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    /// Repeats what fails in a way that may pass, with growing pauses.
    fn patiently<T>(&self, run: impl Fn() -> Result<T, NetError>) -> Result<T, NetError> {
        let mut pause = self.settings.pause;
        for _ in 0..self.settings.retries {
            match run() {
                Err(error) if error.passes() => std::thread::sleep(pause.min(PATIENCE)),
                result => return result,
            }
            pause *= 2;
        }
        run()
    }

    fn classify(&self, error: &reqwest::Error, url: &Url) -> NetError {
        let at = shown(url);
        let why = chain(error);
        let about = why.to_lowercase();
        if error.is_timeout() {
            NetError::Slow(at, self.settings.timeout.as_secs())
        } else if error.is_redirect() {
            NetError::Redirect(at, why)
        } else if about.contains("proxy") || about.contains("tunnel") {
            NetError::Proxy(at, why)
        } else if about.contains("certificate") || about.contains("unknownissuer") {
            NetError::Tls(at, why)
        } else if about.contains("dns error") || about.contains("failed to lookup") {
            NetError::Name(at)
        } else if error.is_connect() {
            NetError::Connect(at, why)
        } else {
            NetError::Truncated(at, why)
        }
    }
}

/// The innermost reason, which says most, without addresses.
fn chain(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    if text.contains("://") { "no reason that can be shown".to_owned() } else { text }
}

fn check(response: &Response, url: &Url) -> Result<(), NetError> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let means = match status.as_u16() {
        401 | 403 => " (it wants a user and a password, or forbids this)",
        404 => " (it has no such page)",
        407 => " (the proxy wants a user and a password)",
        416 => " (it has no such part of the file)",
        429 => " (too many requests)",
        500..=599 => " (it is out of order)",
        _ => "",
    };
    Err(NetError::Status(shown(url), status.as_u16(), means))
}

fn unpack(bytes: &[u8], url: &Url, limit: u64) -> Result<Vec<u8>, NetError> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|error| NetError::Truncated(shown(url), error.to_string()))?;
    if plain.len() as u64 > limit { Err(NetError::TooLong(shown(url), limit)) } else { Ok(plain) }
}

/// `bytes 0-9/100` as the range 0..10 of 100.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (part, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last, total): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first..last + 1, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        let url = address("https://me:word@mirror.example/simple/?token=1#x").unwrap();
        assert_eq!(shown(&url), "https://mirror.example/simple/");
        assert_eq!(address("me:word@mirror").unwrap_err(), NetError::Address("mirror".into()));
        assert!(address("file:///etc/passwd").is_err());
    }

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0..10, 100)));
        for text in ["bytes 9-0/100", "bytes 0-100/100", "bytes */100", "bytes 0-9/*", "0-9/100", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
