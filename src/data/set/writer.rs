//! Adding chains to a set: shards are filled under a temporary name and take their place together with the index.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::data::set::index::{Entry, Index};
use crate::error::{Error, Result};
use crate::io::text;

/// A shard is closed when it has grown beyond this.
const SHARD_BYTES: u64 = 1 << 30;

/// Writes entries of one run.
pub struct Writer {
    folder: PathBuf,
    /// The index as it will be; entries of the open shard are already in it.
    pub index: Index,
    open: Option<(NamedTempFile, u64)>,
}

impl Writer {
    /// Opens the set of a folder, or begins one there.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        Ok(Self { folder: folder.to_path_buf(), index: Index::read(folder)?.unwrap_or_default(), open: None })
    }

    /// Adds an entry with its bytes, in the place of one of the same id.
    pub fn add(&mut self, mut entry: Entry, bytes: &[u8]) -> Result<()> {
        if self.open.is_none() {
            let file = text::temporary_in(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
            self.open = Some((file, 0));
        }
        let (file, length) = self.open.as_mut().expect("opened above");
        file.write_all(bytes).map_err(|e| Error::io(&self.folder, e))?;
        entry.shard = self.index.shards.len();
        entry.offset = *length;
        entry.bytes = bytes.len() as u64;
        entry.crc32 = crc32fast::hash(bytes);
        *length += entry.bytes;
        let full = *length >= SHARD_BYTES;
        match self.index.entries.binary_search_by(|e| e.id.cmp(&entry.id)) {
            Ok(i) => self.index.entries[i] = entry,
            Err(i) => self.index.entries.insert(i, entry),
        }
        if full { self.close_shard() } else { Ok(()) }
    }

    /// Puts the open shard and the index in their places.
    pub fn close_shard(&mut self) -> Result<()> {
        if let Some((file, _)) = self.open.take() {
            let name = format!("part-{:05}.bin", self.index.shards.len());
            let path = self.folder.join(&name);
            file.as_file().sync_all().map_err(|e| Error::io(&path, e))?;
            file.persist(&path).map_err(|e| Error::io(&path, e.error))?;
            self.index.shards.push(name);
        }
        self.index.write(&self.folder)
    }
}
