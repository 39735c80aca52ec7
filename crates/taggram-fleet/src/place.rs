//! Where tracks lie and results go: a path, or an object in a store.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use url::Url;

use crate::{ErrorKind, FleetError};

/// Settings of stores are read from the environment under these beginnings (`AWS_REGION`, `AWS_ENDPOINT`, …).
const SETTINGS: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// Where something lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file or folder of this machine.
    File(PathBuf),
    /// An object or a prefix in a store: `s3://bucket/key`, `gs://…`, `az://…`, `https://…`.
    Object(Url),
}

impl Place {
    /// A path, `file:///path`, or the address of an object.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, FleetError> {
        let wrong = |why: &str| {
            FleetError::new(ErrorKind::Malformed, format!("{text:?} is no place of a track: {why}"))
        };
        if text.is_empty() || text.contains('\0') {
            return Err(wrong("it is empty or holds a zero byte"));
        }
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
        if url.scheme() != "file" {
            return Ok(Self::Object(url));
        }
        url.to_file_path().map(Self::File).map_err(|()| {
            wrong("file:// is followed by an absolute path, as in file:///music/a.mp3")
        })
    }

    /// How a file of this machine is written into a listing: as its path, or as an address where a path is no UTF-8.
    ///
    /// # Errors
    /// When the path is not absolute.
    pub fn name_of(path: &std::path::Path) -> Result<String, FleetError> {
        // A name with :// in it would be read as an address.
        if let Some(text) = path.to_str()
            && !text.contains("://")
            && !text.contains(['\n', '\r'])
        {
            return Ok(text.to_string());
        }
        Url::from_file_path(path).map(String::from).map_err(|()| {
            FleetError::new(ErrorKind::Bug, format!("{}: the path is not absolute", path.display()))
        })
    }
}

/// Stores that are in use, one a host or bucket.
#[derive(Default)]
pub struct Stores(Mutex<HashMap<String, Arc<dyn ObjectStore>>>);

/// An object as far as it was wanted.
pub(crate) struct Fetched {
    /// Size of the whole object in bytes.
    pub size: u64,
    result: object_store::GetResult,
}

impl Stores {
    /// The store that holds this address, and the key there.
    ///
    /// # Errors
    /// When no store is known by this scheme, or its settings make no sense.
    pub fn find(&self, url: &Url) -> Result<(Arc<dyn ObjectStore>, Key), FleetError> {
        let (scheme, key) = ObjectStoreScheme::parse(url)
            .map_err(|e| FleetError::store(url.as_str(), "reading the address", e))?;
        // An https:// address may name a bucket in its path: then the host alone does not tell the store.
        let host = &url[..url::Position::BeforePath];
        let one_a_host = !url.scheme().starts_with("http") || scheme == ObjectStoreScheme::Http;
        let mut stores = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(store) = stores.get(host).filter(|_| one_a_host) {
            return Ok((store.clone(), key));
        }
        let settings =
            std::env::vars().filter(|(name, _)| SETTINGS.iter().any(|s| name.starts_with(s)));
        let (store, key) = object_store::parse_url_opts(url, settings)
            .map_err(|e| FleetError::store(url.as_str(), "opening the store", e))?;
        let store: Arc<dyn ObjectStore> = Arc::from(store);
        if one_a_host {
            stores.insert(host.to_string(), store.clone());
        }
        Ok((store, key))
    }

    /// Asks for an object: its size is known, its bytes are still to come.
    ///
    /// # Errors
    /// What the store says, after it was asked again where that may help.
    pub(crate) async fn get(&self, url: &Url) -> Result<Fetched, Missing> {
        let (store, key) = self.find(url).map_err(|e| Missing { lasting: true, why: e.message })?;
        let result = store.get(&key).await?;
        Ok(Fetched { size: result.meta.size, result })
    }
}

impl Fetched {
    /// All of its bytes.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn bytes(self) -> Result<bytes::Bytes, Missing> {
        Ok(self.result.bytes().await?)
    }
}

/// Why an object could not be had.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Asking again would not help.
    pub lasting: bool,
    /// A sentence.
    pub why: String,
}

impl From<object_store::Error> for Missing {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let lasting = matches!(
            error,
            E::NotFound { .. }
                | E::InvalidPath { .. }
                | E::NotSupported { .. }
                | E::NotImplemented { .. }
                | E::PermissionDenied { .. }
                | E::Unauthenticated { .. }
                | E::UnknownConfigurationKey { .. }
        );
        let why = match &error {
            E::NotFound { .. } => "there is no such object".to_string(),
            _ => format!("the object cannot be read: {error}"),
        };
        Self { lasting, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let file = |path: &str| Place::File(PathBuf::from(path));
        assert_eq!(Place::parse("/music/a b.mp3").unwrap(), file("/music/a b.mp3"));
        assert_eq!(Place::parse("file:///music/a%20b.mp3").unwrap(), file("/music/a b.mp3"));
        assert!(matches!(Place::parse("s3://bucket/a.mp3").unwrap(), Place::Object(_)));
        for wrong in ["", "file://host/a.mp3", "a\0b", "http://"] {
            assert!(Place::parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[cfg(unix)]
    #[test]
    fn any_name_can_be_listed() {
        use std::os::unix::ffi::OsStrExt;
        for name in
            [&b"/m/plain.mp3"[..], b"/m/\xff\xfe.mp3", b"/m/two\nlines.mp3", b"/m/a://b.mp3"]
        {
            let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
            let listed = Place::name_of(path).unwrap();
            assert!(!listed.contains('\n'));
            assert_eq!(Place::parse(&listed).unwrap(), Place::File(path.to_path_buf()), "{listed}");
        }
    }
}
